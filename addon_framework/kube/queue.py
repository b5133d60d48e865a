"""The work queue: each key once, never two workers on one key, back-off per key, priorities that age.

After client-go's workqueue (https://pkg.go.dev/k8s.io/client-go/util/workqueue), whose rules about keys that
become dirty while they are processed it keeps.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")

BASE_DELAY = 0.05
MAX_DELAY = 30.0


class WorkQueue(Generic[K]):
    """Keys waiting for a worker. One event loop; no locks.

    Order is by time of arrival less one second for each point of priority, so urgent keys overtake and
    no key starves.
    """

    def __init__(
        self, *, clock: Callable[[], float] | None = None, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = itertools.count()
        self._dirty: dict[K, float] = {}
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._waiters: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._dirty)

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is worked on; delayed keys do not count."""
        return not self._dirty and not self._processing

    def add(self, key: K, *, priority: int = 0) -> None:
        """Asks for `key` to be worked on; asking again before that changes at most its place."""
        self._cancel_timer(key)
        rank = self._now() - priority
        if key in self._dirty and self._dirty[key] <= rank:
            return
        self._dirty[key] = rank
        if key not in self._processing:
            self._push(key, rank)

    def add_after(self, key: K, delay: float) -> None:
        """Asks for `key` in `delay` seconds, or at an earlier time already set."""
        if delay <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + delay:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(delay, self.add, key)

    def retry(self, key: K) -> float:
        """Asks for `key` again after its back-off; the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(BASE_DELAY * 2.0 ** min(failures, 20), MAX_DELAY) * (0.75 + self._jitter() / 2)
        self.add_after(key, delay)
        return delay

    def hurry(self) -> None:
        """What failed is asked for now: why it failed may be over."""
        for key in [key for key in self._failures if key in self._timers]:
            self.add(key)

    def forget(self, key: K) -> None:
        """Success: the next failure of `key` starts from the smallest delay."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; call `done` with it afterwards."""
        while True:
            while self._heap:
                rank, _, key = heapq.heappop(self._heap)
                if self._dirty.get(key) == rank and key not in self._processing:
                    del self._dirty[key]
                    self._processing.add(key)
                    return key
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def done(self, key: K) -> None:
        """The worker has finished with `key`; what changed meanwhile puts it back."""
        self._processing.discard(key)
        if key in self._dirty:
            self._push(key, self._dirty[key])

    def close(self) -> None:
        """Cancels the delayed keys."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _push(self, key: K, rank: float) -> None:
        heapq.heappush(self._heap, (rank, next(self._sequence), key))
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                break

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()
