"""Calls into a plug-in, in a thread beside the event loop: a hook that hangs holds up nobody else."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from addon_framework.plugins.errors import PluginBusy, PluginError

TIMEOUT = 30.0  # seconds a hook may take
PATIENCE = 0.5  # seconds that others wait for a plug-in that is in a call
AGAIN = 30.0  # seconds until a plug-in is called again while a call of it hangs
MOST_HANGING = 4  # calls of one plug-in; with so many it is out of use until one of them returns

_Job = tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]


class Caller:
    """Makes one call at a time into one plug-in, and gives up those that do not return in time.

    Python cannot end a thread. One that hangs is left alone, and the next call gets a new one; a plug-in that
    has `MOST_HANGING` of them is not called again before one has come back.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._lock = asyncio.Lock()
        self._since: float | None = None
        self._hanging: dict[int, str] = {}
        self._given_up: tuple[str, float] = "", 0.0
        self._thread: _Thread | None = None

    async def run(self, what: str, work: Callable[[], Any], timeout: float) -> Any:
        """What `work` returns or raises. PluginError when it takes too long, PluginBusy when another does."""
        self._refuse_if_hanging()
        if self._since is not None and time.monotonic() - self._since > PATIENCE:
            raise PluginBusy(f"{self._who} is busy")
        try:
            async with asyncio.timeout(PATIENCE):
                await self._lock.acquire()
        except TimeoutError:
            raise PluginBusy(f"{self._who} is busy") from None
        try:
            self._refuse_if_hanging()
            self._since = time.monotonic()
            return await self._in_thread(what, work, timeout)
        finally:
            self._since = None
            self._lock.release()

    async def _in_thread(self, what: str, work: Callable[[], Any], timeout: float) -> Any:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        thread = self._thread or _Thread(self._who)
        self._thread = None
        number = id(answer)

        def settle(result: Any, error: BaseException | None) -> None:
            self._hanging.pop(number, None)
            self._thread = self._thread or thread
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def tell(result: Any, error: BaseException | None) -> None:
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:  # the loop has ended meanwhile
                pass

        self._hanging[number] = what  # also when we are cancelled
        thread.do(work, tell)
        try:
            await asyncio.wait({answer}, timeout=timeout)
        except asyncio.CancelledError:
            if not answer.cancel():  # nobody is left to hear what comes of it
                answer.exception()
            raise
        if not answer.done():
            answer.cancel()
            text = f"{self._who}: {what} has not returned within {timeout:g} s; it is left alone"
            self._given_up = text, time.monotonic()
            raise PluginError(text)
        return answer.result()

    def _refuse_if_hanging(self) -> None:
        text, when = self._given_up
        if text and self._hanging and time.monotonic() - when < AGAIN:
            raise PluginError(text)
        if len(self._hanging) >= MOST_HANGING:
            hooks = ", ".join(sorted(set(self._hanging.values())))
            raise PluginError(f"{self._who} is out of use: {MOST_HANGING} calls of {hooks} have not returned")


class _Thread:
    """A thread for one call after the other; ends when nobody has it any more."""

    def __init__(self, who: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name=who[:40], daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)

    def do(self, work: Callable[[], Any], tell: Callable[[Any, BaseException | None], None]) -> None:
        """Do `work`, and `tell` what came of it, in the thread."""
        self._jobs.put((work, tell))


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        work, tell = job
        try:
            result = work()
        except BaseException as error:  # SystemExit too: the thread goes on, and the caller says what it was
            tell(None, error)
        else:
            tell(result, None)
        del job, work, tell  # what they hold would live until the next call
