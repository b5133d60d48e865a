"""Whether a server can be reached, and who wants to know when it answers again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

A_WHILE = 1.0  # seconds; what is shorter is a stumble, and back-off is for those


class Reach:
    """Told of every answer and of every failure to get one.

    A server that answers after it could not be reached for a while is news: what was put off meanwhile, maybe
    for half a minute, can be done now.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost: float | None = None
        self._listeners: list[Callable[[], None]] = []

    def failed(self) -> None:
        """No answer came."""
        if self._lost is None:
            self._lost = self._clock()

    def answered(self) -> None:
        """One came, whatever it says."""
        lost, self._lost = self._lost, None
        if lost is not None and self._clock() - lost >= A_WHILE:
            for listener in list(self._listeners):
                listener()

    @contextlib.contextmanager
    def again(self, listener: Callable[[], None]) -> Iterator[None]:
        """Calls it whenever the server answers again, as long as the context lasts."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    async def pause(self, seconds: float) -> None:
        """Sleeps, at most until the server answers again."""
        again = asyncio.Event()
        with self.again(again.set), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await again.wait()
