"""Which clusters belong to which ManagedClusterSet, and which sets a namespace may use. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.meta import Json
from addon_framework.api.names import CLUSTER_SET_LABEL
from addon_framework.hub.selectors import labels_of, matches

EXCLUSIVE = "ExclusiveClusterSetLabel"
LABEL_SELECTOR = "LabelSelector"
DEFAULT_SET = "default"
GLOBAL_SET = "global"


def is_member(cluster: Json, cluster_set: Json) -> bool:
    """Whether the set selects the cluster, by the exclusive label or by its own selector."""
    selector = (cluster_set.get("spec") or {}).get("clusterSelector") or {}
    if selector.get("selectorType", EXCLUSIVE) == LABEL_SELECTOR:
        if (labels := selector.get("labelSelector")) is None:
            return False  # an absent selector selects nothing, an empty one everything
        return matches(labels, labels_of(cluster), "spec.clusterSelector.labelSelector")
    return bool(labels_of(cluster).get(CLUSTER_SET_LABEL) == cluster_set["metadata"]["name"])


def members(cluster_set: Json, clusters: Iterable[Json]) -> list[Json]:
    """The clusters of a set."""
    return [cluster for cluster in clusters if is_member(cluster, cluster_set)]


def eligible_sets(asked: Iterable[str], bound: Iterable[str]) -> list[str]:
    """The sets a placement may choose from: those it asks for, or all bound ones when it asks for none."""
    asked, bound = set(asked), set(bound)
    return sorted(bound & asked if asked else bound)
