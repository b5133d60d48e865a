"""The names that tie an InferenceDeployment on the hub to what it becomes on a cluster."""

from __future__ import annotations

from addon_framework.api.cluster import Placement, PlacementDecision
from addon_framework.api.data import DataLoad, Dataset
from addon_framework.api.inference import GROUP, InferenceDeployment, InferenceEndpoint
from addon_framework.api.meta import Json
from addon_framework.api.work import ManifestWork
from addon_framework.kube import Key

INFERENCEDEPLOYMENTS = InferenceDeployment.RESOURCE
INFERENCEENDPOINTS = InferenceEndpoint.RESOURCE
PLACEMENTS = Placement.RESOURCE
PLACEMENTDECISIONS = PlacementDecision.RESOURCE
MANIFESTWORKS = ManifestWork.RESOURCE
DATASETS = Dataset.RESOURCE
DATALOADS = DataLoad.RESOURCE

FINALIZER = f"{GROUP}/cleanup"
REVISION_ANNOTATION = f"{GROUP}/revision"
TIMELINE_ANNOTATION = f"{GROUP}/timeline"
# On the hub: which InferenceDeployment an object in a cluster namespace belongs to.
OWNER_NAMESPACE_LABEL = f"{GROUP}/namespace"
OWNER_NAME_LABEL = f"{GROUP}/name"
# On the spoke: which InferenceEndpoint an object belongs to (same namespace).
ENDPOINT_LABEL = f"{GROUP}/endpoint"


def work_name(namespace: str, name: str) -> str:
    """The ManifestWork of one InferenceDeployment; the same in every cluster namespace.

    A namespace has no dot, so no two deployments share a name.
    """
    return f"inference-{namespace}.{name}"


def placement_name(name: str) -> str:
    """The Placement of one InferenceDeployment, in its namespace."""
    return f"inference-{name}"


def owner_labels(namespace: str, name: str) -> dict[str, str]:
    """Labels of everything on the hub, outside its namespace, that belongs to an InferenceDeployment."""
    return {OWNER_NAMESPACE_LABEL: namespace, OWNER_NAME_LABEL: name}


def owner_of(obj: Json) -> list[Key]:
    """The InferenceDeployment whose labels an object carries."""
    labels = obj["metadata"].get("labels") or {}
    namespace, name = labels.get(OWNER_NAMESPACE_LABEL), labels.get(OWNER_NAME_LABEL)
    return [Key(namespace, name)] if namespace and name else []
