"""What the controller remembers of a placement between two looks. All of it can be lost at any time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from addon_framework.api.meta import Json
from addon_framework.hub.placement.candidates import Candidates
from addon_framework.hub.placement.prioritizers import Coordinate
from addon_framework.hub.placement.scheduler import Scheduler
from addon_framework.kube import Key

_UNITS = {"s": 1, "m": 60, "h": 3600}
_REST = 4  # times as long as looks took
_RATE = re.compile(r"(\d+)([smh])")


@dataclass
class Standing:
    """A placement's schedule, and what it was made of."""

    candidates: Candidates
    scheduler: Scheduler
    elsewhere: int  # revision of the other placements' decisions
    can_update: bool
    capacity: frozenset[Coordinate] = frozenset()  # scores of which its decisions take something
    _told: tuple[str, Json] | None = None  # the last status, and the version of the placement that got it

    def as_told(self, placement: Json) -> Json:
        """The placement as we left it, should this be the version from before.

        The events of our decisions may be here before that of our status. To write it once more would be a
        conflict, after which everything is looked at anew.
        """
        if self._told is None or self._told[0] != placement["metadata"]["resourceVersion"]:
            return placement
        return {**placement, "status": self._told[1]}

    def tell(self, placement: Json, status: Json) -> None:
        """This version of the placement has got that status."""
        self._told = placement["metadata"]["resourceVersion"], status


class ScoreRates:
    """How often scores are written into decisions that stay the same: spec.scoreRateLimit."""

    def __init__(self) -> None:
        self._written: dict[Key, datetime] = {}

    def wrote(self, key: Key, now: datetime) -> None:
        """Scores were written."""
        self._written[key] = now

    def forget(self, key: Key) -> None:
        """The placement is gone."""
        self._written.pop(key, None)

    def wait(self, key: Key, placement: Json, now: datetime) -> float:
        """Seconds until they may be written again; 0 when they may."""
        written = self._written.get(key)
        match = _RATE.fullmatch((placement.get("spec") or {}).get("scoreRateLimit") or "1m")
        if written is None or match is None:
            return 0.0
        limit = timedelta(seconds=int(match[1]) * _UNITS[match[2]])
        return max((written + limit - now).total_seconds(), 0.0)


class Pace:
    """How often placements are looked at whole because clusters have changed: a quarter of the time.

    A region that comes back changes thousands of clusters one after the other, and each look costs as much as
    there are clusters. The first look is at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent = 0.0  # seconds, by all placements
        self._looked: dict[Key, tuple[float, float]] = {}  # when it ended, and what was spent before it

    @contextmanager
    def look(self, key: Key) -> Iterator[None]:
        """One look; no two at a time."""
        began, before = self._clock(), self._spent
        yield
        ended = self._clock()
        self._spent += ended - began
        self._looked[key] = ended, before

    def wait(self, key: Key) -> float:
        """Seconds until the next; the looks at others since the last one count too."""
        if key not in self._looked:
            return 0.0
        ended, before = self._looked[key]
        return max(ended + _REST * (self._spent - before) - self._clock(), 0.0)

    def forget(self, key: Key) -> None:
        """The placement is gone."""
        self._looked.pop(key, None)
