"""CustomResourceDefinitions become kinds; their conditions say so, their deletion takes the objects along.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import asyncio

from addon_framework.api.addon_v1beta1 import CONVERTED, GROUP
from addon_framework.api.conditions import set_condition
from addon_framework.api.meta import Json
from addon_framework.local.apiserver.controllers.loop import work
from addon_framework.local.apiserver.conversion import BuiltIn, Conversion
from addon_framework.local.apiserver.hooks import HookClient
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.registry import Kind, Registry, Version
from addon_framework.local.apiserver.schemas import copy_json, crd_schema
from addon_framework.local.apiserver.store import Event, Store
from addon_framework.local.apiserver.system import own_write
from addon_framework.local.apiserver.write import Write

RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


def kind_from_crd(crd: Json, client: HookClient) -> Kind:
    """The kind that a CRD describes."""
    spec = crd["spec"]
    names = spec["names"]
    versions = tuple(_version(version) for version in spec["versions"])
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    offered = [version.get("subresources") or {} for version in spec["versions"]]
    subresources = [
        part for part in ("status", "scale") if any(said.get(part) is not None for said in offered)
    ]
    return Kind(
        group=spec["group"],
        plural=names["plural"],
        kind=names["kind"],
        versions=versions,
        storage=storage,
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular") or names["kind"].lower(),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(subresources),
        custom=True,
        unconditional=False,
        list_kind=names.get("listKind") or f"{names['kind']}List",
        crd_uid=crd["metadata"]["uid"],
        conversion=_conversion(spec, client),
    )


def _conversion(spec: Json, client: HookClient) -> Conversion | BuiltIn | None:
    said = spec.get("conversion") or {}
    if said.get("strategy") != "Webhook":
        return None
    kind = spec["names"]["kind"]
    if (
        spec["group"] == GROUP
        and kind in CONVERTED
        and (said["webhook"].get("clientConfig") or {}).get("service")
    ):
        return BuiltIn()
    return Conversion(client, said["webhook"], kind)


def _version(version: Json) -> Version:
    openapi = (version.get("schema") or {}).get("openAPIV3Schema")
    subresources = version.get("subresources") or {}
    return Version(
        name=version["name"],
        served=version.get("served", True),
        schema=crd_schema(openapi),
        openapi=openapi,
        columns=tuple(version.get("additionalPrinterColumns") or ()) or None,
        selectable=tuple(f["jsonPath"].removeprefix(".") for f in version.get("selectableFields") or ()),
        scale=subresources.get("scale"),
        status=subresources.get("status") is not None,
    )


class CustomResources:
    """Keeps the registry in step with the CRDs. Registration is immediate: a stored CRD is served."""

    def __init__(self, store: Store, registry: Registry, objects: Objects, client: HookClient) -> None:
        self._store, self._registry, self._objects, self._client = store, registry, objects, client
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        for crd in store.list(RESOURCE):
            self._register(crd)
        store.listen(self._changed)

    async def run(self) -> None:
        """Writes conditions and cleans up after deleted CRDs."""
        for crd in self._store.list(RESOURCE):
            self._queue.put_nowait(crd["metadata"]["name"])
        await work("definitions", self._queue, self._sync)

    def _changed(self, event: Event) -> None:
        if event.resource == RESOURCE:
            if event.type == "DELETED":
                spec = event.obj["spec"]
                self._registry.kinds.pop((spec["group"], spec["names"]["plural"]), None)
            else:
                if event.old is None or event.old["spec"] != event.obj["spec"]:
                    self._register(event.obj)
                self._queue.put_nowait(event.key[1])
        elif event.type == "DELETED" and self._store.get(RESOURCE, ("", event.resource)) is not None:
            self._queue.put_nowait(event.resource)

    def _register(self, crd: Json) -> None:
        if self._names_conflict(crd):
            return
        kind = kind_from_crd(crd, self._client)
        self._registry.kinds[(kind.group, kind.plural)] = kind

    def _names_conflict(self, crd: Json) -> str:
        """Why the names cannot be taken: another resource of the group has one of them."""
        spec, uid = crd["spec"], crd["metadata"]["uid"]
        for other in self._registry:
            same = other.kind == spec["names"]["kind"] or other.plural == spec["names"]["plural"]
            if same and other.group == spec["group"] and other.crd_uid != uid:
                return f"{other.kind} ({other.plural}) is already in use in group {other.group}"
        return ""

    def _sync(self, name: str) -> None:
        crd = self._store.get(RESOURCE, ("", name))
        if crd is None:
            return
        if crd["metadata"].get("deletionTimestamp"):
            self._clean_up(crd, name)
            return
        changed = copy_json(crd)
        spec, status = changed["spec"], changed.setdefault("status", {})
        if FINALIZER not in (changed["metadata"].get("finalizers") or ()):
            changed["metadata"].setdefault("finalizers", []).append(FINALIZER)
            changed = copy_json(self._objects.update(self._write(name), changed))
            status = changed.setdefault("status", {})
        conditions = status.setdefault("conditions", [])
        problem = self._names_conflict(crd)
        if problem:
            set_condition(conditions, "NamesAccepted", False, "KindConflict", problem)
            set_condition(conditions, "Established", False, "NotAccepted", "not all names are accepted")
        else:
            set_condition(conditions, "NamesAccepted", True, "NoConflicts", "no conflicts found")
            set_condition(
                conditions,
                "Established",
                True,
                "InitialNamesAccepted",
                "the initial names have been accepted",
            )
            status["acceptedNames"] = spec["names"]
        storage = next(v["name"] for v in spec["versions"] if v.get("storage"))
        stored = status.setdefault("storedVersions", [])
        if storage not in stored:
            stored.append(storage)
        self._objects.update(self._write(name, "status"), changed)

    def _clean_up(self, crd: Json, name: str) -> None:
        kind = self._registry.kinds.get((crd["spec"]["group"], crd["spec"]["names"]["plural"]))
        if kind is not None and kind.crd_uid == crd["metadata"]["uid"]:
            for obj in self._store.list(kind.key):
                metadata = obj["metadata"]
                if not metadata.get("deletionTimestamp"):
                    key = (metadata.get("namespace", ""), metadata["name"])
                    self._objects.delete(own_write(kind, key), {})
            if self._store.count(kind.key):
                return
        if FINALIZER in (crd["metadata"].get("finalizers") or ()):
            changed = copy_json(crd)
            changed["metadata"]["finalizers"].remove(FINALIZER)
            self._objects.update(self._write(name), changed)

    def _write(self, name: str, subresource: str = "") -> Write:
        kind = self._registry.kinds[("apiextensions.k8s.io", "customresourcedefinitions")]
        return own_write(kind, ("", name), subresource, "kube-apiserver")
