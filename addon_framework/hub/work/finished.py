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


def left(work: Json, now: datetime, since: datetime | None = None) -> timedelta | None:
    """How long the work still has; None when it is not complete, or is to be kept for ever.

    `since` is when it was seen to become complete; without it the cluster's own clock must do.
    The work of a replica set is that one's to delete; it would make it again.
    """
    if OWNER_LABEL in (work["metadata"].get("labels") or {}):
        return None
    ttl = ((work.get("spec") or {}).get("deleteOption") or {}).get("ttlSecondsAfterFinished")
    complete = get_condition(work, "Complete")
    if ttl is None or complete is None or complete["status"] != "True":
        return None
    return (since or parse_time(complete["lastTransitionTime"])) + timedelta(seconds=ttl) - now


class FinishedWorkController(Controller):
    """Deletes a work when its time is over. On the hub: a cluster's agent may not delete works."""

    name = "work-finished"

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._seen: dict[str, datetime] = {}  # by uid, those that became complete before our eyes

    def watches(self) -> list[Watch]:
        """Works that have such a time."""
        return [Watch(WORK, predicate=self._concerns)]

    def _concerns(self, old: Json | None, new: Json | None) -> bool:
        now = self._now()
        if new is None or left(new, now) is None:
            self._seen.pop((new or old or {})["metadata"]["uid"], None)
            return False
        if old is not None and left(old, now) is None:
            self._seen[new["metadata"]["uid"]] = now
        return True

    async def reconcile(self, key: Key) -> float | None:
        """One work."""
        work: Json | None = self.cache(WORK).get(key)
        remaining = None if work is None else left(work, self._now(), self._seen.get(work["metadata"]["uid"]))
        if work is None or remaining is None or work["metadata"].get("deletionTimestamp"):
            return None
        if remaining > timedelta():
            return remaining.total_seconds() + 0.01
        await remove(self.client, WORK, work)
        log.info("finished work deleted", work=str(key))
        return None
