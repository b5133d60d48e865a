"""Names, labels and finalizers. Those of fluid.io are Fluid's own, so that its tools find them."""

from __future__ import annotations

import hashlib

from addon_framework.api.data import (
    DataBackup,
    DataLoad,
    DataMigrate,
    DataProcess,
    Dataset,
)
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Key
from addon_framework.kube.informer import AnyInformer

DATASETS: Resource = Dataset.RESOURCE
DATALOADS: Resource = DataLoad.RESOURCE
OPERATIONS: tuple[Resource, ...] = (
    DATALOADS,
    DataMigrate.RESOURCE,
    DataBackup.RESOURCE,
    DataProcess.RESOURCE,
)

FIELD_MANAGER = "cache-runtime"
# Of statuses; a cluster with upstream's definitions drops them.
OURS_IN_STATUS = ("observedGeneration", "numbers")
DATASET_FINALIZER = "fluid-dataset-controller-finalizer"
LOAD_FINALIZER = "fluid-dataload-controller-finalizer"
HUB_SECRET_ANNOTATION = "data.boundaryless.io/hub-secret"
# On the hub's copy: the namespace whose Datasets may have it. Anyone may name any copy in the annotation.
HUB_SECRET_FOR_LABEL = "data.boundaryless.io/hub-secret-for"
HASH_ANNOTATION = "data.boundaryless.io/hash"
CREDENTIALS_ANNOTATION = "data.boundaryless.io/credentials"  # of pods: a hash of the Secrets they read
CONTENTS_ANNOTATION = "data.boundaryless.io/contents"  # of a DataBackup, "true": the files too
CAPACITY_ANNOTATION = "pvc.fluid.io/resources.requests.storage"

MANAGED_LABEL = "app.kubernetes.io/managed-by"
MANAGED = f"{MANAGED_LABEL}={FIELD_MANAGER}"
# Which Dataset something belongs to; the namespace too, since some things live outside it.
NAME_LABEL = "data.boundaryless.io/dataset"
NAMESPACE_LABEL = "data.boundaryless.io/dataset-namespace"
ROLE_LABEL = (
    "data.boundaryless.io/role"  # ROLES, load, migrate, backup, process, clean, rebind, credentials, exec
)
ROLES = ("master", "worker", "client")  # of the parts of a cache
# On every pod of ours, unless its user says otherwise: a service mesh's proxy would keep Jobs from ending.
NO_MESH = {"sidecar.istio.io/inject": "false"}
OPERATION_LABEL = "data.boundaryless.io/operation"
# On a Dataset, "Exclusive": one operation at a time, even if all only read.
EXCLUSIVE_ANNOTATION = "data.boundaryless.io/operations"
# On pods, by the webhook: the Datasets they use, names separated by commas.
IN_USE_ANNOTATION = "fluid.io/datasets-in-use"
SIDECAR_DONE_LABEL = "done.sidecar.fluid.io/inject"  # by the webhook too, on pods that brought a client
# On a Dataset, "auto": where its cache is slower than its source, labelled pods read a copy (see bypass).
BYPASS_ANNOTATION = "data.boundaryless.io/bypass"
SLOWER, BYPASSED = "CacheSlowerThanSource", "Bypassed"  # conditions
WAITING_CHANGES = "ChangesPending"  # a condition
CACHE_LOST = "CacheLost"  # a condition
LOST_ANNOTATION = "data.boundaryless.io/lost"  # of DataLoads of ours: the files (see reloading)
OVER_QUOTA = "OverQuota"  # a condition
MOUNTS_LOST = "MountsLost"  # a condition: pods have a directory that was removed (see rebinding)
AFFINITY_LABEL = "fuse.serverful.fluid.io/inject"  # on pods, "true": the webhook brings them to their data
# On a Dataset, "true": it goes although pods use its data, and their mounts break.
FORCE_ANNOTATION = "data.boundaryless.io/force-delete"
# On a Dataset, namespaces separated by commas, or "*": whose Datasets may refer to it (see reference_rules).
REFERENCES_ANNOTATION = "data.boundaryless.io/references"
COUNT_LABEL = "fluid.io/dataset-num"  # on nodes: how many Datasets have their cache there
LEAVING = "leaving"  # of a node's label, instead of "true": its part of the cache goes
IDLE = "idle"  # of the client's label, instead of "true": nobody uses it there, so it goes (see clients)
EXCLUSIVE_LABEL = "fluid_exclusive"  # on nodes: the one Dataset whose cache wants the node for itself
NODE_LABEL = "data.boundaryless.io/node"
INPUTS_LABEL = "data.boundaryless.io/inputs"

METRICS_SERVICE, METRICS_PORT = "cache-runtime-metrics", 9464

STORAGE_CLASS = "fluid"
DEFAULT_CAPACITY = "100Pi"


def runtime_finalizer(type_: str) -> str:
    """Of a runtime object."""
    return f"{type_}-runtime-controller-finalizer"


def dataset_id(key: Key, uid: str) -> str:
    """Fluid's value of fluid.io/dataset-id: readable, or the uid where that would be too long for a label."""
    readable = f"{key.namespace}-{key.name}"
    return readable if len(readable) <= 63 else uid


def cache_node_label(key: Key, uid: str) -> str:
    """On nodes that hold the cache."""
    return _node_label("s", key, uid)


def typed_node_label(type_: str, key: Key, uid: str) -> str:
    """The same with the kind of cache."""
    return _node_label(f"s-{type_}", key, uid)


def capacity_node_label(type_: str, tier: str, key: Key, uid: str) -> str:
    """On the same nodes: how much the cache may hold; `tier` is m, d or t: memory, disk, total."""
    return _node_label(f"s-h-{type_}-{tier}", key, uid)


def exclusive_value(key: Key, uid: str) -> str:
    """Of EXCLUSIVE_LABEL."""
    readable = f"{key.namespace}_{key.name}"
    return readable if len(readable) <= 63 else uid


def client_node_label(key: Key, uid: str) -> str:
    """On nodes where a FUSE client mounts the Dataset."""
    return _node_label("f", key, uid)


def volume_name(key: Key) -> str:
    """Of the PersistentVolume; the claim is named like the Dataset."""
    return f"{key.namespace}-{key.name}"


def labels(key: Key, role: str, **more: str) -> dict[str, str]:
    """On everything we make for a Dataset."""
    return {
        MANAGED_LABEL: FIELD_MANAGER,
        NAMESPACE_LABEL: key.namespace,
        NAME_LABEL: key.name,
        ROLE_LABEL: role,
        **more,
    }


def dataset_key(obj: Json) -> list[Key]:
    """The Dataset that something we made belongs to."""
    found = obj["metadata"].get("labels") or {}
    if found.get(MANAGED_LABEL) != FIELD_MANAGER or NAME_LABEL not in found:
        return []
    return [Key(found.get(NAMESPACE_LABEL, ""), found[NAME_LABEL])]


def mounted_claims(pod: Json) -> list[str]:
    """The claims a pod mounts."""
    volumes = pod["spec"].get("volumes") or []
    return [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]


def claims_of(pod: Json) -> list[str]:
    """The claims a pod mounts, and the Datasets whose client it brought along instead."""
    claims, metadata = mounted_claims(pod), pod["metadata"]
    # Anyone may write the annotation; it speaks for pods that no longer have the claim, and for no others.
    done = (metadata.get("labels") or {}).get(SIDECAR_DONE_LABEL) == "true"
    brought = (metadata.get("annotations") or {}).get(IN_USE_ANNOTATION) if done else None
    return [*claims, *(brought.split(",") if brought else ())]


def pods_of(pods: AnyInformer, key: Key) -> list[Json]:
    """Those that we made for a Dataset, by name: of a cluster's thousands of pods few are."""
    pods.add_index("dataset", lambda pod: [str(each) for each in dataset_key(pod)])
    return sorted(pods.by_index("dataset", str(key)), key=lambda pod: str(pod["metadata"]["name"]))


def pods_using(pods: AnyInformer, key: Key, node: str = "") -> list[str]:
    """Pods on a node, or on that one, that mount a Dataset's claim and have not ended."""
    found = []
    for pod in pods.in_namespace(key.namespace):
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        # A pod that no node has yet will not start any more: the claim is going.
        where = pod["spec"].get("nodeName")
        if key.name in claims_of(pod) and not ended and where and node in ("", where):
            found.append(pod["metadata"]["name"])
    return sorted(found)


def nodes_using(pods: AnyInformer, key: Key) -> set[str]:
    """Nodes with pods that mount a Dataset's claim by the node's own client, and have not ended."""
    return {pod["spec"]["nodeName"] for pod in _mounting(pods, key)}


def pods_mounting(pods: AnyInformer, key: Key, node: str) -> list[str]:
    """Those pods on one node."""
    return sorted(p["metadata"]["name"] for p in _mounting(pods, key) if p["spec"]["nodeName"] == node)


def _mounting(pods: AnyInformer, key: Key) -> list[Json]:
    pods.add_index(
        "claim", lambda pod: [str(Key(pod["metadata"]["namespace"], name)) for name in mounted_claims(pod)]
    )
    return [
        pod
        for pod in pods.by_index("claim", str(key))
        if pod["spec"].get("nodeName")
        and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]


def is_forced(dataset: Json) -> bool:
    """Whether a deletion does not wait for pods that use the data."""
    return (dataset["metadata"].get("annotations") or {}).get(FORCE_ANNOTATION) == "true"


def role_of(obj: Json) -> str:
    """What a thing we made is for."""
    return str((obj["metadata"].get("labels") or {}).get(ROLE_LABEL, ""))


def short_hash(*parts: str) -> str:
    """Ten characters that stand for the parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


def _node_label(prefix: str, key: Key, uid: str) -> str:
    name = f"{prefix}-{key.namespace}-{key.name}"
    return f"fluid.io/{name if len(name) <= 63 else f'{prefix}-{uid}'}"
