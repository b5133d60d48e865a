"""A copy on nodes beside a cache that is slower than its source, for pods that start from then on.

Only where the Dataset's annotation asks for it. The copy is a Dataset of its own, with a LocalRuntime and a
DataLoad. The slow cache stays: pods that use it go on, and its clients measure again. When it is not slower
any more it is used again, and the copy goes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

from addon_framework.api.conditions import get_condition, is_true, set_condition
from addon_framework.api.data import LocalRuntime
from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.kube import Client, Key, key_of
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding, Resolver
from addons.cache_runtime.agent.names import (
    BYPASS_ANNOTATION,
    BYPASSED,
    DATALOADS,
    DATASETS,
    FIELD_MANAGER,
    HASH_ANNOTATION,
    SLOWER,
    short_hash,
)
from addons.cache_runtime.agent.status import BOUND
from runtimes.interface import Cache

_RUNTIMES = LocalRuntime.RESOURCE
_KEPT = ("mounts", "sharedOptions", "sharedEncryptOptions", "accessModes", "nodeAffinity", "tolerations")


class Bypass:
    """Over the informers' caches. Reconciled by the Dataset controller."""

    def __init__(self, client: Client, cache: Callable[[Resource], AnyInformer], resolver: Resolver) -> None:
        self._client, self._cache, self._resolver = client, cache, resolver

    async def keep(self, binding: Binding, status: Json) -> None:
        """Makes the copy or takes it away, and says so in the status that is about to be written."""
        dataset = binding.dataset
        if dataset["metadata"].get("deletionTimestamp") or binding.ending:
            return
        asked = (dataset["metadata"].get("annotations") or {}).get(BYPASS_ANNOTATION) == "auto"
        if not (asked and is_true({"status": status}, SLOWER)):
            await self._remove(key_of(dataset))
            if get_condition(status["conditions"], BYPASSED) is not None:
                _put(status, False, "NotNeeded", "pods read the cache")
            return
        parts = copies(binding)
        if problem := self._problem(binding, parts):
            _put(status, False, "NotPossible", problem)
            return
        for resource, obj in parts:
            await self._ensure(resource, obj)
        _put(status, *self._state(binding, status))

    def _problem(self, binding: Binding, parts: list[tuple[Resource, Json]]) -> str:
        if binding.backend.resource == _RUNTIMES:
            return "the slow cache is a copy on nodes already"
        backend = self._resolver.of_kind(_RUNTIMES.kind)
        if backend is None:
            return f"no {_RUNTIMES.kind} is installed"
        if not parts:
            return f"where {binding.cache.title} shows its files is known to its own client only"
        (_, dataset), (_, runtime), _ = parts
        problems = backend.validate(Cache.of(dataset, runtime, image=""))
        for resource, obj in parts:
            live = self._cache(resource).get(key_of(obj))
            if live is not None and not _is_ours(live):
                problems.append(f"{obj['kind']} {key_of(obj)} exists and is not ours; rename it")
        return "; ".join(problems)

    async def _ensure(self, resource: Resource, obj: Json) -> None:
        live = self._cache(resource).get(key_of(obj))
        if live is None or live["metadata"]["annotations"][HASH_ANNOTATION] != _hash(obj):
            await self._client.apply(obj, field_manager=FIELD_MANAGER, resource=resource)

    async def _remove(self, key: Key) -> None:
        """The runtime goes with its Dataset, which waits for the pods that use it."""
        for resource in (DATALOADS, DATASETS):
            live = self._cache(resource).get(copy_of(key))
            if live is not None and _is_ours(live):
                await self._client.remove(resource, live)

    def _state(self, binding: Binding, status: Json) -> tuple[bool, str, str]:
        at = copy_of(key_of(binding.dataset))
        load, made = self._cache(DATALOADS).get(at), self._cache(DATASETS).get(at)
        loaded = ((load or {}).get("status") or {}).get("phase") or "Pending"
        if loaded != "Complete" or not _is_usable(made):
            return (
                False,
                "Copying",
                f"pods read the cache until DataLoad {at}, which is {loaded}, is Complete",
            )
        rate = (((made or {}).get("status") or {}).get("numbers") or {}).get("cacheBytesPerSecond")
        if rate and rate < status["numbers"]["cacheBytesPerSecond"]:
            return False, "CopyIsSlower", f"pods read the cache: Dataset {at} is read slower still"
        return True, "CopyIsComplete", f"labelled pods that start now read Dataset {at} instead"


def copy_of(key: Key) -> Key:
    """The Dataset that pods read instead; its runtime and DataLoad are called the same."""
    return Key(key.namespace, f"{key.name}-bypass")


def original_of(obj: Json) -> list[Key]:
    """The Dataset that something is the copy of."""
    owners = obj["metadata"].get("ownerReferences") or []
    found = [Key(obj["metadata"]["namespace"], o["name"]) for o in owners if o.get("kind") == DATASETS.kind]
    return [key for key in found if copy_of(key) == key_of(obj)]


def copies(binding: Binding) -> list[tuple[Resource, Json]]:
    """Dataset, runtime and DataLoad of the copy; none where its paths could not be the cache's. Pure."""
    dataset, runtime = binding.dataset, binding.runtime
    shown = binding.backend.shown(binding.cache)
    if shown is None:
        return []
    key = copy_of(key_of(dataset))
    spec = {name: copy.deepcopy(value) for name, value in dataset["spec"].items() if name in _KEPT}
    for mount, source in zip(spec["mounts"], shown, strict=True):
        mount["path"] = source.path
    levels = ((runtime.get("spec") or {}).get("tieredstore") or {}).get("levels") or []
    told = {name: levels[0][name] for name in ("mediumtype", "path") if name in levels[0]} if levels else {}
    held: Json = {"tieredstore": {"levels": [told]}} if told.get("path") else {}
    if replicas := binding.backend.scale(binding.cache):
        held["replicas"] = replicas
    load = {"dataset": {"name": key.name, "namespace": key.namespace}, "target": [{"path": "/"}]}
    made = []
    for resource, body in ((DATASETS, spec), (_RUNTIMES, held), (DATALOADS, load)):
        metadata: Json = {"name": key.name, "namespace": key.namespace}
        if resource != _RUNTIMES:  # that one belongs to the copy
            metadata["ownerReferences"] = [owner_reference(dataset)]
        obj: Json = {"apiVersion": resource.api_version, "kind": resource.kind}
        obj |= {"metadata": metadata, "spec": body}
        metadata["annotations"] = {HASH_ANNOTATION: _hash(obj)}
        made.append((resource, obj))
    return made


def redirect(pod: Json, namespace: str, datasets: AnyInformer) -> None:
    """Claims of bypassed Datasets become those of their copies."""
    for volume in pod["spec"].get("volumes") or []:
        claim = volume.get("persistentVolumeClaim")
        key = Key(namespace, claim["claimName"]) if claim else None
        dataset = datasets.get(key) if key else None
        if key is None or dataset is None or not is_true(dataset, BYPASSED):
            continue
        made = datasets.get(copy_of(key))
        if made is not None and original_of(made) == [key] and _is_usable(made):
            claim["claimName"] = copy_of(key).name


def _is_usable(made: Json | None) -> bool:
    if made is None or made["metadata"].get("deletionTimestamp"):
        return False
    return (made.get("status") or {}).get("phase") == BOUND


def _is_ours(live: Json) -> bool:
    return HASH_ANNOTATION in (live["metadata"].get("annotations") or {})


def _hash(obj: Json) -> str:
    return short_hash(json.dumps([obj["spec"], obj["metadata"].get("ownerReferences")], sort_keys=True))


def _put(status: Json, value: bool, reason: str, message: str) -> None:
    conditions: list[Json] = status["conditions"]
    if set_condition(conditions, BYPASSED, value, reason, message):
        condition = get_condition(conditions, BYPASSED)
        assert condition is not None
        condition["lastUpdateTime"] = condition.get("lastTransitionTime")
