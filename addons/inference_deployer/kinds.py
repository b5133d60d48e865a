"""The names that tie an InferenceDeployment on the hub to what it becomes on a cluster."""

from __future__ import annotations

from addon_framework.api.meta import Json, Resource

GROUP = "inference.boundaryless.io"
INFERENCEDEPLOYMENTS = Resource(GROUP, "v1alpha1", "inferencedeployments", "InferenceDeployment")
INFERENCEENDPOINTS = Resource(GROUP, "v1alpha1", "inferenceendpoints", "InferenceEndpoint")
PLACEMENTS = Resource("cluster.open-cluster-management.io", "v1beta1", "placements", "Placement")
PLACEMENTDECISIONS = Resource(
    "cluster.open-cluster-management.io", "v1beta1", "placementdecisions", "PlacementDecision"
)
MANIFESTWORKS = Resource("work.open-cluster-management.io", "v1", "manifestworks", "ManifestWork")
DATASETS = Resource("data.fluid.io", "v1alpha1", "datasets", "Dataset")
DATALOADS = Resource("data.fluid.io", "v1alpha1", "dataloads", "DataLoad")

FINALIZER = f"{GROUP}/cleanup"
TIMELINE_ANNOTATION = f"{GROUP}/timeline"
# On the hub: which InferenceDeployment an object in a cluster namespace belongs to.
OWNER_NAMESPACE_LABEL = f"{GROUP}/namespace"
OWNER_NAME_LABEL = f"{GROUP}/name"
# On the spoke: which InferenceEndpoint an object belongs to (same namespace).
ENDPOINT_LABEL = f"{GROUP}/endpoint"
PLACEMENT_LABEL = "cluster.open-cluster-management.io/placement"
HUB_SECRET_ANNOTATION = "data.boundaryless.io/hub-secret"


def work_name(namespace: str, name: str) -> str:
    """The ManifestWork of one InferenceDeployment; the same in every cluster namespace."""
    return f"inference-{namespace}-{name}"


def placement_name(name: str) -> str:
    """The Placement of one InferenceDeployment, in its namespace."""
    return f"inference-{name}"


def owner_labels(namespace: str, name: str) -> dict[str, str]:
    """Labels of everything on the hub, outside its namespace, that belongs to an InferenceDeployment."""
    return {OWNER_NAMESPACE_LABEL: namespace, OWNER_NAME_LABEL: name}


def owned_by(obj: Json, namespace: str, name: str) -> bool:
    """Whether the object carries the labels of that InferenceDeployment."""
    labels = obj.get("metadata", {}).get("labels") or {}
    return labels.get(OWNER_NAMESPACE_LABEL) == namespace and labels.get(OWNER_NAME_LABEL) == name


def meta_name(obj: Json) -> tuple[str, str]:
    """Namespace and name of an object."""
    meta = obj.get("metadata") or {}
    return str(meta.get("namespace", "")), str(meta.get("name", ""))
