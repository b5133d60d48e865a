"""Events for people: what a controller did to an object, as `kubectl describe` shows it."""

from __future__ import annotations

import structlog

from addon_framework.api.core import EVENTS
from addon_framework.api.events import event_about
from addon_framework.api.meta import Json
from addon_framework.kube.client import Client
from addon_framework.kube.errors import AlreadyExists, ApiError

log = structlog.get_logger(__name__)


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
        kind = "Warning" if warning else "Normal"
        event = event_about(about, kind, reason, message, component=self._component, name=name)
        try:
            await self._client.create(EVENTS, event)
        except AlreadyExists:
            pass
        except ApiError as error:
            log.debug("event not recorded", reason=error.message, about=about["metadata"]["name"])
