from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from addon_framework.local.cron import Schedule

NOW = datetime(2026, 11, 25, 10, 7, 30, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", "2026-11-25 10:08"),
        ("*/15 * * * *", "2026-11-25 10:15"),
        ("7 10 * * *", "2026-11-26 10:07"),
        ("0 0 1 * *", "2026-12-01 00:00"),
        ("30 6 * * mon-fri", "2026-11-26 06:30"),
        ("0 12 * * 0", "2026-11-29 12:00"),
        ("0 0 13 * 5", "2026-11-27 00:00"),  # the 13th, or a Friday
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("5/20 * * jan,dec *", "2026-12-01 00:05"),
        ("@weekly", "2026-11-29 00:00"),
    ],
)
def test_the_next_time(text: str, expected: str) -> None:
    following = Schedule.parse(text).following(NOW)
    assert following is not None
    assert following.strftime("%Y-%m-%d %H:%M") == expected


def test_a_day_that_never_comes() -> None:
    assert Schedule.parse("0 0 31 2 *").following(NOW) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("* * * *", "expected exactly 5 fields, found 4"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("x * * * *", "failed to parse int from x"),
        ("jan * * * *", "failed to parse int from jan"),
        ("@often", "unrecognized descriptor: @often"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        Schedule.parse(text)


def test_the_last_time_that_has_come_is_found_however_long_ago() -> None:
    start, end = datetime(2016, 1, 1, tzinfo=UTC), datetime(2026, 3, 5, 12, 30, 20, tzinfo=UTC)
    for text, wanted in (
        ("* * * * *", datetime(2026, 3, 5, 12, 30, tzinfo=UTC)),
        ("0 3 * * *", datetime(2026, 3, 5, 3, tzinfo=UTC)),
        ("0 0 1 1 *", datetime(2026, 1, 1, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2024, 2, 29, tzinfo=UTC)),
    ):
        assert Schedule.parse(text).last(start, end) == wanted
    assert Schedule.parse("0 0 1 1 *").last(end, end) is None
    assert Schedule.parse("* * * * *").last(end, end + timedelta(seconds=10)) is None
