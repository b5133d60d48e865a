"""How much data there is at the sources: counted beside everything else, again until it can be told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from addon_framework.kube import ApiError, Key
from addons.cache_runtime.agent.credentials import CredentialsError
from runtimes.interface import Cache

_MIN_RETRY, _MAX_RETRY = 1.0, 60.0
Count = Callable[[], Awaitable[tuple[int, int] | None]]


def is_counted(cache: Cache) -> bool:
    """Whether the source is to be listed: unless the runtime's metadataSyncPolicy says that it is not."""
    policy = (cache.spec.get("management") or {}).get("metadataSyncPolicy") or {}
    return policy.get("autoSync") is not False


@dataclass
class Measurement:
    """The last outcome for one Dataset: bytes and files, or why they are not known."""

    inputs: str
    counted: tuple[int, int] | None = None
    problem: str = ""
    task: asyncio.Task[None] | None = None


class Measurements:
    """One count per Dataset and state of its specs."""

    def __init__(self, changed: Callable[[Key], None]) -> None:
        self._changed = changed
        self._by_key: dict[Key, Measurement] = {}

    def of(self, key: Key) -> Measurement:
        """What is known now."""
        return self._by_key.get(key) or Measurement("")

    def ensure(self, key: Key, inputs: str, count: Count) -> None:
        """Starts counting unless that has been done, or is being done, for the same inputs."""
        known = self._by_key.get(key)
        if known is not None and known.inputs == inputs:
            return
        self.forget(key)
        fresh = Measurement(inputs, counted=known.counted if known else None)
        self._by_key[key] = fresh
        fresh.task = asyncio.create_task(self._run(key, fresh, count))

    def seed(self, key: Key, inputs: str, counted: tuple[int, int]) -> None:
        """What is known from elsewhere, if nothing is; it is counted when the inputs change."""
        if key not in self._by_key:
            self._by_key[key] = Measurement(inputs, counted)
            self._changed(key)

    def forget(self, key: Key) -> None:
        """The Dataset is gone or has no runtime any more."""
        known = self._by_key.pop(key, None)
        if known is not None and known.task is not None:
            known.task.cancel()

    def close(self) -> None:
        """Ends all counts."""
        for key in list(self._by_key):
            self.forget(key)

    async def _run(self, key: Key, into: Measurement, count: Count) -> None:
        delay = _MIN_RETRY
        while True:
            try:
                into.counted, into.problem = await count(), ""
            except Exception as error:  # an answer that nobody expected is a problem like any other
                known = isinstance(error, OSError | CredentialsError | ApiError)
                problem = str(error) if known else f"{type(error).__name__}: {error}"
                if into.problem != problem:
                    into.problem = problem
                    self._changed(key)
            else:
                self._changed(key)
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, _MAX_RETRY)
