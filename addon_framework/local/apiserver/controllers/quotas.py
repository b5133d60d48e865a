"""What quotas say of themselves stays true, whatever is deleted, ends or changes.

https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

import asyncio

from addon_framework.api.meta import Json
from addon_framework.local.amounts import Amount, Amounts, read, total, written
from addon_framework.local.apiserver.controllers.loop import work
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.quotas import (
    CHANGING,
    QUOTAS,
    counted,
    has_ended,
    in_scope,
    is_terminating,
    usage,
)
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.store import Event, ObjectKey, Store
from addon_framework.local.apiserver.system import own_write


class QuotaController:
    """Recounts quotas that are new or get something back. (What is taken, admission charges.)"""

    def __init__(self, store: Store, registry: Registry, objects: Objects) -> None:
        self._store, self._registry, self._objects = store, registry, objects
        self._queue: asyncio.Queue[ObjectKey] = asyncio.Queue()
        self._waiting: set[ObjectKey] = set()
        store.listen(self._changed)

    async def run(self) -> None:
        """Counts all once, since a server that was killed may have charged for what it never stored."""
        for quota in self._store.list(QUOTAS):
            self._recount((quota["metadata"]["namespace"], quota["metadata"]["name"]))
        await work("quotas", self._queue, self.sync)

    def sync(self, key: ObjectKey) -> None:
        """Counts for one quota."""
        self._waiting.discard(key)
        quota = self._store.get(QUOTAS, key)
        if quota is None:
            return
        hard, state = quota["spec"].get("hard") or {}, quota.get("status") or {}
        used = self._used(quota, key[0], hard)
        known = {name: amount.value for name, amount in read(state.get("used")).items()}
        if state.get("hard") != hard or known != {name: amount.value for name, amount in used.items()}:
            write = own_write(self._registry.kinds["", QUOTAS], key, "status")
            counts = {"hard": hard, "used": written(used)}
            self._objects.update(write, {**quota, "status": counts})

    def _used(self, quota: Json, namespace: str, hard: Json) -> Amounts:
        names = {name: counted(name) for name in hard}
        parts: list[Amounts] = [{name: Amount() for name, resource in names.items() if resource}]
        for resource in sorted(set(names.values()) - {""}):
            for obj in self._store.list(resource, namespace):
                if in_scope(quota, resource, obj):
                    parts.append({k: v for k, v in usage(resource, obj).items() if k in hard})
        return total(parts)

    def _recount(self, key: ObjectKey) -> None:
        if key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait(key)

    def _changed(self, event: Event) -> None:
        resource, old, gone = event.resource, event.old, event.type == "DELETED"
        if resource == QUOTAS and not gone and (old is None or old["spec"] != event.obj["spec"]):
            self._recount(event.key)
        if old is None or not (gone or resource in CHANGING):
            return
        quotas = self._store.list(QUOTAS, event.key[0]) if event.key[0] else []
        if quotas and (gone or _counts_anew(resource, old, event.obj)):
            for quota in quotas:
                if any(counted(name) == resource for name in quota["spec"].get("hard") or ()):
                    self._recount((event.key[0], quota["metadata"]["name"]))


def _counts_anew(resource: str, old: Json, new: Json) -> bool:
    if resource == "pods" and old["spec"] == new["spec"] and has_ended(old) == has_ended(new):
        return False  # most writes of pods
    return usage(resource, old) != usage(resource, new) or (
        resource == "pods" and is_terminating(old) != is_terminating(new)
    )
