"""Pods that mount a directory of another Dataset: their mounts begin in it, by subPaths. Pure.

The kubelet lets no subPath lead out of its volume. A hostPath with the directory in it would be followed on
the node wherever a link leads, and whoever can write the data decides where links lead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from addon_framework.api.meta import Json
from addon_framework.kube import Key, key_of
from addons.cache_runtime.agent.reference_rules import reference_of

_PARTS = ("initContainers", "containers")


def claims(datasets: Iterable[Json]) -> frozenset[Key]:
    """Of the Datasets that name a directory of another."""
    named = ((key_of(dataset), reference_of(dataset)) for dataset in datasets)
    return frozenset(key for key, reference in named if reference is not None and reference.path)


def expression(keys: Iterable[Key]) -> str:
    """In CEL: whether a pod mounts one of the claims."""
    listed = ", ".join(f"'{key.namespace}/{key.name}'" for key in sorted(keys))
    claim = "request.namespace + '/' + v.persistentVolumeClaim.claimName"
    each = f"has(v.persistentVolumeClaim) && ({claim}) in [{listed}]"
    return f"has(object.spec.volumes) && object.spec.volumes.exists(v, {each})"


def enter(pod: Json, directories: Mapping[str, str]) -> None:
    """`directories` by claim."""
    volumes = {
        volume["name"]: directories[claim["claimName"]]
        for volume in pod["spec"].get("volumes") or []
        if (claim := volume.get("persistentVolumeClaim")) and claim["claimName"] in directories
    }
    for part in _PARTS:
        for container in pod["spec"].get(part) or []:
            mounts: Sequence[Json] = container.get("volumeMounts") or []
            for mount in mounts:
                if mount["name"] in volumes:
                    _begin(mount, volumes[mount["name"]])


def _begin(mount: Json, directory: str) -> None:
    if mount.get("subPathExpr"):  # in which $$ stands for a $ of the directory's name
        mount["subPathExpr"] = f"{directory.replace('$', '$$')}/{mount['subPathExpr']}"
    else:
        mount["subPath"] = f"{directory}/{mount['subPath']}" if mount.get("subPath") else directory
