"""How a kind of object is shown: where it is, and its columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from addon_framework.api.meta import Json, Resource
from addon_framework.api.time import parse_time

NOTHING = "-"


@dataclass(frozen=True)
class Row:
    """An object, the context it was found in, and what belongs to it."""

    obj: Json
    cluster: str = ""
    related: Sequence[Json] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it another row than the others."""
        metadata = self.obj["metadata"]
        return self.cluster, metadata.get("namespace", ""), metadata["name"]


@dataclass(frozen=True)
class Column:
    """One column. `state` ones say True or False, and have a colour on a terminal."""

    heading: str
    value: Callable[[Row], Any]
    wide: bool = False
    state: bool = False


@dataclass(frozen=True)
class View:
    """One kind. `related` objects, where there are any, belong to a row's object when `belongs` says so."""

    name: str
    resource: Resource
    columns: Sequence[Column]
    about: str
    example: str
    also: Sequence[str] = ()
    spokes: bool = False
    explains: bool = False  # has -o explain
    related: Resource | None = None
    belongs: Callable[[Json, Json], bool] = field(default=lambda obj, related: False)

    def headings(self, wide: bool) -> list[str]:
        """The headings, the age last."""
        return [*(column.heading for column in self._shown(wide)), "AGE"]

    def cells(self, row: Row, wide: bool) -> list[str]:
        """What is in the row but for the age, which changes by itself."""
        return [text(column.value(row)) for column in self._shown(wide)]

    def states(self, wide: bool) -> list[bool]:
        """Which columns are states."""
        return [*(column.state for column in self._shown(wide)), False]

    def _shown(self, wide: bool) -> list[Column]:
        return [column for column in self.columns if wide or not column.wide]


def text(value: Any) -> str:
    """A cell."""
    return NOTHING if value is None or value == "" else str(value)


def age(obj: Json, now: datetime | None = None) -> str:
    """How long an object has been there: 90s, 12m, 5h, 3d."""
    created = obj["metadata"].get("creationTimestamp")
    if not created:
        return NOTHING
    seconds = max(0, int(((now or datetime.now(UTC)) - parse_time(created)).total_seconds()))
    for unit, size, limit in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86_400}d"
