"""Events as `kubectl describe` shows them: what a component did or could not do with an object."""

from __future__ import annotations

import asyncio
import copy
import secrets

import structlog

from addon_framework.api.core import EVENTS
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import ApiError, Client

log = structlog.get_logger(__name__)
_QUIET = 10.0  # seconds in which the same event is said once
_BACKLOG = 200


class Recorder:
    """Sends events in the background. They are a courtesy: too many or not accepted ones are dropped."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._source = {"component": component} | ({"host": host} if host else {})
        self._queue: asyncio.Queue[Json] = asyncio.Queue(maxsize=_BACKLOG)
        self._last: dict[tuple[str, str, str], float] = {}

    def named(self, component: str) -> Recorder:
        """The same one, speaking for another component."""
        other = copy.copy(self)
        other._source = {**self._source, "component": component}
        return other

    def event(self, obj: Json, kind: str, reason: str, message: str) -> None:
        """`kind` is Normal or Warning; `obj` has its apiVersion and kind, as informers give them."""
        metadata = obj["metadata"]
        now = asyncio.get_running_loop().time()
        key = (metadata["uid"], reason, message[:100])
        if now - self._last.get(key, -_QUIET) < _QUIET or self._queue.full():
            return
        if len(self._last) > 10 * _BACKLOG:
            for old in [key for key, at in self._last.items() if now - at >= _QUIET]:
                del self._last[old]
        self._last[key] = now
        stamp = now_rfc3339()
        namespace = metadata.get("namespace", "default")
        self._queue.put_nowait(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": namespace},
                "involvedObject": {
                    "apiVersion": obj.get("apiVersion", "v1"),
                    "kind": obj.get("kind", "Pod"),
                    "name": metadata["name"],
                    "namespace": metadata.get("namespace", ""),
                    "uid": metadata["uid"],
                },
                "type": kind,
                "reason": reason,
                "message": message[:1024],
                "source": self._source,
                "reportingComponent": self._source["component"],
                "firstTimestamp": stamp,
                "lastTimestamp": stamp,
                "count": 1,
            }
        )

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._client.create(EVENTS, event)
            except ApiError as error:
                log.debug("event not sent", reason=error.message)
