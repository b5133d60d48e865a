"""The cases of this folder: a fleet, a placement and the decision that OCM's controller makes, as data.

A case is a mapping: `name`, `about`, `clusters`, `scores`, `sets`, `bindings`, `others` (placements that were
there before), `placement` (a spec), `expect`, and `then`: changes one by one, each with its `expect`.
Names stand for themselves here; on a hub each gets a prefix.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
GROUP = "cluster.open-cluster-management.io"
SET_LABEL = f"{GROUP}/clusterset"
FOLDER = Path(__file__).parent / "cases"
_RANGE = re.compile(r"(.*)\[(\d+)-(\d+)\]")


@dataclass
class Step:
    """The state of the hub at one moment, and what is to be decided then."""

    clusters: dict[str, Json]
    scores: dict[str, dict[str, dict[str, int]]]  # resource, cluster, score
    expires: dict[str, dict[str, int]]  # resource, cluster: seconds from now
    spec: Json
    expect: Json


@dataclass
class Case:
    """One case, read."""

    name: str
    about: str
    sets: dict[str, Json]
    bindings: list[str]
    others: list[Json]
    steps: list[Step]
    strict: bool  # decided so by OCM and in strict mode only


def load() -> list[Case]:
    """All cases, by file and order."""
    return [_case(raw) for path in sorted(FOLDER.glob("*.yaml")) for raw in yaml.safe_load(path.read_text())]


def _case(raw: Json) -> Case:
    sets = raw.get("sets", {"fleet": {}})
    state: Json = {"clusters": {}, "scores": {}, "expires": {}, "placement": {}}
    steps = []
    for change in (raw, *raw.get("then", ())):
        for name, cluster in change.get("clusters", {}).items():
            for one in expand(name):
                state["clusters"].pop(one, None)
                if cluster != "gone":
                    state["clusters"][one] = cluster or {}
        for field in ("scores", "expires"):
            for resource, clusters in change.get(field, {}).items():
                state[field].setdefault(resource, {}).update(clusters)
        if "placement" in change:
            state["placement"] = change["placement"]
        now = copy.deepcopy(state)
        steps.append(Step(now["clusters"], now["scores"], now["expires"], now["placement"], _expect(change)))
    return Case(
        raw["name"],
        raw["about"],
        sets,
        raw.get("bindings", list(sets)),
        raw.get("others", []),
        steps,
        strict=raw.get("only") == "strict",
    )


def _expect(change: Json) -> Json:
    expect = {"reason": "AllDecisionsScheduled", "misconfigured": False, **change["expect"]}
    groups = expect["groups"]
    if isinstance(groups, dict):
        groups = [groups]
    elif isinstance(groups[0], str):  # one group without a name
        groups = [{"": groups}]
    expect["groups"] = [
        (name, [one for text in members for one in expand(text)])
        for group in groups
        for name, members in group.items()
    ]
    return expect


def expand(text: str) -> Iterator[str]:
    """`c[08-11]` is c08, c09, c10, c11."""
    match = _RANGE.fullmatch(text)
    if match is None:
        yield text
        return
    start, width = match[1], len(match[2])
    for number in range(int(match[2]), int(match[3]) + 1):
        yield f"{start}{number:0{width}}"


class Objects:
    """A case's wire objects, with a prefix before the name of each cluster and set."""

    def __init__(self, namespace: str, prefix: str = "") -> None:
        self.namespace, self.prefix = namespace, prefix

    def cluster(self, name: str, raw: Json, now: datetime) -> Json:
        """A ManagedCluster with its status."""
        labels = dict(raw.get("labels", {}))
        member_of = raw.get("set", "fleet")
        if member_of:
            labels[SET_LABEL] = self.prefix + member_of
        taints = []
        for taint in raw.get("taints", ()):
            taint = dict(taint)
            taint["timeAdded"] = _time(now - timedelta(seconds=taint.pop("age", 0)))
            taints.append(taint)
        status: Json = {k: raw[k] for k in ("allocatable", "capacity") if k in raw}
        if "allocatable" in raw and "capacity" not in raw:
            status["capacity"] = raw["allocatable"]
        if "claims" in raw:
            status["clusterClaims"] = [{"name": k, "value": v} for k, v in raw["claims"].items()]
        if "version" in raw:
            status["version"] = {"kubernetes": raw["version"]}
        return {
            "apiVersion": f"{GROUP}/v1",
            "kind": "ManagedCluster",
            "metadata": {"name": self.prefix + name, "labels": labels},
            "spec": {"hubAcceptsClient": False, "leaseDurationSeconds": 3600, "taints": taints},
            "status": status,
        }

    def cluster_set(self, name: str, raw: Json) -> Json:
        """A ManagedClusterSet."""
        selector = raw or {"selectorType": "ExclusiveClusterSetLabel"}
        return {
            "apiVersion": f"{GROUP}/v1beta2",
            "kind": "ManagedClusterSet",
            "metadata": {"name": self.prefix + name},
            "spec": {"clusterSelector": selector},
        }

    def binding(self, name: str) -> Json:
        """A ManagedClusterSetBinding."""
        return {
            "apiVersion": f"{GROUP}/v1beta2",
            "kind": "ManagedClusterSetBinding",
            "metadata": {"name": self.prefix + name, "namespace": self.namespace},
            "spec": {"clusterSet": self.prefix + name},
        }

    def scores(self, step: Step, now: datetime) -> list[Json]:
        """AddOnPlacementScores."""
        return [
            self._score(resource, cluster, values, step.expires.get(resource, {}).get(cluster), now)
            for resource, clusters in step.scores.items()
            for cluster, values in clusters.items()
        ]

    def placement(self, name: str, spec: Json) -> Json:
        """A Placement."""
        spec = copy.deepcopy(spec)
        if "clusterSets" in spec:
            spec["clusterSets"] = [self.prefix + one for one in spec["clusterSets"]]
        return {
            "apiVersion": f"{GROUP}/v1beta1",
            "kind": "Placement",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }

    def decision(self, placement: str, number: int, clusters: list[str]) -> Json:
        """A PlacementDecision."""
        return {
            "metadata": {
                "name": f"{placement}-decision-{number}",
                "namespace": self.namespace,
                "labels": {f"{GROUP}/placement": placement},
                "resourceVersion": "1",
            },
            "status": {"decisions": [{"clusterName": name, "reason": ""} for name in clusters]},
        }

    def _score(
        self, resource: str, cluster: str, values: dict[str, int], expires: int | None, now: datetime
    ) -> Json:
        status: Json = {"scores": [{"name": name, "value": value} for name, value in values.items()]}
        if expires is not None:
            status["validUntil"] = _time(now + timedelta(seconds=expires))
        return {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "AddOnPlacementScore",
            "metadata": {"name": resource, "namespace": self.prefix + cluster},
            "status": status,
        }


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
