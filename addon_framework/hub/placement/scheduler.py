"""The scheduler: filter, score, select, group. A pure function of the placement and the fleet."""

from __future__ import annotations

from addon_framework.api.meta import Json
from addon_framework.hub.placement import filters, prioritizers
from addon_framework.hub.placement.groups import group
from addon_framework.hub.placement.model import Fleet, Misconfigured, Schedule


def schedule(placement: Json, fleet: Fleet) -> Schedule:
    """Decide where a placement lies. Never raises: a bad spec is told in `misconfigured`."""
    spec = placement.get("spec") or {}
    result = Schedule()
    by_name = {cluster["metadata"]["name"]: cluster for cluster in fleet.clusters}
    try:
        candidates = _filter(spec, [by_name[name] for name in sorted(by_name)], fleet, result)
        result.feasible = len(candidates)
        _score(spec, candidates, fleet, result)
        ranked = sorted(result.totals, key=lambda name: (-result.totals[name], name))
        wanted = spec.get("numberOfClusters")
        result.selected = ranked if wanted is None else ranked[: max(wanted, 0)]
        result.unscheduled = 0 if wanted is None else max(wanted - len(result.selected), 0)
        result.groups = group(spec, result.selected, by_name)
    except Misconfigured as error:
        result.misconfigured = error
        result.selected = []
    return result


def _filter(spec: Json, clusters: list[Json], fleet: Fleet, result: Schedule) -> list[Json]:
    predicates = filters.by_predicates(spec, clusters, fleet)
    result.filters.append(predicates)
    kept = set(predicates.kept)
    clusters = [cluster for cluster in clusters if cluster["metadata"]["name"] in kept]
    taints, seconds = filters.by_taints(spec, clusters, fleet)
    result.filters.append(taints)
    _requeue(result, seconds)
    kept = set(taints.kept)
    return [cluster for cluster in clusters if cluster["metadata"]["name"] in kept]


def _score(spec: Json, candidates: list[Json], fleet: Fleet, result: Schedule) -> None:
    result.totals = {cluster["metadata"]["name"]: 0 for cluster in candidates}
    for coordinate, weight in prioritizers.weights(spec).items():
        scored, seconds = prioritizers.score(coordinate, weight, candidates, fleet, result.warnings)
        result.prioritizers.append(scored)
        _requeue(result, seconds)
        for name, value in scored.scores.items():
            result.totals[name] += weight * value


def _requeue(result: Schedule, seconds: float | None) -> None:
    if seconds is not None:
        result.requeue_after = seconds if result.requeue_after is None else min(result.requeue_after, seconds)
