"""Ownership, configuration and progress of each ManagedClusterAddOn: what OCM's own add-on manager does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from addon_framework.api.addon import (
    ClusterManagementAddOn,
    ManagedClusterAddOn,
)
from addon_framework.api.cluster import PlacementDecision
from addon_framework.api.conditions import set_condition
from addon_framework.api.meta import Json, copy_json
from addon_framework.api.work import ManifestWork
from addon_framework.hub.addons.config_objects import ConfigObjects
from addon_framework.hub.addons.configs import (
    Kind,
    Reference,
    config_references,
    desired_references,
    hash_annotation,
    unsupported,
)
from addon_framework.hub.addons.health import Verdict, progress
from addon_framework.hub.addons.install import cma_reference, spec_changed
from addon_framework.hub.addons.lookup import (
    addon_of_labelled,
    addons_installed_by,
    decision_groups,
    has_chosen,
    install_placements,
    is_managed,
    placement_of,
    works_of,
)
from addon_framework.hub.addons.rollouts import (
    WAITING,
    Change,
    Part,
    Rollouts,
    change_of,
    governing,
    is_progressive,
    present_change,
)
from addon_framework.kube import Controller, Key, Watch, key_of
from addon_framework.kube.ensure import write_status

PAUSE = 0.5  # seconds between two steps of one rollout: many clusters report in a burst


class AddonConfigController(Controller):
    """ManagedClusterAddOn -> ownerReference, configReferences, Configured, Progressing.

    The keys without a namespace are ClusterManagementAddOns that roll out step by step.
    """

    name = "addon-config"
    workers = 8

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._rollouts, self._stepped = Rollouts(), dict[str, float]()
        self._configs = ConfigObjects(self, self._users_of)

    def watches(self) -> list[Watch]:
        """Add-ons, everything that configures them, and the works that carry the configuration."""
        return [
            Watch(ManagedClusterAddOn.RESOURCE, map=self._with_rollout),
            Watch(ClusterManagementAddOn.RESOURCE, map=self._installed, predicate=spec_changed),
            Watch(PlacementDecision.RESOURCE, map=self._placed),
            Watch(ManifestWork.RESOURCE, map=addon_of_labelled),
            *self._configs.watches(),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One add-on on one cluster, or one rollout."""
        if not key.namespace:
            return await self._roll_out(key.name)
        addon = self.cache(ManagedClusterAddOn.RESOURCE).get(key)
        cma = self.cache(ClusterManagementAddOn.RESOURCE).get(Key("", key.name))
        if addon is None or cma is None or addon["metadata"].get("deletionTimestamp") or not is_managed(cma):
            return None
        if await self._own(addon, cma):
            return None  # that write calls us again
        status = copy_json(addon.get("status") or {})
        conditions = status.setdefault("conditions", [])
        decided = self._decided(cma, key.namespace)
        wanted = desired_references(cma, addon, decided)
        missing, hashes, generations = await self._configs.read(wanted)
        references = config_references(wanted, hashes, status.get("configReferences") or [], generations)
        change = change_of(wanted, hashes)
        if not missing and self._waits(addon, decided, change):
            placement = f"{decided[-1]['namespace']}/{decided[-1]['name']}"
            text = f"waits for its turn in the rollout of placement {placement}"
            set_condition(conditions, "Progressing", "True", WAITING, text)
            if not status.get("configReferences"):
                set_condition(conditions, "Configured", "False", "ConfigurationsNotConfigured", text)
            await write_status(self.client, ManagedClusterAddOn.RESOURCE, addon, status)
            return None
        if missing:
            text = "not found: " + ", ".join(map(str, missing))
            set_condition(conditions, "Configured", "False", "ConfigurationsNotConfigured", text)
        else:
            set_condition(
                conditions, "Configured", "True", "ConfigurationsConfigured", "Configurations configured"
            )
        verdict = self._progress(cma, addon, key, references)
        if verdict.reason == "Completed":
            for entry in references:
                entry["lastAppliedConfig"] = dict(entry["desiredConfig"])
        set_condition(conditions, "Progressing", *verdict)
        status["configReferences"] = references
        await write_status(self.client, ManagedClusterAddOn.RESOURCE, addon, status)
        return None

    def _waits(self, addon: Json, decided: list[Json], change: Change) -> bool:
        if governing(decided) is None or present_change(addon) == change:
            return False
        metadata = addon["metadata"]
        return not self._rollouts.may_have(metadata["name"], metadata["namespace"], change)

    async def _roll_out(self, name: str) -> float | None:
        """The next step: who may have the change now."""
        cma = self.cache(ClusterManagementAddOn.RESOURCE).get(Key("", name))
        if cma is None or not is_progressive(cma):
            self._rollouts.forget(name)
            return None
        wait = self._stepped.get(name, float("-inf")) + PAUSE - time.monotonic()
        if wait > 0:
            return wait
        self._stepped[name] = time.monotonic()
        fresh, delay = self._rollouts.decide(name, await self._parts(cma), self._now())
        for cluster in fresh:
            self.queue.add(Key(cluster, name))
        return delay

    async def _parts(self, cma: Json) -> list[Part]:
        name = cma["metadata"]["name"]
        placements = install_placements(cma)
        groups = [decision_groups(self, Key(p["namespace"], p["name"])) for p in placements]
        chosen: dict[str, list[int]] = {}
        for index, each in enumerate(groups):
            for cluster in frozenset[str]().union(*(group.clusters for group in each)):
                chosen.setdefault(cluster, []).append(index)
        parts = [Part(placement, each, {}, {}) for placement, each in zip(placements, groups, strict=True)]
        wanted: dict[int, dict[str, Change]] = {}
        addons: dict[int, dict[str, Json]] = {}
        known: dict[tuple[Reference, ...], Change] = {}
        for cluster, indexes in sorted(chosen.items()):
            addon = self.cache(ManagedClusterAddOn.RESOURCE).get(Key(cluster, name))
            if addon is None or governing([placements[i] for i in indexes]) is None:
                continue
            references = desired_references(cma, addon, [placements[i] for i in indexes])
            if tuple(references) not in known:
                known[tuple(references)] = change_of(
                    references, (await self._configs.read(references)).hashes
                )
            wanted.setdefault(indexes[-1], {})[cluster] = known[tuple(references)]
            addons.setdefault(indexes[-1], {})[cluster] = addon
        return [
            Part(part.placement, part.groups, wanted[index], addons[index])
            for index, part in enumerate(parts)
            if index in wanted
        ]

    def _progress(self, cma: Json, addon: Json, key: Key, references: list[Json]) -> Verdict:
        if refused := unsupported(cma, addon):
            names = ", ".join(f"{kind.resource}.{kind.group}" for kind in refused)
            text = f"spec.configs: {names} is not a supportedConfig of ClusterManagementAddOn {key.name}"
            return Verdict("False", "ConfigurationUnsupported", text)
        return progress(addon, works_of(self, key), hash_annotation(references))

    async def _own(self, addon: Json, cma: Json) -> bool:
        metadata = addon["metadata"]
        references = metadata.get("ownerReferences") or []
        wanted = cma_reference(cma)
        if any(r.get("uid") == wanted["uid"] for r in references):
            return False
        # References to a ClusterManagementAddOn of that name that is gone would have it collected.
        kept = [r for r in references if (r.get("kind"), r.get("name")) != (wanted["kind"], wanted["name"])]
        if any(r.get("controller") for r in kept):
            wanted["controller"] = False
        body = {
            "metadata": {
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
                "ownerReferences": [*kept, wanted],
            }
        }
        await self.client.patch(ManagedClusterAddOn.RESOURCE, metadata["name"], body, metadata["namespace"])
        return True

    def _decided(self, cma: Json, cluster: str) -> list[Json]:
        return [
            placement
            for placement in install_placements(cma)
            if has_chosen(self, Key(placement["namespace"], placement["name"]), cluster)
        ]

    # From an event to add-ons

    def _with_rollout(self, addon: Json) -> Iterable[Key]:
        yield key_of(addon)
        yield from self._rollout_of(addon["metadata"]["name"])

    def _rollout_of(self, name: str) -> Iterable[Key]:
        cma = self.cache(ClusterManagementAddOn.RESOURCE).get(Key("", name))
        if cma is not None and is_progressive(cma):
            yield Key("", name)

    def _installed(self, cma: Json) -> Iterable[Key]:
        yield from self._rollout_of(cma["metadata"]["name"])
        cache = self.cache(ManagedClusterAddOn.RESOURCE)
        cache.add_index("addon", lambda addon: [addon["metadata"]["name"]])
        yield from cache.keys_by_index("addon", cma["metadata"]["name"])

    def _placed(self, decision: Json) -> Iterable[Key]:
        for key in addons_installed_by(self, placement_of(decision)):
            yield from self._rollout_of(key.name)
            cma = self.cache(ClusterManagementAddOn.RESOURCE).get(key)
            if any(p.get("configs") for p in install_placements(cma or {"metadata": {}})):
                yield from self._installed({"metadata": {"name": key.name}})

    def _users_of(self, config: Reference) -> Iterable[Key]:
        cache = self.cache(ManagedClusterAddOn.RESOURCE)
        cache.add_index("config", _configs_of)
        users = cache.keys_by_index("config", str(config))
        for name in {key.name for key in users}:
            yield from self._rollout_of(name)
        yield from users


def _configs_of(addon: Json) -> list[str]:
    return [
        str(Reference(Kind(c.get("group", ""), c["resource"]), c.get("namespace", ""), c.get("name", "")))
        for c in (addon.get("status") or {}).get("configReferences") or []
    ]
