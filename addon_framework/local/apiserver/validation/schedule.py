"""Schedules of CronJobs, in five fields or by name."""

from __future__ import annotations

import re

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MACROS = frozenset(["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"])
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_NUMBERS = {name: str(number) for number, name in [*enumerate(_MONTHS, 1), *enumerate(_DAYS)]}


def schedule_error(schedule: str) -> str | None:
    """Why a text is no cron schedule; None if it is one."""
    if schedule.startswith("@"):
        known = schedule in _MACROS or re.fullmatch(r"@every \S+", schedule)
        return None if known else f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for text, (low, high) in zip(fields, _RANGES, strict=True):
        for part in text.lower().split(","):
            if error := _part_error(part, low, high):
                return error
    return None


def _part_error(part: str, low: int, high: int) -> str | None:
    found = re.fullmatch(r"(?:\*|\?|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
    if found is None or found[3] == "0":
        return f'failed to parse int from {part}: strconv.Atoi: parsing "{part}": invalid syntax'
    for value in filter(None, (found[1], found[2])):
        number = _NUMBERS.get(value, value)
        if not number.isdigit():
            return f'failed to parse int from {value}: strconv.Atoi: parsing "{value}": invalid syntax'
        if int(number) > high:
            return f"end of range ({number}) above maximum ({high}): {part}"
        if int(number) < low:
            return f"beginning of range ({number}) below minimum ({low}): {part}"
    return None
