"""Whole looks at placements, while clusters change faster than they can be looked at."""

from __future__ import annotations

import pytest

from addon_framework.hub.placement.standing import Pace
from addon_framework.kube import Key
from addon_framework.testing import Clock

ONE, TWO = Key("bench", "one"), Key("bench", "two")


@pytest.fixture
def clock() -> Clock:
    return Clock(100)


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock)


def look(pace: Pace, clock: Clock, key: Key, seconds: float) -> None:
    with pace.look(key):
        clock.now += seconds


def test_the_first_look_is_at_once(pace: Pace) -> None:
    assert pace.wait(ONE) == 0


def test_a_look_is_followed_by_a_rest_of_four_times_its_length(pace: Pace, clock: Clock) -> None:
    look(pace, clock, ONE, 0.1)
    assert pace.wait(ONE) == pytest.approx(0.4)
    clock.now += 0.3
    assert pace.wait(ONE) == pytest.approx(0.1)
    clock.now += 1
    assert pace.wait(ONE) == 0


def test_many_placements_share_the_time(pace: Pace, clock: Clock) -> None:
    looked, end = 0.0, clock.now + 60
    keys = [Key("bench", str(number)) for number in range(20)]
    while clock.now < end:
        due = min(keys, key=pace.wait)
        clock.now += pace.wait(due)
        look(pace, clock, due, 0.1)
        looked += 0.1
    assert looked == pytest.approx(60 / 4, rel=0.1)


def test_the_rest_of_one_is_not_that_of_one_that_was_never_looked_at(pace: Pace, clock: Clock) -> None:
    look(pace, clock, ONE, 5)
    assert pace.wait(TWO) == 0


def test_who_is_gone_begins_anew(pace: Pace, clock: Clock) -> None:
    look(pace, clock, ONE, 5)
    pace.forget(ONE)
    assert pace.wait(ONE) == 0
