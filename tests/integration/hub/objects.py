"""Objects the hub's tests make."""

from __future__ import annotations

from typing import Any

from addon_framework.api.addon import ClusterManagementAddOn
from addon_framework.api.cluster import ManagedCluster, ManagedClusterSetBinding, Placement

Json = dict[str, Any]


def cluster_object(name: str) -> Json:
    resource = ManagedCluster.RESOURCE
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}}


def binding(namespace: str, cluster_set: str = "global") -> Json:
    resource = ManagedClusterSetBinding.RESOURCE
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": cluster_set, "namespace": namespace},
        "spec": {"clusterSet": cluster_set},
    }


def placement(namespace: str, name: str = "p", **spec: Any) -> Json:
    resource = Placement.RESOURCE
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def labelled(label: str, value: str) -> list[Json]:
    """Predicates that choose clusters by one label: each test sees its own clusters only."""
    return [{"requiredClusterSelector": {"labelSelector": {"matchLabels": {label: value}}}}]


def score_policy(resource: str, score: str = "s", weight: int = 1) -> Json:
    coordinate = {"type": "AddOn", "addOn": {"resourceName": resource, "scoreName": score}}
    return {"mode": "Exact", "configurations": [{"scoreCoordinate": coordinate, "weight": weight}]}


def management_addon(name: str, namespace: str | None = None, **spec: Any) -> Json:
    """A ClusterManagementAddOn; with a namespace it is installed by the placement `p` there."""
    resource = ClusterManagementAddOn.RESOURCE
    if namespace is not None:
        placements = [{"namespace": namespace, "name": "p"}]
        spec["installStrategy"] = {"type": "Placements", "placements": placements}
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def applied(work: Json) -> list[Json]:
    """The conditions that a work agent writes once a work is applied."""
    return [
        {
            "type": kind,
            "status": "True",
            "reason": "Test",
            "message": "",
            "observedGeneration": work["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in ("Applied", "Available")
    ]
