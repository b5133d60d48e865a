"""What every namespace gets, and how one that is deleted is emptied.

Each namespace has the service account `default` and the cluster's CA in `kube-root-ca.crt`.
https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
"""

from __future__ import annotations

import asyncio

from addon_framework.api.conditions import set_condition
from addon_framework.api.meta import Json
from addon_framework.local.apiserver.controllers.loop import work
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.schemas import copy_json
from addon_framework.local.apiserver.store import Event, Store
from addon_framework.local.apiserver.system import own_write

_ROOT_CA = "kube-root-ca.crt"


class NamespaceController:
    """One pass per namespace, when it or what holds it up changes."""

    def __init__(self, store: Store, registry: Registry, objects: Objects, ca: bytes) -> None:
        self._store, self._registry, self._objects, self._ca = store, registry, objects, ca.decode()
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        store.listen(self._changed)

    async def run(self) -> None:
        """Looks at all namespaces once, then at those that change."""
        for namespace in self._store.list("namespaces"):
            self._queue.put_nowait(namespace["metadata"]["name"])
        await work("namespaces", self._queue, self.sync)

    def sync(self, name: str) -> None:
        """Brings one namespace to where it should be."""
        namespace = self._store.get("namespaces", ("", name))
        if namespace is None:
            return
        if namespace["metadata"].get("deletionTimestamp"):
            self._empty(name)
        else:
            self._furnish(name)

    def _changed(self, event: Event) -> None:
        if event.resource == "namespaces":
            self._queue.put_nowait(event.key[1])
        elif event.type == "DELETED" and event.key[0]:
            namespace = self._store.get("namespaces", ("", event.key[0]))
            furniture = event.resource in ("serviceaccounts", "configmaps")
            if namespace and (namespace["metadata"].get("deletionTimestamp") or furniture):
                self._queue.put_nowait(event.key[0])

    def _furnish(self, name: str) -> None:
        if self._store.get("serviceaccounts", (name, "default")) is None:
            self._create("serviceaccounts", name, {"metadata": {"name": "default"}})
        if self._store.get("configmaps", (name, _ROOT_CA)) is None:
            self._create("configmaps", name, {"metadata": {"name": _ROOT_CA}, "data": {"ca.crt": self._ca}})

    def _create(self, plural: str, namespace: str, obj: Json) -> None:
        kind = self._registry.kinds[("", plural)]
        self._objects.create(own_write(kind, (namespace, "")), obj)

    def _empty(self, name: str) -> None:
        """Deletes the content; when nothing is left, lets the namespace go."""
        remaining: dict[str, int] = {}
        for kind in self._registry:
            if not kind.namespaced or "delete" not in kind.verbs:
                continue
            for obj in self._store.list(kind.key, name):
                if not obj["metadata"].get("deletionTimestamp"):
                    write = own_write(kind, (name, obj["metadata"]["name"]))
                    self._objects.delete(write, {"propagationPolicy": "Background"})
            if left := len(self._store.list(kind.key, name)):
                remaining[kind.key] = left
        kind = self._registry.kinds[("", "namespaces")]
        current = self._store.get("namespaces", ("", name))
        if current is None:
            return
        changed = copy_json(current)
        if not remaining:
            kept = [each for each in changed["spec"].get("finalizers") or () if each != "kubernetes"]
            changed["spec"]["finalizers"] = kept
            self._store.put("namespaces", ("", name), changed)
            if not kept and not changed["metadata"].get("finalizers"):
                self._store.remove("namespaces", ("", name))
            return
        message = "Some resources are remaining: " + ", ".join(
            f"{key} has {count} resource instances" for key, count in sorted(remaining.items())
        )
        conditions = changed.setdefault("status", {}).setdefault("conditions", [])
        if set_condition(conditions, "NamespaceContentRemaining", True, "SomeResourcesRemain", message):
            self._objects.update(own_write(kind, ("", name), "status"), changed)
