"""Work that every event asks for, done a tenth of the time at most."""

from __future__ import annotations

from addon_framework.kube.pace import Pace


def test_the_first_is_at_once_and_the_next_waits_as_long_as_it_took() -> None:
    now = 100.0
    pace = Pace[str](0.5, lambda: now)
    assert pace.wait("a") is None
    with pace.work("a"):
        now += 0.01
    assert pace.wait("a") == 0.5  # the least
    assert pace.wait("b") is None
    now += 0.5
    assert pace.wait("a") is None
    with pace.work("a"):
        now += 1
    assert pace.wait("a") == 9
    pace.forget("a")
    assert pace.wait("a") is None
