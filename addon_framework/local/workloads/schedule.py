"""Cron's five fields: when a time matches, and which one is next.

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_HORIZON = timedelta(days=5 * 366)  # 29 February
_WINDOWS = (timedelta(hours=1), timedelta(days=1), timedelta(days=31), timedelta(days=366), 2 * _HORIZON)


@dataclass(frozen=True)
class Schedule:
    """A parsed schedule."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool  # both day fields are given: one of them is enough

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Raises ValueError saying which field is wrong."""
        fields = _MACROS.get(text.strip(), text).lower().split()
        if len(fields) != 5:
            raise ValueError(
                f"{text!r} has {len(fields)} fields, a schedule has 5: minute hour day month weekday"
            )
        names: tuple[list[str], ...] = ([], [], [], ["", *_MONTHS], _DAYS)
        sets = [
            _field(field, *limits, known) for field, limits, known in zip(fields, _RANGES, names, strict=True)
        ]
        weekdays = frozenset(day % 7 for day in sets[4])
        either = not fields[2].startswith("*") and not fields[4].startswith("*")
        return cls(sets[0], sets[1], sets[2], sets[3], weekdays, either)

    def following(self, after: datetime) -> datetime | None:
        """The first time later than `after`; None when there is none."""
        moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = after + _HORIZON
        while moment < end:
            if moment.month not in self.months or not self._is_day(moment):
                moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                return moment
        return None

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """The last time later than `after` and no later than `until`: looked for near the end first, since a
        cluster that stood still for a year has missed half a million minutes."""
        for window in _WINDOWS:
            moment, found = max(after, until - window), None
            while (following := self.following(moment)) is not None and following <= until:
                moment = found = following
            if found is not None or moment == after:
                return found
        return None

    def _is_day(self, moment: datetime) -> bool:
        day, weekday = moment.day in self.days, moment.isoweekday() % 7 in self.weekdays
        return (day or weekday) if self.either_day else (day and weekday)


def _field(text: str, low: int, high: int, names: list[str]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if first in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, names, text)
            end = _number(last, names, text) if dash else high if step else start
        if not low <= start <= end <= high or (step and (not step.isdigit() or int(step) < 1)):
            raise ValueError(f"{text!r} is not within {low}-{high}")
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, names: list[str], field: str) -> int:
    if text.isdigit():
        return int(text)
    if text and text in names:
        return names.index(text)
    raise ValueError(f"{text!r} in {field!r} is not a number")
