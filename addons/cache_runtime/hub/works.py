"""What one Dataset of the fleet becomes for a cluster: ManifestWork and credentials. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from addon_framework.api.data import GROUP
from addon_framework.api.meta import Json
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.kube import Key, key_of
from addons.cache_runtime.agent.names import CACHE_LOST, HUB_SECRET_ANNOTATION
from addons.cache_runtime.hub import payload as data
from addons.cache_runtime.hub import peers
from addons.cache_runtime.hub.names import (
    COPY_ANNOTATION,
    HERE,
    HERE_LABEL,
    owner_labels,
    secret_name,
    work_name,
)
from addons.cache_runtime.hub.runtimes import DATA

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_OF_THE_HUB = (PLACEMENT_LABEL, HUB_SECRET_ANNOTATION, COPY_ANNOTATION, _LAST_APPLIED)
DATASET_PATHS = (
    ("phase", ".status.phase"),
    ("cached", ".status.cacheStates.cached"),
    ("cachedPercentage", ".status.cacheStates.cachedPercentage"),
    ("cachedBytes", ".status.numbers.cachedBytes"),
    ("sourceBytes", ".status.numbers.sourceBytes"),
    ("ufsTotal", ".status.ufsTotal"),
    ("fileNum", ".status.fileNum"),
    ("reason", '.status.conditions[?(@.type=="Ready")].reason'),
    ("message", '.status.conditions[?(@.type=="Ready")].message'),
    ("lost", f'.status.conditions[?(@.type=="{CACHE_LOST}")].status'),
    ("lostMessage", f'.status.conditions[?(@.type=="{CACHE_LOST}")].message'),
    ("initialized", '.status.conditions[?(@.type=="Initialized")].status'),
    ("initializedMessage", '.status.conditions[?(@.type=="Initialized")].message'),
)
_COUNTS = ("bytes", "totalBytes", "files", "totalFiles", "bytesPerSecond", "etaSeconds")
_INFOS = ("originBytes", "peerBytes", *_COUNTS, "message")
LOAD_PATHS = (
    ("phase", ".status.phase"),
    ("duration", ".status.duration"),
    *((name, f".status.infos.{name}") for name in _INFOS),
)


_REPORTED = {
    "Dataset": ("datasets", DATASET_PATHS),
    "DataLoad": ("dataloads", LOAD_PATHS),
    "DataMigrate": ("datamigrates", LOAD_PATHS),
}


def secrets_of(dataset: Json, migrates: Sequence[Json] = ()) -> list[tuple[str, str]]:
    """Names and keys of the Secrets that its mounts, and these DataMigrates, are read with, each once."""
    options = [option for place in _places(dataset.get("spec") or {}) for option in _options(place)]
    options += [
        option for op in migrates for end in _ends(op.get("spec") or {}).values() for option in _options(end)
    ]
    references = [(option.get("valueFrom") or {}).get("secretKeyRef") for option in options]
    return list(dict.fromkeys((each["name"], each.get("key", "")) for each in references if each))


def copied_key(secret: str, key: str) -> str:
    """Of a value in the one Secret that goes to clusters. A Secret's name has no underscore."""
    return f"{secret}_{key}"


def manifest_work(
    dataset: Json,
    runtime: Json | None,
    loads: Sequence[Json],
    cluster: str,
    migrates: Sequence[Json] = (),
    *,
    here: bool = False,
    others: Sequence[str] = (),
) -> Json:
    """The ManifestWork for one cluster. Without a runtime on the hub: copies on every node.

    `here` the cluster is the hub itself, where these names are taken: by the objects that this is made from.
    `others` are the addresses of other clusters' caches.
    """
    key = key_of(dataset)
    sent = _dataset(dataset, key, by_reference=bool(secrets_of(dataset, migrates)))
    if runtime is None:
        runtime = data.runtime(_metadata({"metadata": {**sent["metadata"], "annotations": {}}}), "local")
        runtime["spec"]["replicas"] = 0  # every node that fits
    runtime = {
        "apiVersion": runtime["apiVersion"],
        "kind": runtime["kind"],
        "metadata": _metadata(runtime),
        "spec": peers.joined(runtime, dataset, others),
    }
    objects = [sent, runtime]
    objects += [_operation("DataLoad", load, key) for load in sorted(loads, key=_name)]
    objects += [_operation("DataMigrate", migrate, key) for migrate in sorted(migrates, key=_name)]
    objects = [_marked(_beside(obj, key) if here else obj) for obj in objects]
    reports = []
    for obj in objects:
        if (told := _REPORTED.get(obj["kind"])) is not None:
            reports.append(data.reported(GROUP, told[0], obj["metadata"], told[1]))
    labels = {**owner_labels(key), **({HERE_LABEL: "true"} if here else {})}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": key.namespace}}
    return {
        "apiVersion": "work.open-cluster-management.io/v1",
        "kind": "ManifestWork",
        "metadata": {"name": work_name(key), "namespace": cluster, "labels": labels},
        "spec": {
            "workload": {"manifests": [namespace, *objects]},
            "deleteOption": data.keeps_namespace(key.namespace),
            "manifestConfigs": reports,
        },
    }


def credentials(dataset: Json, values: Mapping[str, str], cluster: str) -> list[Json]:
    """The Secret for one cluster, with exactly the values that the mounts name."""
    key = key_of(dataset)
    return data.credentials(secret_name(key), cluster, key.namespace, owner_labels(key), values)


def _dataset(dataset: Json, key: Key, *, by_reference: bool) -> Json:
    metadata, spec = _metadata(dataset), dict(dataset.get("spec") or {})
    if by_reference:
        metadata = data.by_reference(metadata, secret_name(key))
        spec["mounts"] = [_copied(mount, "encryptOptions", key) for mount in spec.get("mounts") or []]
        spec = _copied(spec, "sharedEncryptOptions", key)
    return {"apiVersion": DATA, "kind": "Dataset", "metadata": metadata, "spec": spec}


def _operation(kind: str, op: Json, key: Key) -> Json:
    """Not deleted when it has ended: the work would make it anew."""
    spec = {k: v for k, v in (op.get("spec") or {}).items() if k != "ttlSecondsAfterFinished"}
    for field, end in _ends(spec).items():
        spec[field] = {**spec[field], "externalStorage": _copied(end, "encryptOptions", key)}
    return {"apiVersion": DATA, "kind": kind, "metadata": _metadata(op), "spec": spec}


def _marked(obj: Json) -> Json:
    annotations = {**(obj["metadata"].get("annotations") or {}), COPY_ANNOTATION: "true"}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _beside(obj: Json, key: Key) -> Json:
    """The same under another name, also of the Dataset and the operations that it speaks of."""
    spec = dict(obj["spec"])
    for field in ("dataset", "runAfter"):
        if spec.get(field):
            spec[field] = {**spec[field], "name": f"{spec[field].get('name', '')}{HERE}"}
    for field in ("from", "to"):
        end = (spec.get(field) or {}).get("dataset") or {}
        if end.get("name") == key.name:
            spec[field] = {**spec[field], "dataset": {**end, "name": f"{key.name}{HERE}"}}
    metadata = {**obj["metadata"], "name": f"{obj['metadata']['name']}{HERE}"}
    return {**obj, "metadata": metadata, "spec": spec}


def _name(obj: Json) -> str:
    return str(obj["metadata"]["name"])


def _metadata(obj: Json) -> Json:
    """What the user said, without what is about the hub. Whose credentials a Dataset gets is ours to say."""
    metadata = obj["metadata"]
    found: Json = {"name": metadata["name"], "namespace": metadata["namespace"]}
    for field in ("labels", "annotations"):
        said = metadata.get(field) or {}
        kept = {k: v for k, v in said.items() if k not in _OF_THE_HUB}
        if kept:
            found[field] = kept
    return found


def _places(spec: Json) -> list[Json]:
    """Where a Dataset's spec has secret options."""
    return [*(spec.get("mounts") or []), {"encryptOptions": spec.get("sharedEncryptOptions")}]


def _ends(spec: Json) -> dict[str, Json]:
    """The storage that no Dataset describes, at either end of a DataMigrate."""
    found = {field: (spec.get(field) or {}).get("externalStorage") for field in ("from", "to")}
    return {field: end for field, end in found.items() if end}


def _options(place: Json) -> list[Json]:
    return list(place.get("encryptOptions") or [])


def _copied(place: Json, field: str, key: Key) -> Json:
    """The same with every value read from the one Secret that goes along."""

    def option(said: Json) -> Json:
        reference = (said.get("valueFrom") or {}).get("secretKeyRef")
        if not reference:
            return said
        copied = {"name": secret_name(key), "key": copied_key(reference["name"], reference.get("key", ""))}
        return {**said, "valueFrom": {"secretKeyRef": copied}}

    return {**place, field: [option(each) for each in place[field]]} if place.get(field) else place
