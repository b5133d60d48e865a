"""The identity of an object inside one resource: what work queues carry and caches are keyed by."""

from __future__ import annotations

from sys import intern
from typing import Any, NamedTuple


class Key(NamedTuple):
    """Namespace and name; `namespace` is "" for cluster-scoped objects."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: Any) -> Key:
    """The key of a plain dict or of a typed struct with `metadata`."""
    if isinstance(obj, dict):
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace"), metadata["name"]
    else:
        namespace, name = obj.metadata.namespace, obj.metadata.name
    # A cluster's name is in the keys of all that is there for it: as one string.
    return Key(intern(namespace or ""), intern(name))


def resource_version_of(obj: Any) -> str:
    """`metadata.resourceVersion` of a plain dict or a typed struct; opaque, compared for equality only."""
    if isinstance(obj, dict):
        return str(obj["metadata"].get("resourceVersion", ""))
    return str(obj.metadata.resource_version or "")


def version_number(version: str | None) -> int:
    """To compare versions of one resource: https://kep.k8s.io/5504. 0 where a server has others."""
    return int(version) if version and version.isdigit() else 0
