"""Events go an hour after they were last written: `--event-ttl` of kube-apiserver, and its default."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.local.apiserver.store import Event, ObjectKey, Store

EVENTS = "events"
KEEP = 3600.0  # seconds
_AT_ONCE = 64


class EventExpiry:
    """Knows when each Event was last written, the oldest first. `clock` gives epoch seconds."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._there = asyncio.Event()
        found = sorted((_last_write(obj), _key(obj)) for obj in store.list(EVENTS))
        self._written: dict[ObjectKey, float] = {key: at for at, key in found}
        store.listen(self._changed)

    async def run(self) -> None:
        """Waits for the oldest to be over."""
        while True:
            if (left := self.expire()) is None:
                self._there.clear()
                await self._there.wait()
            else:
                await asyncio.sleep(left)

    def expire(self) -> float | None:
        """Removes what is over, not too much at once; seconds until there is more, None without Events."""
        for _ in range(_AT_ONCE):
            key = next(iter(self._written), None)
            if key is None:
                return None
            if (left := self._written[key] + KEEP - self._clock()) > 0:
                return left
            self._store.remove(EVENTS, key)
        return 0.0

    def _changed(self, event: Event) -> None:
        if event.resource != EVENTS:
            return
        self._written.pop(event.key, None)
        if event.type != "DELETED":
            self._written[event.key] = self._clock()
            self._there.set()


def _key(obj: Json) -> ObjectKey:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _last_write(obj: Json) -> float:
    """When an Event that is found at a start was written, as far as its fields tell."""
    metadata = obj["metadata"]
    times = [entry["time"] for entry in metadata.get("managedFields") or () if entry.get("time")]
    return max(parse_time(each).timestamp() for each in (*times, metadata["creationTimestamp"]))
