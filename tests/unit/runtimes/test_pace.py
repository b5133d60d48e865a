"""How a server that says "too many" is asked."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from runtimes.source import SourceError
from runtimes.source.pace import Pace, seconds_of


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("0.5", 0.5), ("-1", 0), ("", 0), (None, 0), ("soon", 0)]
)
def test_retry_after_in_seconds(header: str | None, seconds: float) -> None:
    assert seconds_of(header) == seconds


def test_retry_after_as_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=30)
    for text in (format_datetime(moment, usegmt=True), f"{moment:%a, %d %b %Y %H:%M:%S} -0000"):
        assert 27 < seconds_of(text) <= 30


def test_half_as_many_at_once_after_a_refusal_and_more_again_with_each_answer() -> None:
    pace, now = Pace("s3", clock := lambda: now[0]), [100.0]
    assert clock() == 100
    turns = [pace.turn() for _ in range(4)]
    began = [turn.__enter__() for turn in turns]
    for moment in began:  # all four are refused; that is one refusal
        pace.refused(moment, None)
    for turn in turns:
        turn.__exit__(None, None, None)
    now[0] += 1  # the wait is over
    first, second = pace.turn(), pace.turn()
    first.__enter__()
    second.__enter__()
    entered = threading.Event()

    def third() -> None:
        with pace.turn():
            entered.set()

    thread = threading.Thread(target=third)
    thread.start()
    assert not entered.wait(0.2)
    pace.answered()
    pace.answered()
    assert entered.wait(30)
    thread.join()
    for turn in (first, second):
        turn.__exit__(None, None, None)


def test_nobody_is_kept_waiting_for_long() -> None:
    pace, now = Pace("s3:80", lambda: now[0]), [100.0]
    with pace.turn() as began:
        pace.refused(began, "12")
    with pytest.raises(SourceError, match="s3:80: too many requests; the next may be in 12 s"), pace.turn():
        pass
    now[0] += 12
    with pace.turn():
        pass
