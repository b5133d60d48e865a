"""The names that tie a Dataset on the hub to what it becomes on clusters."""

from __future__ import annotations

from addon_framework.api.data import (
    LOCAL_GROUP,
    AlluxioRuntime,
    CacheRuntime,
    EFCRuntime,
    JindoRuntime,
    JuiceFSRuntime,
    LocalRuntime,
    ThinRuntime,
    VineyardRuntime,
)
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.kube import Key

RUNTIMES: tuple[Resource, ...] = (
    LocalRuntime.RESOURCE,
    JuiceFSRuntime.RESOURCE,
    ThinRuntime.RESOURCE,
    AlluxioRuntime.RESOURCE,
    JindoRuntime.RESOURCE,
    EFCRuntime.RESOURCE,
    VineyardRuntime.RESOURCE,
    CacheRuntime.RESOURCE,
)
FINALIZER = f"{LOCAL_GROUP}/fleet"
CLUSTER_ANNOTATION = f"{LOCAL_GROUP}/cluster"  # on a DataMigrate of the hub: where it runs
# On one whose data comes from another cluster's cache: which.
FROM_CLUSTER_ANNOTATION = f"{LOCAL_GROUP}/from-cluster"
PEERS_ANNOTATION = f"{LOCAL_GROUP}/peers"  # on a ManagedCluster: where others reach its caches (see peers)
# On works and credentials in cluster namespaces: which Dataset they belong to.
COPY_ANNOTATION = (
    f"{LOCAL_GROUP}/fleet-copy"  # on what a cluster gets: it is never written over the hub's own
)
NO_COPY = "is no copy of the hub's"  # in a cluster's words: a work has the name of something of its own
# On a work for the hub's own cluster, where a Dataset's copies have other names than the hub's objects.
HERE_LABEL, HERE = f"{LOCAL_GROUP}/fleet-here", "-here"
LOCAL_CLUSTER_LABEL = "local-cluster"  # on a ManagedCluster, "true": it is the hub
_ID_CLAIM = "id.k8s.io"  # the uid of a cluster's namespace kube-system
OWNER_NAMESPACE_LABEL = f"{LOCAL_GROUP}/fleet-namespace"
OWNER_NAME_LABEL = f"{LOCAL_GROUP}/fleet-dataset"


def work_name(key: Key) -> str:
    """Of the ManifestWork, the same in every cluster namespace. A namespace has no dot."""
    return f"dataset-{key.namespace}.{key.name}"


def secret_name(key: Key) -> str:
    """Of the credentials in a cluster namespace, and on that cluster."""
    return f"{work_name(key)}-credentials"


def name_there(work: Json, name: str) -> str:
    """Of what a work makes of one of the hub's objects."""
    here = (work["metadata"].get("labels") or {}).get(HERE_LABEL) == "true"
    return f"{name}{HERE}" if here else name


def is_here(cluster: Json | None, hub_id: str) -> bool:
    """Whether a ManagedCluster is the hub itself."""
    if cluster is None:
        return False
    if (cluster["metadata"].get("labels") or {}).get(LOCAL_CLUSTER_LABEL) == "true":
        return True
    claims = (cluster.get("status") or {}).get("clusterClaims") or []
    return bool(hub_id) and {"name": _ID_CLAIM, "value": hub_id} in claims


def owner_labels(key: Key) -> dict[str, str]:
    """Of everything in cluster namespaces that belongs to a Dataset."""
    return {OWNER_NAMESPACE_LABEL: key.namespace, OWNER_NAME_LABEL: key.name}


def owner_of(obj: Json) -> list[Key]:
    """The Dataset whose labels an object carries."""
    labels = obj["metadata"].get("labels") or {}
    namespace, name = labels.get(OWNER_NAMESPACE_LABEL), labels.get(OWNER_NAME_LABEL)
    return [Key(namespace, name)] if namespace and name else []


def placement_of(dataset: Json) -> str:
    """The Placement that a Dataset names, by label or annotation; "" for one that stays on the hub."""
    metadata = dataset["metadata"]
    for said in (metadata.get("labels"), metadata.get("annotations")):
        if name := (said or {}).get(PLACEMENT_LABEL):
            return str(name)
    return ""


def dataset_of(load: Json) -> Key:
    """The Dataset that a DataLoad loads."""
    namespace = load["metadata"]["namespace"]
    target = (load.get("spec") or {}).get("dataset") or {}
    return Key(target.get("namespace") or namespace, target.get("name", ""))


def migrated(migrate: Json) -> Key:
    """The Dataset with which a DataMigrate goes to its cluster: the one written to, else the one read."""
    spec, namespace = migrate.get("spec") or {}, migrate["metadata"]["namespace"]
    ends = [(spec.get(field) or {}).get("dataset") or {} for field in ("to", "from")]
    end: Json = next(filter(None, ends), {})
    return Key(end.get("namespace") or namespace, end.get("name", ""))


def cluster_of(migrate: Json) -> str:
    """Where a DataMigrate runs; "" when it does not say."""
    return str((migrate["metadata"].get("annotations") or {}).get(CLUSTER_ANNOTATION, ""))


def source_of(migrate: Json) -> str:
    """The cluster whose cache a DataMigrate reads; "" for one that reads storage."""
    return str((migrate["metadata"].get("annotations") or {}).get(FROM_CLUSTER_ANNOTATION, ""))
