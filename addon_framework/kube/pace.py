"""How soon one key may be worked on again, where that looks at a whole fleet and every object asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
_REST = 9  # times as long as it took: a tenth of the time at most


class Pace(Generic[K]):
    """The first call works at once; those that follow wait until it has rested, and are then one."""

    def __init__(self, least: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._least, self._clock = least, clock
        self._next: dict[K, float] = {}

    def wait(self, key: K) -> float | None:
        """Seconds to come back in; None: work now."""
        left = self._next.get(key, float("-inf")) - self._clock()
        return left if left > 0 else None

    @contextmanager
    def work(self, key: K) -> Iterator[None]:
        """Measures what is done inside, and has the key rest accordingly."""
        began = self._clock()
        try:
            yield
        finally:
            now = self._clock()
            self._next[key] = now + max(self._least, _REST * (now - began))

    def forget(self, key: K) -> None:
        """The object is gone."""
        self._next.pop(key, None)
