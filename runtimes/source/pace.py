"""How fast a server may be asked: after it said "too many requests", later and fewer at once.

Additive increase, multiplicative decrease, as TCP does it; Retry-After is honoured.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-guidelines.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from runtimes.source.objects import SourceError

THROTTLED = (429, 503)  # Too Many Requests; Slow Down
_FIRST, _LONGEST = 0.5, 30.0  # seconds between requests that were refused
_SOON = 2.0  # seconds for which a request waits; for longer, its thread may have something better to do


class Pace:
    """Of one server; shared by all threads that ask it."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._clock = name, clock
        self._changed = threading.Condition()
        self._active, self._limit = 0, float("inf")
        self._not_before, self._delay, self._refused_at = 0.0, 0.0, float("-inf")

    @contextmanager
    def turn(self) -> Iterator[float]:
        """Waits until one more request may be under way; the time at which it began. Raises SourceError where
        the server has asked for much more patience.
        """
        with self._changed:
            while (left := self._not_before - self._clock()) > 0 or self._active >= self._limit:
                if left > _SOON:
                    raise SourceError(f"{self._name}: too many requests; the next may be in {left:.0f} s")
                self._changed.wait(left if left > 0 else None)
            self._active += 1
        try:
            yield self._clock()
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def refused(self, began: float, retry_after: str | None) -> None:
        """There were too many. Requests that were under way together are one refusal."""
        now = self._clock()
        asked = min(seconds_of(retry_after), _LONGEST)
        with self._changed:
            if began > self._refused_at:
                self._limit = max(1, self._active // 2)
                self._delay = min(2 * self._delay or _FIRST, _LONGEST)
                self._refused_at = now
            self._not_before = max(self._not_before, now + max(asked, self._delay))

    def answered(self) -> None:
        """It was not too much."""
        with self._changed:
            self._limit += 1 / self._limit
            self._delay = self._delay / 2 if self._delay > _FIRST else 0.0
            self._changed.notify_all()


def seconds_of(retry_after: str | None) -> float:
    """Of the header Retry-After: a number, or a date. What cannot be read is 0."""
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after or "")
    except ValueError:
        return 0.0
    if moment.tzinfo is None:  # of -0000, which is UTC too
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
