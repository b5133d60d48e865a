"""Why a placement decided as it did: the schedule made anew from what is on the hub, with every reason."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from addon_framework.api.cluster import (
    AddOnPlacementScore,
    ManagedCluster,
    ManagedClusterSet,
    ManagedClusterSetBinding,
    Placement,
    PlacementDecision,
)
from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.hub.placement.candidates import find_candidates
from addon_framework.hub.placement.decisions import DecisionView
from addon_framework.hub.placement.model import Fleet, Schedule
from addon_framework.hub.placement.scheduler import schedule
from addon_framework.hub.placement.status import EXPLAINED
from addon_framework.kube import Client, Key


@dataclass(frozen=True)
class Explanation:
    """What a placement would decide now, and what the hub has decided."""

    schedule: Schedule
    cluster_sets: tuple[str, ...]
    decided: frozenset[str]


async def explain(client: Client, namespace: str, name: str) -> Explanation:
    """Look at one placement as the controller that decides it does. Raises NotFound."""
    placement = await client.get(Placement.RESOURCE, name, namespace)
    clusters, sets, bindings, decisions, scores = (
        listed["items"]
        for listed in await asyncio.gather(
            client.list(ManagedCluster.RESOURCE),
            client.list(ManagedClusterSet.RESOURCE),
            client.list(ManagedClusterSetBinding.RESOURCE, namespace),
            client.list(PlacementDecision.RESOURCE),
            client.list(AddOnPlacementScore.RESOURCE),
        )
    )
    view = DecisionView()
    for decision in decisions:
        view.put(decision)
    candidates = find_candidates(placement, bindings, sets, clusters)
    key = Key(namespace, name)
    fleet = Fleet(
        clusters=candidates.clusters,
        current=view.clusters(key),
        elsewhere=view.elsewhere(key),
        scores={_where(score): score for score in scores},
        strict=_by_ocm(placement),
    )
    return Explanation(schedule(placement, fleet), tuple(candidates.eligible), view.clusters(key))


def _by_ocm(placement: Json) -> bool:
    """Whether OCM's controller, or ours in its strict mode, has decided: then nobody explained it."""
    conditions = (placement.get("status") or {}).get("conditions")
    return bool(conditions) and get_condition(placement, EXPLAINED) is None


def _where(score: Json) -> tuple[str, str]:
    return score["metadata"]["namespace"], score["metadata"]["name"]
