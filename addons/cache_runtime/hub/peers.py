"""Clusters that give one another what they have cached, before anybody asks the origin. Pure.

Whether clusters reach one another the hub cannot know, so it is said: on each ManagedCluster of those that
do, an annotation names where others reach its caches, as `host:port`, several separated by commas.
`{service}`, `{namespace}` and `{cluster}` stand for those of a Dataset's workers, such as
`{service}.{namespace}.svc.clusterset.local:9465` where Services are exported to a cluster set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from addon_framework.api.data import LocalRuntime
from addon_framework.api.meta import Json
from addon_framework.kube import Key
from addons.cache_runtime.hub.names import HERE, PEERS_ANNOTATION, is_here
from runtimes.local.pods import NEAR, service_name

_ADDRESS = re.compile(r"[\w.-]+:\d{1,5}")


def reached(clusters: Iterable[Json | None], key: Key, hub_id: str) -> dict[str, list[str]]:
    """Where clusters' workers of a Dataset are reached, by cluster; of those that say so."""
    found = {}
    for cluster in clusters:
        if cluster is not None and (said := _said(cluster)):
            name = f"{key.name}{HERE}" if is_here(cluster, hub_id) else key.name
            found[cluster["metadata"]["name"]] = _addresses(cluster, said, key.namespace, name)
    return found


def others(known: Mapping[str, Sequence[str]], cluster: str) -> list[str]:
    """Those of all but one, which has to be reached itself: they give, too."""
    if cluster not in known:
        return []
    return [address for other, found in known.items() if other != cluster for address in found]


def moved(old: Json | None, new: Json | None, hub_id: str) -> bool:
    """Whether a cluster is reached elsewhere than before, or its Dataset has another name there."""
    return _said(old) != _said(new) or is_here(old, hub_id) != is_here(new, hub_id)


def _said(cluster: Json | None) -> str:
    annotations = ((cluster or {}).get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(PEERS_ANNOTATION, ""))


def _addresses(cluster: Json, said: str, namespace: str, name: str) -> list[str]:
    values = {
        "service": service_name(name),
        "namespace": namespace,
        "cluster": cluster["metadata"]["name"],
    }
    filled = re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), said)
    return [each for part in filled.split(",") if _ADDRESS.fullmatch(each := part.strip())]


def joined(runtime: Json, dataset: Json, others: Iterable[str]) -> Json:
    """A runtime's spec with them, where its nodes share; those that the user gave stay."""
    spec: Json = runtime.get("spec") or {}
    said = spec.get("peers") or {}
    found = sorted({*(said.get("addresses") or ()), *others})
    if runtime["kind"] != LocalRuntime.RESOURCE.kind or not found or not shares(spec, dataset):
        return spec
    return {**spec, "peers": {**said, "addresses": found}}


def shares(spec: Json, dataset: Json) -> bool:
    """Whether nodes of a LocalRuntime with this spec give one another anything."""
    said = spec.get("peers") or {}
    mounts = (dataset.get("spec") or {}).get("mounts") or []
    near = any(str(mount.get("mountPoint", "")).partition("://")[0] in NEAR for mount in mounts)
    return bool(said.get("enabled", True)) and (not near or bool(said.get("tokenSecret")))
