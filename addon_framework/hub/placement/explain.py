"""Why a placement decided as it did: the schedule made anew from what is on the hub, with every reason."""

from __future__ import annotations

import asyncio

from addon_framework.api.cluster import (
    AddOnPlacementScore,
    ManagedCluster,
    ManagedClusterSet,
    ManagedClusterSetBinding,
    Placement,
    PlacementDecision,
)
from addon_framework.api.meta import Json
from addon_framework.hub.placement.candidates import find_candidates
from addon_framework.hub.placement.decisions import DecisionView
from addon_framework.hub.placement.model import Fleet, Schedule
from addon_framework.hub.placement.scheduler import schedule
from addon_framework.kube import Client, Key


async def explain(client: Client, namespace: str, name: str) -> tuple[Schedule, tuple[str, ...]]:
    """The schedule of one placement, and the cluster sets it may choose from. Raises NotFound."""
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
    )
    return schedule(placement, fleet), tuple(candidates.eligible)


def _where(score: Json) -> tuple[str, str]:
    return score["metadata"]["namespace"], score["metadata"]["name"]
