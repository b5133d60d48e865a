"""Garbage collection by owner references: background, foreground, orphan.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.controllers.loop import work
from addon_framework.local.apiserver.deletion import FOREGROUND, ORPHAN
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.patches import MERGE
from addon_framework.local.apiserver.registry import Kind, Registry
from addon_framework.local.apiserver.store import Event, ObjectKey, Store
from addon_framework.local.apiserver.system import own_write


class GarbageCollector:
    """Follows every change of the store; work is proportional to what has owners or finalizers."""

    def __init__(self, store: Store, registry: Registry, objects: Objects) -> None:
        self._store, self._registry, self._objects = store, registry, objects
        self._dependents: dict[str, set[tuple[str, ObjectKey]]] = {}
        self._queue: asyncio.Queue[tuple[str, ObjectKey]] = asyncio.Queue()
        store.listen(self._changed)

    async def run(self) -> None:
        """Looks at everything once, then at what changes."""
        for resource, key, obj in self._store.everything():
            self._index(resource, key, None, obj)
            self._queue.put_nowait((resource, key))
        await work("garbage", self._queue, self._look)

    def _changed(self, event: Event) -> None:
        gone = event.type == "DELETED"
        self._index(event.resource, event.key, event.old, None if gone else event.obj)
        if not gone:
            metadata = event.obj["metadata"]
            if metadata.get("ownerReferences") or metadata.get("deletionTimestamp"):
                self._queue.put_nowait((event.resource, event.key))
            return
        for dependent in self._dependents.get(event.obj["metadata"]["uid"], ()):
            self._queue.put_nowait(dependent)
        for owner in event.obj["metadata"].get("ownerReferences") or ():
            if found := self._store.by_uid(owner["uid"]):  # it may be waiting for us to be gone
                self._queue.put_nowait(found)

    def _index(self, resource: str, key: ObjectKey, old: Json | None, new: Json | None) -> None:
        before, after = _owner_uids(old), _owner_uids(new)
        for uid in before - after:
            self._dependents.get(uid, set()).discard((resource, key))
        for uid in after - before:
            self._dependents.setdefault(uid, set()).add((resource, key))

    def _look(self, where: tuple[str, ObjectKey]) -> None:
        resource, key = where
        obj = self._store.get(resource, key)
        kind = self._registry.stored(resource)
        if obj is None or kind is None:
            return
        finalizers = obj["metadata"].get("finalizers") or []
        if obj["metadata"].get("deletionTimestamp"):
            if ORPHAN in finalizers:
                self._orphan(obj)
                self._drop_finalizer(kind, key, ORPHAN)
                return
            if FOREGROUND in finalizers:
                self._foreground(kind, key, obj)
                return
        if obj["metadata"].get("ownerReferences"):
            self._owned(kind, key, obj)

    def _owned(self, kind: Kind, key: ObjectKey, obj: Json) -> None:
        """Deletes what has lost all its owners; forgets the lost ones of what has others."""
        references = obj["metadata"]["ownerReferences"]
        solid = [
            r for r in references if (owner := self._owner(r, key)) is not None and not _foreground(owner)
        ]
        waiting = [r for r in references if (owner := self._owner(r, key)) is not None and _foreground(owner)]
        if solid:
            if len(solid) + len(waiting) < len(references):
                kept = [r for r in references if r in solid or r in waiting]
                self._patch(kind, key, {"metadata": {"ownerReferences": kept}})
            return
        if obj["metadata"].get("deletionTimestamp"):
            return
        policy = "Foreground" if waiting else "Background"
        uid = obj["metadata"]["uid"]
        options = {"propagationPolicy": policy, "preconditions": {"uid": uid}}
        self._objects.delete(own_write(kind, key), options)

    def _foreground(self, kind: Kind, key: ObjectKey, obj: Json) -> None:
        """Deletes the dependents first; goes when those that block are gone."""
        blocked = False
        uid = obj["metadata"]["uid"]
        for resource, dependent_key, dependent in list(self._dependents_of(uid)):
            blocks = any(
                r["uid"] == uid and r.get("blockOwnerDeletion")
                for r in dependent["metadata"].get("ownerReferences") or ()
            )
            blocked = blocked or blocks
            if not dependent["metadata"].get("deletionTimestamp"):
                self._queue.put_nowait((resource, dependent_key))
        if not blocked:
            self._drop_finalizer(kind, key, FOREGROUND)

    def _orphan(self, obj: Json) -> None:
        uid = obj["metadata"]["uid"]
        for resource, key, dependent in list(self._dependents_of(uid)):
            kind = self._registry.stored(resource)
            kept = [r for r in dependent["metadata"]["ownerReferences"] if r["uid"] != uid]
            if kind is not None:
                self._patch(kind, key, {"metadata": {"ownerReferences": kept or None}})

    def _drop_finalizer(self, kind: Kind, key: ObjectKey, finalizer: str) -> None:
        obj = self._store.get(kind.key, key)
        if obj is not None:
            kept = [each for each in obj["metadata"].get("finalizers") or () if each != finalizer]
            self._patch(kind, key, {"metadata": {"finalizers": kept or None}})

    def _patch(self, kind: Kind, key: ObjectKey, patch: Json) -> None:
        self._objects.patch(own_write(kind, key), MERGE, patch)

    def _dependents_of(self, uid: str) -> Iterator[tuple[str, ObjectKey, Json]]:
        for resource, key in list(self._dependents.get(uid, ())):
            obj = self._store.get(resource, key)
            if obj is not None:
                yield resource, key, obj

    def _owner(self, reference: Json, key: ObjectKey) -> Json | None:
        """The owner itself: same uid, and in the same namespace or in none."""
        found = self._store.by_uid(reference["uid"])
        if found is None or found[1][0] not in ("", key[0]) or found[1][1] != reference["name"]:
            return None
        return self._store.get(*found)


def _owner_uids(obj: Json | None) -> set[str]:
    return {r["uid"] for r in (obj or {}).get("metadata", {}).get("ownerReferences") or ()}


def _foreground(owner: Json) -> bool:
    """Being deleted, and waiting for its dependents."""
    metadata = owner["metadata"]
    return bool(metadata.get("deletionTimestamp")) and FOREGROUND in (metadata.get("finalizers") or ())
