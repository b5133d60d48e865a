"""Status of a ClusterManagementAddOn: its default configurations, and how far each placement has got."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable

from addon_framework.api.addon import AddOnDeploymentConfig, ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import PlacementDecision
from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json
from addon_framework.hub.addons.configs import spec_hash
from addon_framework.hub.addons.install import spec_changed
from addon_framework.hub.addons.lookup import (
    addons_installed_by,
    chosen_clusters,
    install_placements,
    is_managed,
    owner_of,
)
from addon_framework.hub.addons.rollouts import WAITING, strategy_problem
from addon_framework.kube import Controller, Key, Watch
from addon_framework.kube.ensure import write_status

PAUSE = 0.5  # seconds between two counts of one add-on: a thousand clusters change in a burst


class CmaStatusController(Controller):
    """ManagedClusterAddOns -> status of their ClusterManagementAddOn."""

    name = "addon-progress"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted: dict[Key, float] = {}

    def watches(self) -> list[Watch]:
        """Add-ons, where they are placed, how each instance fares, and the default configurations."""
        return [
            Watch(ClusterManagementAddOn.RESOURCE, predicate=spec_changed),
            Watch(PlacementDecision.RESOURCE, map=lambda d: addons_installed_by(self, d)),
            Watch(ManagedClusterAddOn.RESOURCE, map=lambda a: [owner_of(a)], predicate=_fares_otherwise),
            Watch(AddOnDeploymentConfig.RESOURCE, map=self._defaulting_to),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Count, at most twice a second."""
        cma = self.cache(ClusterManagementAddOn.RESOURCE).get(key)
        if cma is None or cma["metadata"].get("deletionTimestamp") or not is_managed(cma):
            self._counted.pop(key, None)
            return None
        wait = self._counted.get(key, float("-inf")) + PAUSE - self._clock()
        if wait > 0:
            return wait
        self._counted[key] = self._clock()
        status = copy.deepcopy(cma.get("status") or {})
        status["defaultconfigReferences"] = self._defaults(cma)
        status["installProgressions"] = self._progressions(cma, status.get("installProgressions") or [])
        await write_status(self.client, ClusterManagementAddOn.RESOURCE, cma, status)
        return None

    def _defaults(self, cma: Json) -> list[Json]:
        result = []
        for supported in (cma.get("spec") or {}).get("supportedConfigs") or []:
            default = supported.get("defaultConfig") or {}
            if default.get("name"):
                result.append(self._reference(supported, default))
        return result

    def _progressions(self, cma: Json, present: list[Json]) -> list[Json]:
        before = {(p.get("namespace"), p.get("name")): p for p in present}
        addons = self.cache(ManagedClusterAddOn.RESOURCE)
        result = []
        for placement in install_placements(cma):
            where = (placement["namespace"], placement["name"])
            clusters = chosen_clusters(self, Key(*where)) or set()
            instances = [addons.get(Key(cluster, cma["metadata"]["name"])) for cluster in sorted(clusters)]
            conditions = copy.deepcopy((before.get(where) or {}).get("conditions") or [])
            problem = strategy_problem(placement)
            set_condition(
                conditions,
                "Progressing",
                *(("False", "Failed", problem) if problem else _summary(instances)),
            )
            references = [self._reference(config, config) for config in placement.get("configs") or []]
            done = all(_reason(i) == "Completed" for i in instances)
            for reference in references:
                if done:
                    reference["lastAppliedConfig"] = dict(reference["desiredConfig"])
                    reference["lastKnownGoodConfig"] = dict(reference["desiredConfig"])
            entry: Json = {"namespace": where[0], "name": where[1], "conditions": conditions}
            if references:
                entry["configReferences"] = references
            result.append(entry)
        return result

    def _reference(self, kind: Json, config: Json) -> Json:
        desired: Json = {"name": config.get("name", "")}
        if config.get("namespace"):
            desired["namespace"] = config["namespace"]
        resource = AddOnDeploymentConfig.RESOURCE
        if (kind.get("group"), kind["resource"]) == (resource.group, resource.plural):
            live = self.cache(resource).get(Key(config.get("namespace", ""), config.get("name", "")))
            if live is not None:
                desired["specHash"] = spec_hash(live)
        return {"group": kind.get("group", ""), "resource": kind["resource"], "desiredConfig": desired}

    def _defaulting_to(self, config: Json) -> Iterable[Key]:
        metadata = config["metadata"]
        where = (metadata.get("namespace", ""), metadata["name"])
        for cma in self.cache(ClusterManagementAddOn.RESOURCE).items():
            spec = cma.get("spec") or {}
            named = [s.get("defaultConfig") or {} for s in spec.get("supportedConfigs") or []]
            named += [c for p in install_placements(cma) for c in p.get("configs") or []]
            if any((c.get("namespace", ""), c.get("name")) == where for c in named):
                yield Key("", cma["metadata"]["name"])


def _summary(instances: list[Json | None]) -> tuple[str, str, str]:
    total = len(instances)
    done = sum(_reason(i) == "Completed" for i in instances)
    failed = sorted(i["metadata"]["namespace"] for i in instances if i is not None and _reason(i) == "Failed")
    if failed:
        names = ", ".join(failed[:3]) + (f" and {len(failed) - 3} more" if len(failed) > 3 else "")
        return "False", "Failed", f"{done}/{total} completed, {len(failed)} failed: {names}"
    if done == total:
        return "False", "Completed", f"{done}/{total} completed with no errors."
    waiting = sum(_reason(i) == WAITING for i in instances)
    text = f"{done}/{total} completed" + (f", {waiting} wait for their turn" if waiting else "")
    return "True", "Progressing", text


def _reason(addon: Json | None) -> str:
    condition = get_condition(addon, "Progressing") if addon is not None else None
    return str(condition["reason"]) if condition else ""


def _fares_otherwise(old: Json | None, new: Json | None) -> bool:
    return old is None or new is None or _reason(old) != _reason(new)
