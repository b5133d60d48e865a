"""Time that a test moves, for whatever is given its clock."""

from __future__ import annotations


class Clock:
    """Seconds; stands still until `now` is set."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
