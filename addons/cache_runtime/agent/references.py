"""Datasets that show the data of another: a volume and a claim of their own, and the other's status."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from addon_framework.api.data import ThinRuntime
from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import AlreadyExists, Client, Key, key_of, patch_status
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent import volumes
from addons.cache_runtime.agent.backends import Binding, Resolver
from addons.cache_runtime.agent.names import (
    DATASETS,
    OURS_IN_STATUS,
    pods_using,
    volume_name,
)
from addons.cache_runtime.agent.reference_rules import Reference, notes, outside, problems, reference_of
from addons.cache_runtime.agent.releasing import release, volumes_of
from addons.cache_runtime.agent.status import (
    BOUND,
    FAILED,
    MIGRATING,
    NOT_BOUND,
    WITHOUT_EFFECT,
    Observed,
    runtime_status,
)

_THIN = ThinRuntime.RESOURCE
_COPIED = ("ufsTotal", "fileNum", "cacheStates", "numbers", "hcfs")
_RETRY = 10.0


class References:
    """Over the informers' caches. Reconciled by the Dataset controller."""

    def __init__(
        self,
        client: Client,
        cache: Callable[[Resource], AnyInformer],
        resolver: Resolver,
        wake: Callable[[Key], None],
    ) -> None:
        self._client, self._cache, self._resolver, self._wake = client, cache, resolver, wake
        self._entered: frozenset[Key] = frozenset()
        # Of thousands of Datasets few refer to others; looking for them at every change would be slow.
        self._referring: dict[Key, set[Key]] = {}
        cache(DATASETS).on_event(self._index)

    def to(self, key: Key) -> list[Key]:
        """The Datasets that show the data of this one, or may."""
        found = {each: self._cache(DATASETS).get(each) for each in self._referring.get(key, ())}
        return sorted(
            each
            for each, dataset in found.items()
            if dataset is not None
            and (
                self._volume(each) is not None
                or (not dataset["metadata"].get("deletionTimestamp") and not self.problems(dataset))
            )
        )

    def users(self, key: Key, node: str = "") -> list[str]:
        """Pods that use the data of a Dataset by another's claim: namespace/name."""
        found = (
            f"{each.namespace}/{name}"
            for each in self.to(key)
            for name in pods_using(self._cache(PODS), each, node)
        )
        return sorted(found)

    def problems(self, dataset: Json) -> list[str]:
        """Why it cannot be bound as things are."""
        named = reference_of(dataset)
        physical = self._cache(DATASETS).get(named.physical) if named is not None else None
        return problems(dataset, physical, [r for _, r in self._resolver.runtimes(key_of(dataset))])

    def enter(self, keys: frozenset[Key]) -> None:
        """The webhook has pods begin in the directories that these Datasets name."""
        fresh, self._entered = keys - self._entered, keys
        for key in fresh:
            self._wake(key)

    def related(self, dataset: Json) -> list[Key]:
        """Whom a change of a Dataset concerns: the one it refers to, and those that refer to it."""
        named = reference_of(dataset)
        others = list(self._referring.get(key_of(dataset), ()))
        return [*others, named.physical] if named is not None else others

    async def up(self, key: Key, dataset: Json) -> float | None:
        """Bound as soon as the physical Dataset is."""
        if wrong := self.problems(dataset):
            held = await self._release(key)
            await self._write(dataset, FAILED, "DatasetFailedToSetup", "; ".join([*wrong, *held]))
            return None
        named = reference_of(dataset)
        assert named is not None
        await self._runtime(key, dataset)
        physical = self._cache(DATASETS).get(named.physical)
        binding = self._resolver.bind(physical, named.physical) if physical is not None else None
        missing = _missing(named, physical, binding)
        if missing[0] or physical is None or binding is None:
            held = await self._release(key)
            await self._write(dataset, NOT_BOUND, missing[0], "; ".join([missing[1], *held]), physical)
            return None
        phase = str((physical.get("status") or {}).get("phase", ""))
        if self._cache(PERSISTENTVOLUMECLAIMS).get(key) is None and phase not in (BOUND, MIGRATING):
            text = f"waiting for Dataset {named.physical}, which is {phase or 'new'}: {_why(physical)}"
            await self._write(
                dataset, NOT_BOUND, "PhysicalDatasetNotReady", text.removesuffix(": "), physical
            )
            return None
        if stranger := self._stranger(key):
            await self._write(dataset, FAILED, "DatasetFailedToSetup", stranger)
            return _RETRY
        if named.path and key not in self._entered:
            # A pod that came before would see more than the directory. What an earlier agent made may stay.
            if self._cache(PERSISTENTVOLUMECLAIMS).get(key) is None:
                text = (
                    f"spec.mounts[0].mountPoint: waiting for the webhook by which pods begin in {named.path}"
                )
                await self._write(dataset, NOT_BOUND, "DirectoryNotReady", text, physical)
            return None
        if named.path and (early := await self._early(key, named.path)):
            text = (
                f"pods {', '.join(early)} came before the webhook by which pods begin in {named.path}, "
                "and would see more than that; delete them, and make those anew that no controller does"
            )
            await self._write(dataset, NOT_BOUND, "DirectoryNotReady", text, physical)
            return _RETRY
        await self._ensure(key, dataset, binding)
        text = f"It shows Dataset {named.physical}"
        await self._write(dataset, phase, "DatasetReady", text, physical)
        return None

    async def down(self, key: Key, dataset: Json) -> str:
        """What its end waits for; "" when nothing of it is left."""
        held = await self._release(key)
        if held:
            await self._write(dataset, BOUND, "DatasetDeleting", "; ".join(held))
            return held[0]
        runtime = self._cache(_THIN).get(key)
        if runtime is not None and _owned(runtime, dataset):
            await self._client.remove(_THIN, runtime)
        return ""

    # Parts

    async def _early(self, key: Key, directory: str) -> list[str]:
        """Pods that wait for a claim which is still to be made, and would mount it beside the directory."""
        if self._cache(PERSISTENTVOLUMECLAIMS).get(key) is not None:
            return []
        pods = await self._client.list(PODS, key.namespace)  # our copies may be behind
        return outside(pods["items"], key.name, directory)

    def _index(self, old: Json | None, new: Json | None) -> None:
        for dataset in (old, new):
            named = reference_of(dataset) if dataset is not None else None
            if dataset is None or named is None:
                continue
            keys = self._referring.setdefault(named.physical, set())
            (keys.add if dataset is new else keys.discard)(key_of(dataset))
            if not keys:
                del self._referring[named.physical]

    async def _runtime(self, key: Key, dataset: Json) -> None:
        """A ThinRuntime without a profile, as Fluid has it; the user's own will do."""
        runtime = self._cache(_THIN).get(key)
        if runtime is None:
            made = {
                "apiVersion": _THIN.api_version,
                "kind": _THIN.kind,
                "metadata": {
                    "name": key.name,
                    "namespace": key.namespace,
                    "ownerReferences": [owner_reference(dataset)],
                },
                "spec": {},
            }
            try:
                await self._client.create(_THIN, made)
            except AlreadyExists:
                pass
            return
        thin = self._resolver.of_kind(_THIN.kind)
        if thin is not None:
            binding = Binding(dataset, runtime, thin, self._resolver.cache(dataset, runtime))
            states = (dataset.get("status") or {}).get("cacheStates") or {}
            bound = (dataset.get("status") or {}).get("phase") == BOUND
            said = runtime_status(binding, Observed(ready=bound), states, datetime.now(UTC))
            await patch_status(self._client, _THIN, runtime, said, optional=OURS_IN_STATUS)

    async def _ensure(self, key: Key, dataset: Json, binding: Binding) -> None:
        wanted = volumes.referring_volume(binding, dataset)
        volume, claim = self._volume(key), self._cache(PERSISTENTVOLUMECLAIMS).get(key)
        if volume is not None and volume["spec"]["hostPath"]["path"] != wanted["spec"]["hostPath"]["path"]:
            await self._release(key)  # the physical Dataset has another runtime now
            return
        if volume is not None and claim is None and (volume["spec"].get("claimRef") or {}).get("uid"):
            await self._client.remove(PERSISTENTVOLUMES, volume)
            return
        for there, resource, made in (
            (volume, PERSISTENTVOLUMES, wanted),
            (claim, PERSISTENTVOLUMECLAIMS, volumes.referring_claim(binding, dataset)),
        ):
            if there is None:
                try:
                    await self._client.create(resource, made)
                except AlreadyExists:
                    pass

    async def _release(self, key: Key) -> list[str]:
        """Takes the volume away; or what that waits for."""
        if not volumes_of(self._cache, key):
            return []
        if users := pods_using(self._cache(PODS), key):
            return [f"in use by pods {', '.join(users)}; it goes when they do"]
        held = await release(self._client, self._cache, key)
        return [held] if held else []

    def _volume(self, key: Key) -> Json | None:
        volume = self._cache(PERSISTENTVOLUMES).get(Key("", volume_name(key)))
        return None if volume is None or volumes.is_stranger(volume, key) else volume

    def _stranger(self, key: Key) -> str:
        found = (
            self._cache(PERSISTENTVOLUMES).get(Key("", volume_name(key))),
            self._cache(PERSISTENTVOLUMECLAIMS).get(key),
        )
        for obj in found:
            if obj is not None and volumes.is_stranger(obj, key):
                return volumes.stranger_problem(obj)
        return ""

    async def _write(
        self, dataset: Json, phase: str, reason: str, message: str, physical: Json | None = None
    ) -> None:
        """Sizes and cache states are the physical Dataset's, mounts and conditions its own."""
        old, now = dataset.get("status") or {}, now_rfc3339()
        conditions = copy.deepcopy(old.get("conditions") or [])
        ready = reason == "DatasetReady"
        wanted = [("Ready", ready, reason, message)]
        if not ready or get_condition(conditions, "NotReady") is not None:
            wanted.append(("NotReady", not ready, reason, message))
        if (said := notes(dataset)) or get_condition(conditions, WITHOUT_EFFECT) is not None:
            wanted.append((WITHOUT_EFFECT, bool(said), "NoEffect", "; ".join(said)))
        for kind, value, why, text in wanted:
            if set_condition(conditions, kind, value, why, text, now=now):
                condition = get_condition(conditions, kind)
                assert condition is not None
                condition["lastUpdateTime"] = now
        theirs = ((physical or {}).get("status") or {}) if phase != NOT_BOUND else {}
        status: Json = {
            "phase": phase,
            "conditions": conditions,
            "observedGeneration": dataset["metadata"].get("generation", 0),
            **{name: theirs[name] for name in _COPIED if name in theirs},
        }
        if phase not in (NOT_BOUND, FAILED):
            metadata = dataset["metadata"]
            named = {"name": metadata["name"], "namespace": metadata["namespace"]}
            status["runtimes"] = [{**named, "category": "Accelerate", "type": "thin"}]
            status["mounts"] = [
                {k: v for k, v in mount.items() if k != "encryptOptions"}
                for mount in dataset["spec"]["mounts"]
            ]
        await patch_status(self._client, DATASETS, dataset, status, optional=OURS_IN_STATUS)


def _missing(named: Reference, physical: Json | None, binding: Binding | None) -> tuple[str, str]:
    """Why there is nothing to show: a reason and a text; ("", "") when there is."""
    if physical is None or physical["metadata"].get("deletionTimestamp"):
        gone = "is being deleted" if physical is not None else "does not exist"
        return "TargetDatasetNotFound", f"spec.mounts[0].mountPoint: Dataset {named.physical} {gone}"
    if binding is None:
        return "PhysicalDatasetNotReady", f"Dataset {named.physical} has no runtime"
    return ("", "")


def _why(physical: Json) -> str:
    condition = get_condition(physical, "Ready")
    return str(condition.get("message", "")) if condition is not None else ""


def _owned(runtime: Json, dataset: Json) -> bool:
    owners = runtime["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == dataset["metadata"]["uid"] for owner in owners)
