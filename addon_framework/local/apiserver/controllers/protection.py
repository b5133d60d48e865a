"""Claims and volumes that are in use stay until they are not, whoever deletes them.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

import asyncio

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.admission import PROTECTED
from addon_framework.local.apiserver.controllers.loop import work
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.patches import MERGE
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.store import Event, ObjectKey, Store
from addon_framework.local.apiserver.system import own_write
from addon_framework.local.workloads.claims import claims_of


class StorageProtection:
    """Takes off the finalizers that admission puts on, and puts on those that are missing."""

    def __init__(self, store: Store, registry: Registry, objects: Objects) -> None:
        self._store, self._registry, self._objects = store, registry, objects
        self._queue: asyncio.Queue[tuple[str, ObjectKey]] = asyncio.Queue()
        store.listen(self._changed)

    async def run(self) -> None:
        """Looks at everything once, then at what changes."""
        for resource in PROTECTED:
            for obj in self._store.list(resource):
                metadata = obj["metadata"]
                self._queue.put_nowait((resource, (metadata.get("namespace", ""), metadata["name"])))
        await work("protection", self._queue, self._look)

    def _changed(self, event: Event) -> None:
        gone = event.type == "DELETED"
        if event.resource in PROTECTED and not gone:
            self._queue.put_nowait((event.resource, event.key))
        elif event.resource == "pods" and gone:
            for claim in claims_of(event.obj):
                self._queue.put_nowait(("persistentvolumeclaims", claim))

    def _look(self, where: tuple[str, ObjectKey]) -> None:
        resource, key = where
        obj = self._store.get(resource, key)
        if obj is None:
            return
        finalizer, there = PROTECTED[resource], obj["metadata"].get("finalizers") or []
        if not obj["metadata"].get("deletionTimestamp"):
            wanted = there if finalizer in there else [*there, finalizer]
        elif self._in_use(resource, key, obj):
            return
        else:
            wanted = [each for each in there if each != finalizer]
        if wanted != there:
            write = own_write(self._registry.kinds["", resource], key)
            self._objects.patch(write, MERGE, {"metadata": {"finalizers": wanted or None}})

    def _in_use(self, resource: str, key: ObjectKey, obj: Json) -> bool:
        """A pod that has ended uses its claims, too; one without a node does not, nor will it get one."""
        if resource == "persistentvolumes":
            return bool((obj.get("status") or {}).get("phase") == "Bound")
        pods = self._store.list("pods", key[0])
        return any(key in claims_of(pod) for pod in pods if pod["spec"].get("nodeName"))
