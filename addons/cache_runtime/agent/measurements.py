"""How much data there is at the sources: counted beside everything else, again until it can be told.

Pods whose cache keeps nothing read the source itself, so that is looked at from then on: when it goes, they
hang, and nothing else would say why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from addon_framework.api.data import DataLoad
from addon_framework.kube import ApiError, Key
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.credentials import Credentials, CredentialsError
from runtimes import measure

_MIN_RETRY, _MAX_RETRY = 1.0, 60.0
_LOOK = 30.0  # seconds between looks at a source that pods read themselves


@dataclass
class Measurement:
    """The last outcome for one Dataset: bytes and files, or why they are not known; `opaque`: never."""

    inputs: str
    counted: tuple[int, int] | None = None
    problem: str = ""
    opaque: bool = False
    task: asyncio.Task[None] | None = None


class Measurements:
    """One count per Dataset and state of its specs."""

    def __init__(self, changed: Callable[[Key], None]) -> None:
        self._changed = changed
        self._by_key: dict[Key, Measurement] = {}

    def of(self, key: Key) -> Measurement:
        """What is known now."""
        return self._by_key.get(key) or Measurement("")

    def ensure(self, key: Key, inputs: str, binding: Binding, credentials: Credentials) -> None:
        """Starts counting unless that has been done, or is being done, for the same inputs."""
        known = self._by_key.get(key)
        if known is not None and known.inputs == inputs:
            return
        self.forget(key)
        fresh = Measurement(inputs, counted=known.counted if known else None)
        self._by_key[key] = fresh
        fresh.task = asyncio.create_task(self._run(key, fresh, binding, credentials))

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

    async def _run(self, key: Key, into: Measurement, binding: Binding, credentials: Credentials) -> None:
        backend, cache, delay, counting = binding.backend, binding.cache, _MIN_RETRY, True
        through = backend.warm(cache, DataLoad()) is None
        while counting or (through and into.counted is not None):
            before = into.problem
            try:
                secrets = await credentials.values(cache)
                if counting:
                    into.counted = await backend.measure(cache, secrets)
                    into.opaque = into.counted is None
                else:
                    await asyncio.to_thread(measure.look, cache, secrets)
            except Exception as error:  # an answer that nobody expected is a problem like any other
                known = isinstance(error, OSError | CredentialsError | ApiError)
                into.problem = str(error) if known else f"{type(error).__name__}: {error}"
                wait, delay = delay, min(delay * 2, _MAX_RETRY if counting else _LOOK)
            else:
                into.problem, wait, delay = "", _LOOK, _MIN_RETRY
            if into.problem != before or (counting and not into.problem):
                self._changed(key)
            counting = counting and bool(into.problem)
            await asyncio.sleep(wait)
