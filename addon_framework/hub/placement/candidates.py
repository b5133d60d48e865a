"""Which clusters a placement may choose from, and what of a cluster it looks at. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from addon_framework.api.meta import Json
from addon_framework.api.names import FEATURE_LABEL_PREFIX
from addon_framework.hub.clustersets import eligible_sets, is_member
from addon_framework.hub.placement.cel_cost import depth
from addon_framework.hub.placement.prioritizers import ALLOCATABLE, score_resources
from addon_framework.hub.placement.spread import constraints_of
from addon_framework.hub.selectors import labels_of

ANY_SCORE = "*"
ANYTHING = "anything"  # the facet that is the whole cluster
_SCORES_CALL = re.compile(r"""\.scores\(\s*(?:"([^"]*)"|'([^']*)')?""")


@dataclass(frozen=True)
class Candidates:
    """The bound sets, those of them that are eligible, and the clusters in these."""

    bound: Sequence[str]
    eligible: Sequence[str]
    clusters: Sequence[Json]

    def let_go(self) -> Candidates:
        """What there is to remember: one cluster says that there are any; all would soon be old versions."""
        return replace(self, clusters=self.clusters[:1])


def find_candidates(
    placement: Json, bindings: Iterable[Json], cluster_sets: Iterable[Json], clusters: Iterable[Json]
) -> Candidates:
    """Bindings of the placement's namespace to sets that exist, and the clusters they open."""
    sets = {cluster_set["metadata"]["name"]: cluster_set for cluster_set in cluster_sets}
    bound = sorted({name for b in bindings if (name := b["metadata"]["name"]) in sets})
    eligible = eligible_sets((placement.get("spec") or {}).get("clusterSets") or [], bound)
    chosen = [sets[name] for name in eligible]
    found = [
        cluster
        for cluster in clusters
        if not cluster["metadata"].get("deletionTimestamp") and any(is_member(cluster, s) for s in chosen)
    ]
    return Candidates(bound, eligible, found)


def scores_read(placement: Json) -> set[str]:
    """Names of the AddOnPlacementScores a placement reads, in prioritizers and in CEL; "*" for any."""
    spec = placement.get("spec") or {}
    names = score_resources(spec)
    for expression in _cel_expressions(spec):
        for match in _SCORES_CALL.finditer(expression):
            names.add(match[1] or match[2] or ANY_SCORE)
    return names


def loops_within_loops(placement: Json) -> bool:
    """Whether a CEL expression of the placement may take long."""
    return any(depth(expression) > 1 for expression in _cel_expressions(placement.get("spec") or {}))


def reads(placement: Json) -> set[str]:
    """The facets of a cluster (`FACETS`) that can change this placement's decision."""
    spec = placement.get("spec") or {}
    facets = {"selection"}
    predicates = [p.get("requiredClusterSelector") or {} for p in spec.get("predicates") or []]
    groups = ((spec.get("decisionStrategy") or {}).get("groupStrategy") or {}).get("decisionGroups") or []
    selectors = predicates + [g.get("groupClusterSelector") or {} for g in groups]
    topologies = [c.get("topologyKeyType") for c in constraints_of(spec)]
    if any(selector.get("claimSelector") for selector in selectors) or "Claim" in topologies:
        facets.add("claims")
    configurations = (spec.get("prioritizerPolicy") or {}).get("configurations") or []
    if any((c.get("scoreCoordinate") or {}).get("builtIn") in ALLOCATABLE for c in configurations):
        facets.add("resources")
    if FEATURE_LABEL_PREFIX in str(spec):
        facets.add("features")
    if any(True for _ in _cel_expressions(spec)):
        facets.add(ANYTHING)
    return facets


def _selection(cluster: Json) -> object:
    taints = (cluster.get("spec") or {}).get("taints")
    return _labels(cluster, features=False), taints, cluster["metadata"].get("deletionTimestamp")


def _labels(cluster: Json, *, features: bool) -> object:
    """An add-on that comes up changes a label of every cluster, which few placements ask about."""
    return {k: v for k, v in labels_of(cluster).items() if k.startswith(FEATURE_LABEL_PREFIX) == features}


def _resources(cluster: Json) -> object:
    status = cluster.get("status") or {}
    return status.get("allocatable"), status.get("capacity")


FACETS: dict[str, Callable[[Json], object]] = {
    "selection": _selection,
    "features": lambda cluster: _labels(cluster, features=True),
    "claims": lambda cluster: (cluster.get("status") or {}).get("clusterClaims"),
    "resources": _resources,
    ANYTHING: lambda cluster: (
        {k: v for k, v in cluster["metadata"].items() if k not in ("resourceVersion", "generation")},
        cluster.get("spec"),
        cluster.get("status"),
    ),
}


def _cel_expressions(spec: Json) -> Iterable[str]:
    for predicate in spec.get("predicates") or []:
        selector = predicate.get("requiredClusterSelector") or {}
        yield from (selector.get("celSelector") or {}).get("celExpressions") or []
