"""The end of a work: what it owned goes or stays as it says, then its book, then the work itself."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta

import structlog

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json
from addon_framework.api.names import WORK_FINALIZER
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.api.work import ManifestWork
from addon_framework.kube import Client, Controller, Key, NotFound, Watch
from addon_framework.kube.ensure import set_finalizers, write_status
from addon_framework.spoke.names import APPLIED_WORK_FINALIZER
from addon_framework.spoke.work import bookkeeping, ownership
from addon_framework.spoke.work.objects import SpokeObjects
from addon_framework.spoke.work.targets import is_left

log = structlog.get_logger(__name__)
WORK = ManifestWork.RESOURCE
EVICTION_GRACE = timedelta(minutes=60)  # OCM's: a hub that is restored has its works again by then
_SHOWN = 3


class WorkDeletion:
    """What a work's own controller does when the work is deleted."""

    def __init__(self, objects: SpokeObjects) -> None:
        self._objects, self._spoke = objects, objects.client

    async def advance(self, hub: Client, work: Json, applied: Json | None) -> None:
        """One step; the book's changes call again."""
        finalizers = work["metadata"].get("finalizers") or []
        if WORK_FINALIZER not in finalizers:
            return
        if applied is None:
            try:
                await set_finalizers(hub, WORK, work, [f for f in finalizers if f != WORK_FINALIZER])
            except NotFound:
                return  # the cache is behind
            log.info("work gone", work=work["metadata"]["name"])
            return
        if not applied["metadata"].get("deletionTimestamp"):
            await self._orphan(work, applied)
            await self._reclaim(work, applied)
            metadata = applied["metadata"]
            await self._spoke.delete(bookkeeping.RESOURCE, metadata["name"], uid=metadata["uid"])
        status = copy.deepcopy(work.get("status") or {})
        left = bookkeeping.entries(applied)
        names = [await self._held(entry) for entry in left[:_SHOWN]]
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        text = f"waiting for {len(left)} resources to go: {'; '.join(names)}{more}"
        conditions = status.setdefault("conditions", [])
        generation = work["metadata"].get("generation")
        set_condition(conditions, "Deleting", True, "ManifestWorkDeleting", text, generation=generation)
        await write_status(hub, WORK, work, status)

    async def _held(self, entry: Json) -> str:
        """An object that is still there, and what it waits for."""
        target = bookkeeping.target_of(entry)
        live = await self._objects.live(target) or {"metadata": {}}
        why = [self._objects.refusals[target]] if target in self._objects.refusals else []
        if finalizers := live["metadata"].get("finalizers"):
            why.append(f"finalizers: {', '.join(finalizers)}")
        if live.get("kind") == "Namespace":  # it says itself what is left in it
            conditions = (live.get("status") or {}).get("conditions") or []
            why += [c["message"] for c in conditions if c.get("status") == "True" and c.get("message")]
        elif live["metadata"].get("deletionTimestamp"):  # a Dataset says which pods use it
            ready = get_condition(live, "Ready") or {}
            why += [ready["message"]] if ready.get("status") == "False" and ready.get("message") else []
        return f"{entry['resource']} {_where(entry)}" + (f" ({'; '.join(why)})" if why else "")

    async def _orphan(self, work: Json, applied: Json) -> None:
        """Release what is to stay, also if the work said so a moment before it was deleted."""
        uid = applied["metadata"]["uid"]
        staying = [e for e in bookkeeping.entries(applied) if is_left(work, bookkeeping.target_of(e))]
        await asyncio.gather(
            *(ownership.release(self._spoke, *ownership.resource_of(entry), uid) for entry in staying)
        )

    async def _reclaim(self, work: Json, applied: Json) -> None:
        """What somebody has disowned by hand goes, too: had there been time, we would have undone that."""
        going = [e for e in bookkeeping.entries(applied) if not is_left(work, bookkeeping.target_of(e))]
        owner = ownership.reference_to(applied)
        await asyncio.gather(*(ownership.reclaim(self._spoke, entry, owner) for entry in going))


class AppliedWorkController(Controller):
    """AppliedManifestWork: deleted, it takes what it owns along; without its work it is evicted."""

    name = "applied-work"
    workers = 4

    def __init__(
        self,
        objects: SpokeObjects,
        hub: Client,
        cluster: str,
        hub_hash: str,
        agent: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._objects, self._hub, self._cluster = objects, hub, cluster
        self._hub_hash, self._agent, self._now = hub_hash, agent, now
        objects.listen(self._object_changed)

    def watches(self) -> list[Watch]:
        """The books here, and on the hub the works: whether they are there."""
        return [
            Watch(bookkeeping.RESOURCE),
            Watch(
                WORK,
                map=lambda work: [
                    Key("", bookkeeping.applied_name(self._hub_hash, work["metadata"]["name"]))
                ],
                namespace=self._cluster,
                predicate=lambda old, new: old is None or new is None,
                client=self._hub,
            ),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One book."""
        applied: Json | None = self.cache(bookkeeping.RESOURCE).get(key)
        if applied is None:
            self._objects.watch(("applied", key), ())
            return None
        if applied["metadata"].get("deletionTimestamp"):
            await self._finalize(key, applied)
            return None
        return await self._evict(applied)

    async def _finalize(self, key: Key, applied: Json) -> None:
        finalizers = applied["metadata"].get("finalizers") or []
        if APPLIED_WORK_FINALIZER not in finalizers:
            return
        resources = bookkeeping.entries(applied)
        # Watched before it is looked at, so that no end is missed.
        self._objects.watch(("applied", key), {bookkeeping.target_of(entry) for entry in resources})
        left, errors = await bookkeeping.remove_all(self._objects, applied, resources)
        if left:
            kept = {bookkeeping.place(entry): entry for entry in left}
            await bookkeeping.record(self.client, applied, kept)
            self._objects.tell(Key(self._cluster, (applied.get("spec") or {}).get("manifestWorkName", "")))
            if errors:
                raise errors[0]
            return
        self._objects.watch(("applied", key), ())
        kept_finalizers = [f for f in finalizers if f != APPLIED_WORK_FINALIZER]
        try:
            await set_finalizers(self.client, bookkeeping.RESOURCE, applied, kept_finalizers)
        except NotFound:
            pass  # the cache is behind

    async def _evict(self, applied: Json) -> float | None:
        """Its work vanished without us, or its hub is no longer ours. Not at once: hubs are restored."""
        spec, status = applied.get("spec") or {}, applied.get("status") or {}
        ours = spec.get("hubHash") == self._hub_hash
        if not ours and spec.get("agentID") != self._agent:
            return None  # another agent's
        work = Key(self._cluster, spec.get("manifestWorkName", ""))
        if ours and work in self.cache(WORK, namespace=self._cluster, client=self._hub):
            return None  # its controller takes the mark away
        since = status.get("evictionStartTime")
        if since is None:
            marked = {**status, "evictionStartTime": now_rfc3339(self._now())}
            await write_status(self.client, bookkeeping.RESOURCE, applied, marked)
            return EVICTION_GRACE.total_seconds()
        left = (parse_time(since) + EVICTION_GRACE - self._now()).total_seconds()
        if left > 0:
            return left + 0.1
        log.warning("work evicted: the hub has it no more", work=work.name)
        try:
            metadata = applied["metadata"]
            await self.client.delete(bookkeeping.RESOURCE, metadata["name"], uid=metadata["uid"])
        except NotFound:
            pass
        return None

    def _object_changed(self, user: Hashable) -> None:
        if isinstance(user, tuple) and not isinstance(user, Key) and user[0] == "applied":
            self.queue.add(user[1])


def _where(entry: Json) -> str:
    return f"{entry['namespace']}/{entry['name']}" if entry.get("namespace") else str(entry["name"])
