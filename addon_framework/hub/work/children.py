"""The ManifestWorks of a ManifestWorkReplicaSet: their names, labels and spec. Pure."""

from __future__ import annotations

import hashlib
import re

import orjson

from addon_framework.api.meta import Json
from addon_framework.api.names import WORK_GROUP
from addon_framework.api.work import MAX_MANIFEST_BYTES, ManifestWork
from addon_framework.hub.work.progress import with_rules
from addon_framework.kube import Key, covers

OWNER_LABEL = f"{WORK_GROUP}/manifestworkreplicaset"
PLACEMENT_NAME_LABEL = f"{WORK_GROUP}/placementname"
TEMPLATE_HASH_ANNOTATION = "work.boundaryless.io/template-hash"
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_NAME_LENGTH = 160  # the agent puts a hash before it


def owner_value(key: Key) -> str:
    """What works of a replica set are found by: `namespace.name` where a label can hold it, else a hash."""
    return label_value(f"{key.namespace}.{key.name}")


def label_value(text: str) -> str:
    """The text itself, or a hash of it where a label cannot hold it."""
    return text if _LABEL_VALUE.fullmatch(text) else f"sha256-{_digest(text)[:40]}"


def work_name(key: Key) -> str:
    """The same at every attempt, so that a kill leaves no second work; other namespaces have other ones."""
    return f"{key.name[:_NAME_LENGTH].rstrip('-.')}-{_digest(str(key))[:8]}"


class Template:
    """What a replica set wants of each of its works."""

    def __init__(self, replica_set: Json) -> None:
        metadata = replica_set["metadata"]
        self._key = Key(metadata["namespace"], metadata["name"])
        self._labels: dict[str, str] = metadata.get("labels") or {}
        self.spec: Json = with_rules((replica_set.get("spec") or {}).get("manifestWorkTemplate") or {})
        self.hash = _digest(orjson.dumps(self.spec, option=orjson.OPT_SORT_KEYS).decode())[:16]

    def problem(self) -> str:
        """Why no work can be made of it, "" when one can."""
        manifests = (self.spec.get("workload") or {}).get("manifests") or []
        where = "spec.manifestWorkTemplate.workload.manifests"
        if not manifests:
            return f"{where} is empty: there is nothing to distribute"
        size = sum(len(orjson.dumps(manifest)) for manifest in manifests)
        if size > MAX_MANIFEST_BYTES:
            return (
                f"{where} has {size} bytes of JSON and a ManifestWork holds at most {MAX_MANIFEST_BYTES}: "
                "divide the objects among several ManifestWorkReplicaSets"
            )
        return ""

    def is_current(self, work: Json) -> bool:
        """Whether the work has this very spec; its labels are another matter."""
        annotations = work["metadata"].get("annotations") or {}
        return annotations.get(TEMPLATE_HASH_ANNOTATION) == self.hash and covers(work["spec"], self.spec)

    def labels(self, placement: str) -> dict[str, str]:
        """The replica set's own, and by what the work is found."""
        ours = {OWNER_LABEL: owner_value(self._key), PLACEMENT_NAME_LABEL: label_value(placement)}
        return {**self._labels, **ours}

    def work(self, cluster: str, placement: str) -> Json:
        """A new work."""
        return {
            "apiVersion": ManifestWork.RESOURCE.api_version,
            "kind": ManifestWork.RESOURCE.kind,
            "metadata": {
                "name": work_name(self._key),
                "namespace": cluster,
                "labels": self.labels(placement),
                "annotations": {TEMPLATE_HASH_ANNOTATION: self.hash},
            },
            "spec": self.spec,
        }

    def updated(self, work: Json, placement: str, *, spec: bool) -> Json | None:
        """The work with its labels, and with `spec` that too, as they should be; None when they are."""
        metadata = work["metadata"]
        before = metadata.get("labels") or {}
        labels = {**before, **self.labels(placement)}
        stale = spec and not self.is_current(work)
        if labels == before and not stale:
            return None
        wanted = {**work, "metadata": {**metadata, "labels": labels}}
        if stale:
            annotations = {**(metadata.get("annotations") or {}), TEMPLATE_HASH_ANNOTATION: self.hash}
            wanted["metadata"]["annotations"] = annotations
            wanted["spec"] = self.spec
        return wanted


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
