"""Events for people: what a controller did to an object, as `kubectl describe` shows it."""

from __future__ import annotations

import uuid

import structlog

from addon_framework.api.core import EVENTS
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.kube.client import Client
from addon_framework.kube.errors import AlreadyExists, ApiError

log = structlog.get_logger(__name__)
_MAX_MESSAGE = 1024


class EventRecorder:
    """Records events about objects. One that cannot be written is logged and forgotten."""

    def __init__(self, client: Client, component: str) -> None:
        self._client = client
        self._component = component

    async def record(
        self, about: Json, reason: str, message: str, *, warning: bool = False, name: str = ""
    ) -> None:
        """Create one event in the object's namespace (`default` for cluster-scoped ones).

        With a name of its own unless one is given; what has that name already is the same event.
        """
        metadata, now = about["metadata"], now_rfc3339()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": name or f"{metadata['name']}.{uuid.uuid4().hex[:16]}",
                "namespace": metadata.get("namespace") or "default",
            },
            "involvedObject": {
                "apiVersion": about.get("apiVersion", ""),
                "kind": about.get("kind", ""),
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata.get("uid", ""),
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:_MAX_MESSAGE],
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._client.create(EVENTS, event)
        except AlreadyExists:
            pass
        except ApiError as error:
            log.debug("event not recorded", reason=error.message, about=metadata["name"])
