"""A DataMigrate from the cache of one cluster to that of another. Pure.

Upstream's kind has no field for clusters, so annotations name them: `from-cluster` and, as with every
DataMigrate of the hub, `cluster`, where it runs. Both ends are the same Dataset. On the second cluster it is
a DataLoad that takes everything from the workers of the first (see peers), and nothing from the source that
a checksum can vouch for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from addon_framework.api.data import LocalRuntime
from addon_framework.api.meta import Json
from addon_framework.kube import Key
from addons.cache_runtime.hub import peers
from addons.cache_runtime.hub.names import (
    CLUSTER_ANNOTATION,
    FROM_CLUSTER_ANNOTATION,
    PEERS_ANNOTATION,
    cluster_of,
    migrated,
    source_of,
)

_LOAD = "-migrate"
_ALIKE = (
    *("podMetadata", "affinity", "tolerations", "nodeSelector", "schedulerName", "resources"),
    *("policy", "schedule", "runAfter"),
)  # fields of a DataMigrate that mean the same in a DataLoad
_UNUSED = ("block", "runtimeType", "image", "imageTag", "imagePullPolicy", "parallelOptions")


class NeverError(Exception):
    """A DataMigrate that cannot be carried out as it is."""


@dataclass(frozen=True)
class Place:
    """Where a Dataset is: on which clusters, and where its caches are reached, of those that say so."""

    dataset: Json
    runtime: Json | None
    clusters: Sequence[str]
    reached: Mapping[str, Sequence[str]]
    cached: Mapping[str, int]  # bytes, of those that say so
    taken: Collection[str] = ()  # clusters that have one of their own by its name


def load_name(migrate: Json) -> str:
    """Of the DataLoad that one between clusters becomes."""
    return f"{migrate['metadata']['name']}{_LOAD}"


def is_over(migrate: Json) -> bool:
    """Whether it is done once and for all: nodes that come later are filled like those of any cluster."""
    once = (migrate.get("spec") or {}).get("policy") in (None, "", "Once")
    return once and (migrate.get("status") or {}).get("phase") == "Complete"


def load(migrate: Json, addresses: Sequence[str]) -> Json:
    """The DataLoad, of what is reached at these addresses."""
    spec, key = migrate["spec"], migrated(migrate)
    path = spec["to"]["dataset"].get("path") or "/"
    options = {**(spec.get("options") or {}), "from": ",".join(addresses)}
    return {
        "metadata": {**migrate["metadata"], "name": load_name(migrate)},
        "spec": {
            "dataset": {"name": key.name, "namespace": key.namespace},
            "target": [{"path": path, "replicas": 1}],
            "options": options,
            **{field: spec[field] for field in _ALIKE if spec.get(field)},
        },
    }


def hindrance(migrate: Json, key: Key, place: Place) -> str:
    """What it waits for; "" for nothing. Raises NeverError."""
    _possible(migrate, place)
    for cluster in (source_of(migrate), cluster_of(migrate)):
        if cluster not in place.clusters:
            return f"Dataset {key.name} is not on cluster {cluster}, which its Placement must choose"
        if not place.reached.get(cluster):
            return (
                f"annotation {PEERS_ANNOTATION} of ManagedCluster {cluster} must say where other clusters "
                "reach its caches, as host:port"
            )
    if place.cached.get(source_of(migrate)) == 0:
        return f"the cache of cluster {source_of(migrate)} has nothing of Dataset {key.name} yet"
    return ""


def notes(migrate: Json) -> str:
    """Fields that a cache which is filled from another has no use for."""
    spec = migrate.get("spec") or {}
    unused = [f"spec.{field}" for field in _UNUSED if spec.get(field)]
    if int(spec.get("parallelism") or 1) > 1:
        unused.append("spec.parallelism")
    return f"{', '.join(unused)}: without effect, since each node fetches for itself" if unused else ""


def _possible(migrate: Json, place: Place) -> None:
    """Raises NeverError."""
    ends = [((migrate["spec"].get(field) or {}).get("dataset") or {}) for field in ("from", "to")]
    named = {(end.get("namespace"), end.get("name"), end.get("path") or "/") for end in ends}
    if len(named) != 1 or not all(ends):
        raise NeverError(
            f"spec.from.dataset and spec.to.dataset must be the same: {FROM_CLUSTER_ANNOTATION} is "
            "for what two clusters cache of one Dataset"
        )
    if source_of(migrate) == cluster_of(migrate):
        raise NeverError(
            f"annotations {FROM_CLUSTER_ANNOTATION} and {CLUSTER_ANNOTATION} both name {cluster_of(migrate)}"
        )
    if place.runtime is not None and place.runtime["kind"] != LocalRuntime.RESOURCE.kind:
        raise NeverError(
            f"{place.runtime['kind']} {migrated(migrate).name}: other clusters can only read the caches of a "
            "LocalRuntime"
        )
    if not peers.shares((place.runtime or {}).get("spec") or {}, place.dataset):
        raise NeverError(
            f"LocalRuntime {migrated(migrate).name}: its nodes share nothing; see spec.peers.enabled, and "
            "spec.peers.tokenSecret for sources that are in the cluster"
        )
