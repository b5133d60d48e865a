"""Status of a ClusterManagementAddOn: its default configurations, and how far each placement has got."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import Placement
from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json, copy_json
from addon_framework.hub.addons.config_objects import ConfigObjects
from addon_framework.hub.addons.configs import Reference, desired_references
from addon_framework.hub.addons.install import spec_changed
from addon_framework.hub.addons.lookup import (
    chosen_clusters,
    install_placements,
    is_managed,
    owner_of,
    placement_watches,
)
from addon_framework.hub.addons.rollouts import WAITING, strategy_problem
from addon_framework.kube import Controller, Key, Watch
from addon_framework.kube.ensure import write_status
from addon_framework.kube.pace import Pace

PAUSE = 0.5  # seconds between two counts of one add-on: a thousand clusters change in a burst
_COMPLETED, _FAILED = "Completed", "Failed"
_TOLD = (_COMPLETED, _FAILED, WAITING)  # the reasons of Progressing that are counted


class CmaStatusController(Controller):
    """ManagedClusterAddOns -> status of their ClusterManagementAddOn."""

    name = "addon-progress"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = Pace[Key](PAUSE, clock)
        self._configs = ConfigObjects(self, self._named_in)

    def watches(self) -> list[Watch]:
        """Add-ons, where they are placed, how each instance fares, and the configurations they name."""
        return [
            Watch(ClusterManagementAddOn.RESOURCE, predicate=spec_changed),
            *placement_watches(self),
            Watch(ManagedClusterAddOn.RESOURCE, map=lambda a: [owner_of(a)], predicate=_fares_otherwise),
            *self._configs.watches(),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Count, at most twice a second, and less often where there is much to count."""
        cma = self.cache(ClusterManagementAddOn.RESOURCE).get(key)
        if cma is None or cma["metadata"].get("deletionTimestamp"):
            self._pace.forget(key)
            return None
        if (wait := self._pace.wait(key)) is not None:
            return wait
        status = copy_json(cma.get("status") or {})
        with self._pace.work(key):
            status["defaultconfigReferences"] = await self._references(cma)
            if is_managed(cma):  # otherwise its author installs it, and says how far it is
                status["installProgressions"] = await self._progressions(
                    cma, status.get("installProgressions") or []
                )
        await write_status(self.client, ClusterManagementAddOn.RESOURCE, cma, status)
        return None

    async def _progressions(self, cma: Json, present: list[Json]) -> list[Json]:
        before = {(p.get("namespace"), p.get("name")): p for p in present}
        fares = {reason: self._on(cma["metadata"]["name"], reason) for reason in _TOLD}
        result = []
        for placement in install_placements(cma):
            where = (placement["namespace"], placement["name"])
            old = before.get(where) or {}
            clusters = chosen_clusters(self, Key(*where)) or set()
            conditions = copy_json(old.get("conditions") or [])
            problem = strategy_problem(placement)
            summary = ("False", "Failed", problem) if problem else _summary(clusters, fares)
            if not clusters and self.cache(Placement.RESOURCE).get(Key(*where)) is None:
                summary = ("True", "Progressing", f"Placement {where[0]}/{where[1]} does not exist")
            set_condition(conditions, "Progressing", *summary)
            entry: Json = {"namespace": where[0], "name": where[1], "conditions": conditions}
            if references := await self._references(cma, placement):
                entry["configReferences"] = references
                _mark_applied(references, old.get("configReferences") or [], summary[1] == "Completed")
            result.append(entry)
        return result

    def _on(self, addon: str, reason: str) -> set[str]:
        """The clusters where the add-on fares so: by an index, a fleet's add-ons are many to look at."""
        cache = self.cache(ManagedClusterAddOn.RESOURCE)
        cache.add_index("fares", lambda each: [f"{each['metadata']['name']} {_reason(each)}"])
        return {key.namespace for key in cache.keys_by_index("fares", f"{addon} {reason}")}

    async def _references(self, cma: Json, placement: Json | None = None) -> list[Json]:
        """The default configurations, or those of a placement, as they are wanted now."""
        wanted = desired_references(cma, {}, [placement] if placement else [])
        hashes = (await self._configs.read(wanted)).hashes
        result = []
        for reference in wanted:
            desired = {"namespace": reference.namespace, "name": reference.name}
            desired["specHash"] = hashes.get(reference, "")
            result.append(
                {
                    "group": reference.kind.group,
                    "resource": reference.kind.resource,
                    "desiredConfig": {name: value for name, value in desired.items() if value},
                }
            )
        return result

    def _named_in(self, config: Reference) -> Iterable[Key]:
        cache = self.cache(ClusterManagementAddOn.RESOURCE)
        cache.add_index("config", _named)
        for cma in cache.by_index("config", str(config)):
            yield Key("", cma["metadata"]["name"])


def _named(cma: Json) -> list[str]:
    placements = install_placements(cma)
    named = {r for placement in placements for r in desired_references(cma, {}, [placement])}
    return [str(reference) for reference in named | set(desired_references(cma, {}, []))]


def _mark_applied(references: list[Json], before: list[Json], done: bool) -> None:
    """What every cluster has now, or had when all were done last."""
    fields = ("lastAppliedConfig", "lastKnownGoodConfig")
    kept = {_which(old): old for old in before}
    for reference in references:
        key = _which(reference)
        for field in fields:
            if done:
                reference[field] = dict(reference["desiredConfig"])
            elif last := kept.get(key, {}).get(field):
                reference[field] = last


def _which(reference: Json) -> tuple[str, ...]:
    desired = reference.get("desiredConfig") or {}
    kind = reference.get("group", ""), reference["resource"]
    return *kind, desired.get("namespace", ""), desired.get("name", "")


def _summary(clusters: set[str], fares: Mapping[str, set[str]]) -> tuple[str, str, str]:
    total = len(clusters)
    done, waiting = (len(clusters & fares[reason]) for reason in (_COMPLETED, WAITING))
    if failed := sorted(clusters & fares[_FAILED]):
        names = ", ".join(failed[:3]) + (f" and {len(failed) - 3} more" if len(failed) > 3 else "")
        return "False", "Failed", f"{done}/{total} completed, {len(failed)} failed: {names}"
    if not total:
        return "True", "Progressing", "no cluster is chosen yet"
    if done == total:
        return "False", "Completed", f"{done}/{total} completed with no errors."
    text = f"{done}/{total} completed" + (f", {waiting} wait for their turn" if waiting else "")
    return "True", "Progressing", text


def _reason(addon: Json) -> str:
    condition = get_condition(addon, "Progressing")
    return str(condition["reason"]) if condition else ""


def _fares_otherwise(old: Json | None, new: Json | None) -> bool:
    return old is None or new is None or _reason(old) != _reason(new)
