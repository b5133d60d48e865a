"""The PersistentVolume and its claim, named as Fluid names them. Pure."""

from __future__ import annotations

from addon_framework.api.meta import Json
from addon_framework.kube import Key, key_of
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.components import places
from addons.cache_runtime.agent.names import (
    CAPACITY_ANNOTATION,
    DEFAULT_CAPACITY,
    STORAGE_CLASS,
    cache_node_label,
    client_node_label,
    dataset_id,
    dataset_key,
    labels,
    volume_name,
)
from addons.cache_runtime.agent.reference_rules import access_modes as reference_modes
from runtimes import metadata_list
from runtimes.presence import is_lazy


def persistent_volume(binding: Binding) -> Json:
    """A directory of some nodes; pods that claim it are scheduled to those only."""
    key, uid = _identity(binding)
    volume = binding.backend.volume(binding.cache)
    said = metadata_list.given(binding.cache, "PersistentVolume")
    made: Json = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(key),
            "labels": {**said["labels"], **_labels(key, uid)},
            "annotations": {**said["annotations"], "CreatedBy": "fluid"},
        },
        "spec": {
            "accessModes": access_modes(binding),
            "capacity": {"storage": capacity(binding)},
            "storageClassName": STORAGE_CLASS,
            "persistentVolumeReclaimPolicy": "Retain",
            # Making what only a client can show would let pods start without it.
            "hostPath": {
                "path": volume.path,
                "type": "Directory" if volume.mounted else "DirectoryOrCreate",
            },
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": key.namespace,
                "name": key.name,
            },
        },
    }
    if terms := _nodes(binding):
        made["spec"]["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    return made


def _nodes(binding: Binding) -> list[Json]:
    """Terms of those with the cache or the client; of a client that comes after its pods, where it may."""
    if is_lazy(binding.backend, binding.cache):
        return places(binding)
    key, uid = _identity(binding)
    after = binding.backend.volume(binding.cache).after
    label = client_node_label(key, uid) if after == "client" else cache_node_label(key, uid)
    return [{"matchExpressions": [{"key": label, "operator": "In", "values": ["true"]}]}]


def claim(binding: Binding) -> Json:
    """Bound to that volume and to no other."""
    key, uid = _identity(binding)
    said = metadata_list.given(binding.cache, "PersistentVolumeClaim")
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": {**said["labels"], **_labels(key, uid)},
            "annotations": {**said["annotations"], "CreatedBy": "fluid"},
        },
        "spec": {
            "accessModes": access_modes(binding),
            "resources": {"requests": {"storage": capacity(binding)}},
            "storageClassName": STORAGE_CLASS,
            "volumeMode": "Filesystem",
            "volumeName": volume_name(key),
        },
    }


def fixed(binding: Binding, live: Json | None) -> str:
    """What the volume that there is would have to be and cannot become; "" when it is as wanted."""
    if live is None:
        return ""
    wanted = persistent_volume(binding)["spec"]
    names = ("accessModes", "capacity", "hostPath", "nodeAffinity")
    changed = [name for name in names if live["spec"].get(name) != wanted.get(name)]
    if not changed:
        return ""
    return (
        f"PersistentVolume {live['metadata']['name']} cannot change: its {', '.join(changed)} would be other "
        "ones by now; change that back, or delete the Dataset and create it anew"
    )


def referring_volume(binding: Binding, dataset: Json) -> Json:
    """The same directory, for a Dataset that refers to the binding's or, by subPaths, to a part of it."""
    made = persistent_volume(binding)
    key, uid = key_of(dataset), dataset["metadata"]["uid"]
    made["metadata"] = {**made["metadata"], "name": volume_name(key), "labels": _labels(key, uid)}
    spec = made["spec"]
    spec["accessModes"] = reference_modes(dataset)
    spec["claimRef"] = {**spec["claimRef"], "namespace": key.namespace, "name": key.name}
    return made


def referring_claim(binding: Binding, dataset: Json) -> Json:
    """With Fluid's labels that say whose data it is."""
    made = claim(binding)
    key, uid = key_of(dataset), dataset["metadata"]["uid"]
    whose = {
        "fluid.io/dataset.referring-name": binding.cache.name,
        "fluid.io/dataset.referring-namespace": binding.cache.namespace,
    }
    made["metadata"] = {
        **made["metadata"],
        "name": key.name,
        "namespace": key.namespace,
        "labels": {**_labels(key, uid), **whose},
    }
    made["spec"] |= {"accessModes": reference_modes(dataset), "volumeName": volume_name(key)}
    return made


def access_modes(binding: Binding) -> list[str]:
    """The Dataset's, or Fluid's default."""
    return binding.cache.dataset.spec.access_modes or ["ReadOnlyMany"]


def capacity(binding: Binding) -> str:
    """What the claim says it is large; nothing enforces it."""
    annotations = binding.dataset["metadata"].get("annotations") or {}
    return str(annotations.get(CAPACITY_ANNOTATION) or DEFAULT_CAPACITY)


def is_stranger(obj: Json, key: Key) -> bool:
    """Something of the same name that neither we nor Fluid made, or not for this Dataset.

    Fluid's names of volumes meet: that of a-b/c is that of a/b-c.
    """
    made = (obj["metadata"].get("annotations") or {}).get("CreatedBy") == "fluid"
    return not made or dataset_key(obj) not in ([], [key])


def stranger_problem(obj: Json) -> str:
    """What to do about one."""
    return (
        f"{obj['kind']} {obj['metadata']['name']} exists and is not of this Dataset; remove it, or give the "
        "Dataset another name"
    )


def _identity(binding: Binding) -> tuple[Key, str]:
    return Key(binding.cache.namespace, binding.cache.name), binding.dataset["metadata"]["uid"]


def _labels(key: Key, uid: str) -> dict[str, str]:
    return {
        **labels(key, "volume"),
        cache_node_label(key, uid): "true",
        "fluid.io/dataset-id": dataset_id(key, uid),
    }
