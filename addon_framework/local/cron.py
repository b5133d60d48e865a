"""Cron's five fields: whether a text is a schedule, when it matches, and which time is next.

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax. The API server refuses
what cannot be parsed, in these words, and the CronJob controller runs the rest.
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
_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Of minute, hour, day, month, weekday: the lowest and the highest number, and names that stand for numbers.
_FIELDS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
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
        """Raises ValueError in the words of the library that Kubernetes parses schedules with."""
        if text.startswith("@") and text not in _MACROS:
            raise ValueError(f"unrecognized descriptor: {text}")
        fields = _MACROS.get(text, text).lower().split()
        if len(fields) != len(_FIELDS):
            raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
        minutes, hours, days, months, weekdays = (
            frozenset(number for part in field.split(",") if part for number in _numbers(part, *limits))
            for field, limits in zip(fields, _FIELDS, strict=True)
        )
        either = not fields[2].startswith("*") and not fields[4].startswith("*")
        return cls(minutes, hours, days, months, weekdays, either)

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


def _numbers(part: str, low: int, high: int, names: tuple[str, ...]) -> range:
    """What one part of a field, such as 1-5, */2 or mon, stands for."""
    span, *steps = part.split("/")
    first, *last = span.split("-")
    if len(last) > 1:
        raise ValueError(f"too many hyphens: {part}")
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {part}")
    start, end = low, high
    if first not in ("*", "?"):
        start = _number(first, names)
        end = _number(last[0], names) if last else high if steps else start
    step = _number(steps[0], ()) if steps else 1
    if start < low:
        raise ValueError(f"beginning of range ({start}) below minimum ({low}): {part}")
    if end > high:
        raise ValueError(f"end of range ({end}) above maximum ({high}): {part}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {part}")
    return range(start, end + 1, step)


def _number(text: str, names: tuple[str, ...]) -> int:
    if text.isdecimal():
        return int(text)
    if text and text in names:
        return names.index(text)
    raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
