"""The oracle and our scheduler, asked the same question."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from addon_framework.hub.placement.candidates import find_candidates
from addon_framework.hub.placement.decisions import DecisionView
from addon_framework.hub.placement.model import Fleet
from addon_framework.hub.placement.scheduler import schedule
from addon_framework.hub.placement.status import satisfied
from addon_framework.kube import Key
from tests.parity.oracle import Hub, Outcome

Json = dict[str, Any]

# What the expressions of cases and properties mean, without CEL.
CEL = {
    "managedCluster.metadata.labels['region'] != 'us'": lambda c, _: (
        c["metadata"]["labels"]["region"] != "us"
    ),
    "managedCluster.metadata.labels['region'] == 'eu'": lambda c, _: (
        c["metadata"]["labels"]["region"] == "eu"
    ),
    "semver(managedCluster.metadata.labels['version']).isGreaterThan(semver('1.30.0'))": lambda c, _: (
        [int(n) for n in c["metadata"]["labels"]["version"].split(".")] > [1, 30, 0]
    ),
    "managedCluster.scores('parity').exists(s, s.name == 'gpu' && s.value > 10)": lambda _, scores: any(
        s["name"] == "gpu" and s["value"] > 10 for s in scores("parity")
    ),
    "!managedCluster.scores('parity').exists(s, s.value > 10)": lambda _, scores: (
        not any(s["value"] > 10 for s in scores("parity"))
    ),
}


def ours(placement: Json, hub: Hub, now: datetime, *, strict: bool) -> Outcome:
    """What our scheduler decides."""
    namespace, name = placement["metadata"]["namespace"], placement["metadata"]["name"]
    view = DecisionView()
    for decision in hub.decisions:
        view.put(decision)
    key = Key(namespace, name)
    bindings = [b for b in hub.bindings if b["metadata"]["namespace"] == namespace]
    candidates = find_candidates(placement, bindings, hub.sets, hub.clusters)
    fleet = Fleet(
        clusters=candidates.clusters,
        current=view.clusters(key),
        elsewhere=view.elsewhere(key),
        scores={(s["metadata"]["namespace"], s["metadata"]["name"]): s for s in hub.scores},
        now=now,
        strict=strict,
    )
    result = schedule(placement, fleet)
    return Outcome(
        [(group.name, group.clusters) for group in result.groups],
        satisfied(placement, candidates, result)[1],
        result.misconfigured is not None,
    )
