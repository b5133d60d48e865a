"""What OCM's placement controller decides, written from its published algorithm and from nothing of ours.

https://open-cluster-management.io/docs/concepts/content-placement/placement/ and the enhancements that it
names. Wire objects in, an Outcome out. It is slow and plain on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Json = dict[str, Any]

SET_LABEL = "cluster.open-cluster-management.io/clusterset"
PLACEMENT_LABEL = "cluster.open-cluster-management.io/placement"
BUILT_IN = ("Balance", "Steady", "ResourceAllocatableCPU", "ResourceAllocatableMemory")


class Misconfigured(Exception):
    """The spec cannot be evaluated."""


@dataclass
class Outcome:
    """Groups in order (name, clusters in order), and what the conditions say."""

    groups: list[tuple[str, list[str]]]
    reason: str
    misconfigured: bool = False


@dataclass
class Hub:
    """All that a decision depends on. `cel` gives what an expression means: (cluster, scores) -> bool."""

    clusters: list[Json]
    sets: list[Json]
    bindings: list[Json]
    scores: list[Json] = field(default_factory=list)
    decisions: list[Json] = field(default_factory=list)
    cel: dict[str, Callable[[Json, Callable[[str], list[Json]]], bool]] = field(default_factory=dict)


def decide(placement: Json, hub: Hub, now: datetime) -> Outcome:
    """One look of the controller at one placement."""
    spec, namespace = placement["spec"], placement["metadata"]["namespace"]
    existing = {s["metadata"]["name"]: s for s in hub.sets}
    bound = {
        b["metadata"]["name"]
        for b in hub.bindings
        if b["metadata"]["namespace"] == namespace and b["metadata"]["name"] in existing
    }
    asked = set(spec.get("clusterSets", []))
    eligible = bound & asked if asked else bound
    available = [
        c
        for c in hub.clusters
        if "deletionTimestamp" not in c["metadata"] and any(belongs(c, existing[name]) for name in eligible)
    ]
    misconfigured = False
    chosen: list[Json] = []
    try:
        chosen = choose(placement, available, hub, now)
    except Misconfigured:
        misconfigured = True
    wanted = spec.get("numberOfClusters")
    try:
        groups = grouped(spec, chosen)
    except PartlyMisconfigured as error:
        misconfigured, groups = True, error.groups
    if not bound:
        reason = "NoManagedClusterSetBindings"
    elif not eligible:
        reason = "NoIntersection"
    elif not available:
        reason = "AllManagedClusterSetsEmpty"
    elif not chosen:
        reason = "NoManagedClusterMatched"
    elif wanted is not None and wanted > len(chosen):
        reason = "NotAllDecisionsScheduled"
    else:
        reason = "AllDecisionsScheduled"
    return Outcome(groups, reason, misconfigured)


def belongs(cluster: Json, cluster_set: Json) -> bool:
    """Set membership."""
    selector = cluster_set.get("spec", {}).get("clusterSelector", {})
    labels = cluster["metadata"].get("labels", {})
    if selector.get("selectorType", "ExclusiveClusterSetLabel") == "ExclusiveClusterSetLabel":
        return bool(labels.get(SET_LABEL) == cluster_set["metadata"]["name"])
    return "labelSelector" in selector and fits(selector["labelSelector"], labels)


def fits(selector: Json, facts: dict[str, str]) -> bool:
    """A Kubernetes label selector."""
    for wanted in selector.get("matchExpressions", []):
        if wanted["operator"] not in ("In", "NotIn", "Exists", "DoesNotExist"):
            raise Misconfigured
        if bool(wanted.get("values")) != (wanted["operator"] in ("In", "NotIn")):
            raise Misconfigured
    answers = {
        "In": lambda w: w["key"] in facts and facts[w["key"]] in w["values"],
        "NotIn": lambda w: w["key"] not in facts or facts[w["key"]] not in w["values"],
        "Exists": lambda w: w["key"] in facts,
        "DoesNotExist": lambda w: w["key"] not in facts,
    }
    equal = all(facts.get(k) == v for k, v in selector.get("matchLabels", {}).items())
    return equal and all(answers[w["operator"]](w) for w in selector.get("matchExpressions", []))


def choose(placement: Json, available: list[Json], hub: Hub, now: datetime) -> list[Json]:
    """Filters, scores, order, number."""
    spec = placement["spec"]
    mine, counts = set(), {}
    for decision in hub.decisions:
        same = (
            decision["metadata"]["labels"].get(PLACEMENT_LABEL) == placement["metadata"]["name"]
            and decision["metadata"]["namespace"] == placement["metadata"]["namespace"]
        )
        for entry in decision["status"]["decisions"]:
            if same:
                mine.add(entry["clusterName"])
            else:
                counts[entry["clusterName"]] = counts.get(entry["clusterName"], 0) + 1
    left = available
    if left and spec.get("predicates"):
        for predicate in spec["predicates"]:  # a selector that cannot be is found before any cluster is
            selector = predicate["requiredClusterSelector"]
            fits(selector.get("labelSelector", {}), {})
            fits(selector.get("claimSelector", {}), {})
        left = [
            c for c in left if any(passes(p["requiredClusterSelector"], c, hub) for p in spec["predicates"])
        ]
    if left:
        for toleration in spec.get("tolerations", []):
            exists = toleration.get("operator") == "Exists"
            if (not toleration.get("key") and not exists) or (exists and toleration.get("value")):
                raise Misconfigured
        left = [
            c for c in left if tolerated(c, spec.get("tolerations", []), c["metadata"]["name"] in mine, now)
        ]
    total = {c["metadata"]["name"]: 0 for c in left}
    for name, weight, coordinate in prioritizers(spec):
        for cluster, value in scored(name, coordinate, left, mine, counts, hub, now).items():
            total[cluster] += weight * value
    order = sorted(left, key=lambda c: (-total[c["metadata"]["name"]], c["metadata"]["name"]))
    wanted = spec.get("numberOfClusters")
    return order if wanted is None else order[:wanted]


def passes(selector: Json, cluster: Json, hub: Hub) -> bool:
    """One predicate."""
    name = cluster["metadata"]["name"]

    def scores(resource: str) -> list[Json]:
        for score in hub.scores:
            if (score["metadata"]["namespace"], score["metadata"]["name"]) == (name, resource):
                return list(score["status"].get("scores", []))
        raise LookupError(resource)

    def holds(expression: str) -> bool:
        try:
            return hub.cel[expression](cluster, scores)
        except LookupError:
            return False

    claims = {c["name"]: c["value"] for c in cluster.get("status", {}).get("clusterClaims", [])}
    return (
        fits(selector.get("labelSelector", {}), cluster["metadata"].get("labels", {}))
        and fits(selector.get("claimSelector", {}), claims)
        and all(holds(e) for e in selector.get("celSelector", {}).get("celExpressions", []))
    )


def tolerated(cluster: Json, tolerations: list[Json], present: bool, now: datetime) -> bool:
    """All taints."""
    for taint in cluster.get("spec", {}).get("taints", []):
        if taint["effect"] == "PreferNoSelect" or (taint["effect"] == "NoSelectIfNew" and present):
            continue
        for toleration in tolerations:
            if toleration.get("effect") not in (None, "", taint["effect"]):
                continue
            if toleration.get("key") not in (None, "", taint["key"]):
                continue
            if toleration.get("operator") != "Exists" and toleration.get("value", "") != taint.get(
                "value", ""
            ):
                continue
            seconds = toleration.get("tolerationSeconds")
            if seconds is None:
                break
            if "timeAdded" in taint and now < when(taint["timeAdded"]) + timedelta(seconds=seconds):
                break
        else:
            return False
    return True


def prioritizers(spec: Json) -> list[tuple[str, int, Json]]:
    """Name, weight and coordinate of each that runs."""
    policy = spec.get("prioritizerPolicy", {})
    built_in = {"Balance": 1, "Steady": 1} if policy.get("mode", "Additive") == "Additive" else {}
    others = []
    for configuration in policy.get("configurations", []):
        coordinate, weight = configuration["scoreCoordinate"], configuration.get("weight", 1)
        if coordinate.get("type", "BuiltIn") == "BuiltIn":
            built_in[coordinate.get("builtIn", "")] = weight
        else:
            others.append(("AddOn", weight, coordinate["addOn"]))
    if any(weight and name not in BUILT_IN for name, weight in built_in.items()):
        raise Misconfigured
    return [(n, w, p) for n, w, p in [*((n, w, {}) for n, w in built_in.items()), *others] if w]


def scored(
    prioritizer: str,
    coordinate: Json,
    clusters: list[Json],
    mine: set[str],
    counts: dict[str, int],
    hub: Hub,
    now: datetime,
) -> dict[str, int]:
    """One prioritizer's scores; who is missing has 0."""
    names = [c["metadata"]["name"] for c in clusters]
    if prioritizer == "Steady":
        return {n: 100 for n in names if n in mine}
    if prioritizer == "Balance":
        return {
            n: 2 * math.trunc(100.0 * (0.5 - counts[n] / max(counts.values()))) if n in counts else 100
            for n in names
        }
    if prioritizer == "AddOn":
        found = {}
        for score in hub.scores:
            status = score["status"]
            if score["metadata"]["name"] != coordinate["resourceName"]:
                continue
            if "validUntil" in status and now > when(status["validUntil"]):
                continue
            for item in status.get("scores", []):
                if item["name"] == coordinate["scoreName"]:
                    found[score["metadata"]["namespace"]] = item["value"]
        return {n: v for n, v in found.items() if n in names}
    resource = "cpu" if prioritizer == "ResourceAllocatableCPU" else "memory"
    amounts = {}
    for cluster in clusters:
        status = cluster.get("status", {})
        if resource in status.get("allocatable", {}) and resource in status.get("capacity", {}):
            amounts[cluster["metadata"]["name"]] = amount(status["allocatable"][resource])
    if not amounts:
        return {}
    low, high = min(amounts.values()), max(amounts.values())
    if low == high:
        return dict.fromkeys(amounts, 100)
    return {n: math.trunc(((a - low) / (high - low) - 0.5) * 2.0 * 100.0) for n, a in amounts.items()}


def amount(text: str) -> float:
    """A whole quantity with m, Ki, Mi, Gi or nothing, as a Go float."""
    units = {"m": 0.001, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
    for unit, factor in units.items():
        if text.endswith(unit):
            return int(text.removesuffix(unit)) * factor
    return float(int(text))


class PartlyMisconfigured(Exception):
    """Groups cannot be made; those before the bad one stand."""

    def __init__(self, groups: list[tuple[str, list[str]]]) -> None:
        super().__init__()
        self.groups = groups


def grouped(spec: Json, chosen: list[Json]) -> list[tuple[str, list[str]]]:
    """Decision groups."""
    strategy = spec.get("decisionStrategy", {}).get("groupStrategy", {})
    size = strategy.get("clustersPerDecisionGroup", "100%")
    if isinstance(size, str):
        size = math.ceil(float(size.removesuffix("%")) / 100 * len(chosen))
    if size <= 0 or size > len(chosen):
        size = len(chosen)
    left = {c["metadata"]["name"]: c for c in chosen}
    groups: list[tuple[str, list[str]]] = []

    def cut(name: str, members: list[str]) -> None:
        members = sorted(members)
        while members:
            groups.append((name, members[:size]))
            members = members[size:]

    for wanted in strategy.get("decisionGroups", []):
        selector, members = wanted["groupClusterSelector"], []
        try:
            fits(selector.get("labelSelector", {}), {})  # found also where no cluster is left
            fits(selector.get("claimSelector", {}), {})
            for name, cluster in left.items():
                claims = {c["name"]: c["value"] for c in cluster.get("status", {}).get("clusterClaims", [])}
                labels = cluster["metadata"].get("labels", {})
                if fits(selector.get("labelSelector", {}), labels) and fits(
                    selector.get("claimSelector", {}), claims
                ):
                    members.append(name)
        except Misconfigured:
            raise PartlyMisconfigured(groups) from None
        left = {name: cluster for name, cluster in left.items() if name not in members}
        cut(wanted["groupName"], members)
    cut("", list(left))
    return groups or [("", [])]


def when(text: str) -> datetime:
    """RFC 3339."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
