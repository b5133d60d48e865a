"""What one Dataset of the fleet becomes for a cluster: ManifestWork and credentials. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from addon_framework.api.data import GROUP
from addon_framework.api.meta import Json
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.kube import Key, key_of
from addons.cache_runtime.hub import payload as data
from addons.cache_runtime.hub.names import owner_labels, secret_name, work_name
from addons.cache_runtime.hub.runtimes import DATA

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
DATASET_PATHS = (
    ("phase", ".status.phase"),
    ("cached", ".status.cacheStates.cached"),
    ("cachedPercentage", ".status.cacheStates.cachedPercentage"),
    ("cachedBytes", ".status.numbers.cachedBytes"),
    ("sourceBytes", ".status.numbers.sourceBytes"),
    ("ufsTotal", ".status.ufsTotal"),
    ("fileNum", ".status.fileNum"),
    ("message", '.status.conditions[?(@.type=="Ready")].message'),
)
_INFOS = ("originBytes", "bytes", "total", "percentage", "rate", "eta", "message")
LOAD_PATHS = (
    ("phase", ".status.phase"),
    ("duration", ".status.duration"),
    *((name, f".status.infos.{name}") for name in _INFOS),
)


def secrets_of(dataset: Json) -> list[tuple[str, str]]:
    """Names and keys of the Secrets that its mounts are read with, each once."""
    found = (
        (reference["name"], reference.get("key", "")) for reference in _references(dataset.get("spec") or {})
    )
    return list(dict.fromkeys(found))


def copied_key(secret: str, key: str) -> str:
    """Of a value in the one Secret that goes to clusters. A Secret's name has no underscore."""
    return f"{secret}_{key}"


def manifest_work(dataset: Json, runtime: Json | None, loads: Sequence[Json], cluster: str) -> Json:
    """The ManifestWork for one cluster. Without a runtime on the hub: copies on every node."""
    key = key_of(dataset)
    sent = _dataset(dataset, key)
    if runtime is None:
        runtime = data.runtime(_metadata({"metadata": {**sent["metadata"], "annotations": {}}}), "local")
        runtime["spec"]["replicas"] = 0  # every node that fits
    runtime = {
        "apiVersion": runtime["apiVersion"],
        "kind": runtime["kind"],
        "metadata": _metadata(runtime),
        "spec": runtime.get("spec") or {},
    }
    sent_loads = [_load(load) for load in sorted(loads, key=lambda load: str(load["metadata"]["name"]))]
    reports = [data.reported(GROUP, "datasets", sent["metadata"], DATASET_PATHS)]
    reports += [data.reported(GROUP, "dataloads", load["metadata"], LOAD_PATHS) for load in sent_loads]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": key.namespace}}
    return {
        "apiVersion": "work.open-cluster-management.io/v1",
        "kind": "ManifestWork",
        "metadata": {"name": work_name(key), "namespace": cluster, "labels": owner_labels(key)},
        "spec": {
            "workload": {"manifests": [namespace, sent, runtime, *sent_loads]},
            "deleteOption": data.keeps_namespace(key.namespace),
            "manifestConfigs": reports,
        },
    }


def credentials(dataset: Json, values: Mapping[str, str], cluster: str) -> list[Json]:
    """The Secret for one cluster, with exactly the values that the mounts name."""
    key = key_of(dataset)
    return data.credentials(secret_name(key), cluster, owner_labels(key), values)


def _dataset(dataset: Json, key: Key) -> Json:
    metadata, spec = _metadata(dataset), dataset.get("spec") or {}
    if secrets_of(dataset):
        metadata = data.by_reference(metadata, secret_name(key))
        spec = _renamed(spec, secret_name(key))
    return {"apiVersion": DATA, "kind": "Dataset", "metadata": metadata, "spec": spec}


def _load(load: Json) -> Json:
    """Not deleted when it has ended: the work would make it anew."""
    spec = {k: v for k, v in (load.get("spec") or {}).items() if k != "ttlSecondsAfterFinished"}
    return {"apiVersion": DATA, "kind": "DataLoad", "metadata": _metadata(load), "spec": spec}


def _metadata(obj: Json) -> Json:
    """What the user said, without what is about the hub."""
    metadata = obj["metadata"]
    found: Json = {"name": metadata["name"], "namespace": metadata["namespace"]}
    for field in ("labels", "annotations"):
        said = metadata.get(field) or {}
        kept = {k: v for k, v in said.items() if k not in (PLACEMENT_LABEL, _LAST_APPLIED)}
        if kept:
            found[field] = kept
    return found


def _options(spec: Json) -> Iterator[Json]:
    for place in (*(spec.get("mounts") or []), {"encryptOptions": spec.get("sharedEncryptOptions")}):
        yield from place.get("encryptOptions") or []


def _references(spec: Json) -> Iterator[Json]:
    for option in _options(spec):
        if reference := (option.get("valueFrom") or {}).get("secretKeyRef"):
            yield reference


def _renamed(spec: Json, secret: str) -> Json:
    """The same with every value read from the one Secret that goes along."""

    def option(said: Json) -> Json:
        reference = (said.get("valueFrom") or {}).get("secretKeyRef")
        if not reference:
            return said
        copied = {"name": secret, "key": copied_key(reference["name"], reference.get("key", ""))}
        return {**said, "valueFrom": {"secretKeyRef": copied}}

    def place(said: Json, field: str) -> Json:
        return {**said, field: [option(each) for each in said[field]]} if said.get(field) else said

    mounts = [place(mount, "encryptOptions") for mount in spec.get("mounts") or []]
    return place({**spec, "mounts": mounts}, "sharedEncryptOptions")
