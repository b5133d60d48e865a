"""Works that say how long they are to be kept once they are complete: `ttlSecondsAfterFinished`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.api.work import ManifestWork
from addon_framework.hub.work.children import OWNER_LABEL
from addon_framework.kube import Controller, Key, Watch
from addon_framework.kube.ensure import remove

log = structlog.get_logger(__name__)
WORK = ManifestWork.RESOURCE


def left(work: Json, now: datetime) -> timedelta | None:
    """How long the work still has; None when it is not complete, or is to be kept for ever.

    The work of a replica set is that one's to delete; it would make it again.
    """
    if OWNER_LABEL in (work["metadata"].get("labels") or {}):
        return None
    ttl = ((work.get("spec") or {}).get("deleteOption") or {}).get("ttlSecondsAfterFinished")
    complete = get_condition(work, "Complete")
    if ttl is None or complete is None or complete["status"] != "True":
        return None
    return parse_time(complete["lastTransitionTime"]) + timedelta(seconds=ttl) - now


class FinishedWorkController(Controller):
    """Deletes a work when its time is over. On the hub: a cluster's agent may not delete works."""

    name = "work-finished"

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now

    def watches(self) -> list[Watch]:
        """Works that have such a time, or lose it."""
        return [
            Watch(WORK, predicate=lambda old, new: new is not None and left(new, self._now()) is not None)
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One work."""
        work: Json | None = self.cache(WORK).get(key)
        remaining = None if work is None else left(work, self._now())
        if work is None or remaining is None or work["metadata"].get("deletionTimestamp"):
            return None
        if remaining > timedelta():
            return remaining.total_seconds() + 0.01
        await remove(self.client, WORK, work)
        log.info("finished work deleted", work=str(key))
        return None
