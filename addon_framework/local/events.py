"""Events as `kubectl describe` shows them: what a component did or could not do with an object."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog

from addon_framework.api.core import EVENTS
from addon_framework.api.events import event_about
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError, Client, NotFound

log = structlog.get_logger(__name__)
_BACKLOG = 200
_KEPT = 4096
_ALIKE, _ALIKE_SECONDS = 10, 600.0  # messages that differ, from the tenth on told as one for ten minutes
_BURST, _REFILL = 25, 300.0  # events about one object, and seconds until there may be another one
T = TypeVar("T")


class _Latest(Generic[T]):
    """What is known of keys; of too many the one that was asked for the longest ago is forgotten."""

    def __init__(self, new: Callable[[], T]) -> None:
        self._new, self._known = new, dict[Any, T]()

    def of(self, key: Any) -> T:
        """What is known, or a new one."""
        self._known[key] = found = self._known.pop(key, None) or self._new()
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
        return found


@dataclass
class _Said:
    """An event that has been sent."""

    name: str = ""
    count: int = 0


@dataclass
class _Alike:
    """Events that differ in their message only."""

    messages: set[str] = field(default_factory=set)
    at: float = 0.0


@dataclass
class _Bucket:
    """How many events an object may still have."""

    left: float = _BURST
    at: float | None = None

    def take(self, now: float) -> bool:
        """Whether there is one."""
        self.left = min(_BURST, self.left + (now - (now if self.at is None else self.at)) / _REFILL)
        self.at = now
        allowed = self.left >= 1
        self.left -= allowed
        return allowed


class Recorder:
    """Sends events in the background, those that are equal as one with a count, as client-go does.

    They are a courtesy: too many or not accepted ones are dropped.
    """

    def __init__(
        self, client: Client, component: str, host: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._clock = client, clock
        self._component, self._host = component, host
        self._queue: asyncio.Queue[Json] = asyncio.Queue(maxsize=_BACKLOG)
        self._said, self._alike, self._buckets = _Latest(_Said), _Latest(_Alike), _Latest(_Bucket)

    def named(self, component: str) -> Recorder:
        """The same one, speaking for another component."""
        other = copy.copy(self)
        other._component = component
        return other

    def event(self, obj: Json, kind: str, reason: str, message: str) -> None:
        """`kind` is Normal or Warning; `obj` has its apiVersion and kind, as informers give them."""
        if self._queue.full():
            return
        self._queue.put_nowait(
            event_about(obj, kind, reason, message, component=self._component, host=self._host)
        )

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._send(event)
            except ApiError as error:
                log.debug("event not sent", reason=error.message)

    async def _send(self, event: Json) -> None:
        about, now = (event["source"]["component"], event["involvedObject"]["uid"]), self._clock()
        if not self._buckets.of(about).take(now):
            return
        kind = (*about, event["type"], event["reason"])
        alike = self._alike.of(kind)
        if now - alike.at > _ALIKE_SECONDS:
            alike.messages.clear()
        alike.at = now
        same: tuple[str, ...] = (*kind, event["message"])
        alike.messages.add(event["message"])
        if len(alike.messages) >= _ALIKE:
            alike.messages.pop()
            same = kind
            event["message"] = f"(combined from similar events): {event['message']}"
        said = self._said.of(same)
        if said.name:
            changed = {
                "count": said.count + 1,
                **{each: event[each] for each in ("lastTimestamp", "message")},
            }
            try:
                await self._client.patch(EVENTS, said.name, changed, event["metadata"]["namespace"])
                said.count += 1
                return
            except NotFound:  # they are kept for an hour
                event["count"] = said.count + 1
        await self._client.create(EVENTS, event)
        said.name, said.count = event["metadata"]["name"], event["count"]
