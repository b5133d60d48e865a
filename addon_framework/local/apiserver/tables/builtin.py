"""Columns of the built-in kinds, compiled from columns.yaml."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.data import described
from addon_framework.local.apiserver.tables import cells, pods

_FILTERS: dict[str, Callable[..., Any]] = {
    **{each.__name__: each for each in cells.FILTERS},
    "pod_state": pods.pod_state,
    "readiness_gates": pods.readiness_gates,
}


Row = Callable[[Json, datetime], list[Any]]


class Printer(NamedTuple):
    """Columns as (name, type, priority) and the cells of one object."""

    columns: tuple[tuple[str, str, int], ...]
    row: Row


@cache
def printers() -> dict[str, Printer]:
    """By resource, such as deployments.apps, and `default`; compiled when the first table is asked for."""
    import jinja2  # 30 ms that a server need not start with

    @jinja2.pass_context
    def age(context: Any, timestamp: Any) -> str:
        return cells.age(timestamp, context["now"])

    @jinja2.pass_context
    def restarts(context: Any, state: pods.PodState) -> str:
        ago = f" ({cells.age(state.restarted, context['now'])} ago)" if state.restarted else ""
        return f"{state.restarts}{ago if state.restarts else ''}"

    @jinja2.pass_context
    def until(context: Any, start: Any, end: Any) -> str:
        return cells.until(start, end, context["now"])

    environment = jinja2.Environment(undefined=jinja2.ChainableUndefined)
    environment.filters.update(_FILTERS, age=age, restarts=restarts, until=until)
    environment.globals.update(NONE=cells.NONE, UNSET=cells.UNSET, UNKNOWN=cells.UNKNOWN)
    tables: dict[str, dict[str, str]] = described(__package__, "columns.yaml")
    return {name: _printer(environment, columns) for name, columns in tables.items()}


def _printer(environment: Any, columns: dict[str, str]) -> Printer:
    cells_of = environment.compile_expression(f"[{', '.join(f'({cell})' for cell in columns.values())}]")

    def row(obj: Json, now: datetime) -> list[Any]:
        metadata = obj["metadata"]
        name, created = metadata.get("name", ""), metadata.get("creationTimestamp")
        # An expression sees what is null as if it were not there.
        own = {key: value for key, value in obj.items() if value is not None}
        found = cells_of(own, obj=obj, name=name, age=cells.age(created, now), now=now)
        return [each if each or each in (0, False) else "" for each in found]

    return Printer(tuple(_column(name) for name in columns), row)


def _column(text: str) -> tuple[str, str, int]:
    name, _, kind = text.removesuffix("+").partition(":")
    return name, kind or "string", int(text.endswith("+"))
