"""Where nothing can run on the node itself, a pod brings its Dataset's client along. Pure.

The client is a native sidecar: it has mounted before the other containers start, and does not keep a Job from
ending. https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/

It mounts in a directory of the volume, which the others have by subPath: a volume that is a dead mount itself
could not be given to the client when it starts again.

A dead mount in a volume keeps its pod from ever going. A client that is not running when its pod ends leaves
one, so a container that only waits begins before the client, ends after it, and unmounts what is left.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.names import SIDECAR_DONE_LABEL
from runtimes.fuse import OVER_DEAD, UNMOUNT

_MOUNTS = "mounts"  # the client's volume for what it mounts
_ATTEMPTS = 300  # seconds until a client that cannot mount is started again
_KEEP = f"trap '{UNMOUNT}; exit 0' TERM; while true; do sleep 1000 & wait; done"
_LITTLE = {"cpu": "50m", "memory": "32Mi"}


@dataclass(frozen=True)
class Client:
    """What a Dataset's client is where it runs on the node: its PodSpec, and where it mounts."""

    claim: str
    pod: Json
    mount_point: str


def bring(pod: Json, clients: Sequence[Client]) -> None:
    """Puts each client into the pod, and what it mounts in the place of its claim."""
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["labels"] = {**(metadata.get("labels") or {}), SIDECAR_DONE_LABEL: "true"}
    sidecars = []
    for number, client in enumerate(clients):
        container, volumes = _sidecar(client, number)
        _hang(container, client, _claimed(spec, client))
        sidecars += [*_keeper(container, client.mount_point, number), container]
        spec["volumes"] += volumes
        there = spec.get("imagePullSecrets") or []
        more = [each for each in client.pod.get("imagePullSecrets") or [] if each not in there]
        if more:
            spec["imagePullSecrets"] = [*there, *more]
    spec["initContainers"] = [*sidecars, *(spec.get("initContainers") or [])]


def needs(pod: Json) -> list[str]:
    """Secrets and ConfigMaps of its namespace that a client's first container needs."""
    container = pod["containers"][0]
    found = {f"Secret {each['name']}" for each in pod.get("imagePullSecrets") or []}
    for variable in container.get("env") or []:
        source = variable.get("valueFrom") or {}
        for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            if field in source:
                found.add(f"{kind} {source[field]['name']}")
    mounted = {mount["name"] for mount in container.get("volumeMounts") or []}
    for volume in pod.get("volumes") or []:
        if volume["name"] in mounted and "secret" in volume:
            found.add(f"Secret {volume['secret']['secretName']}")
        if volume["name"] in mounted and "configMap" in volume:
            found.add(f"ConfigMap {volume['configMap']['name']}")
    return sorted(found)


def _claimed(spec: Json, client: Client) -> str:
    """The volume that was the claim, now one of the pod's own; all who mount it see what is mounted in it."""
    below = posixpath.basename(client.mount_point)
    names = [
        volume["name"]
        for volume in spec["volumes"]
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == client.claim
    ]
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] not in names]
    spec["volumes"].append({"name": names[0], "emptyDir": {}})
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        for mount in container.get("volumeMounts") or []:
            if mount["name"] in names:
                mount |= {"name": names[0], "mountPropagation": "HostToContainer"}
                field = "subPathExpr" if mount.get("subPathExpr") else "subPath"
                mount[field] = posixpath.join(below, mount.get(field) or "").rstrip("/")
    return str(names[0])


def _sidecar(client: Client, number: int) -> tuple[Json, list[Json]]:
    """The client's first container, under names that the pod's own volumes do not have."""
    container = copy.deepcopy(client.pod["containers"][0])
    names = {m["name"] for m in container.get("volumeMounts") or []} - {_MOUNTS}
    volumes = []
    for volume in client.pod.get("volumes") or []:
        if volume["name"] in names:
            # A cache on the node's disk would have to be cleaned up by somebody: the pod's own goes with it.
            kept = {k: v for k, v in volume.items() if k not in ("name", "hostPath")}
            volumes.append({"name": _named(volume["name"], number), **(kept or {"emptyDir": {}})})
    mounts = [m for m in container.get("volumeMounts") or [] if m["name"] != _MOUNTS]
    container["volumeMounts"] = [{**m, "name": _named(m["name"], number)} for m in mounts]
    container["name"] = f"fluid-fuse-{number}"
    container["restartPolicy"] = "Always"
    container["env"] = [*(container.get("env") or []), {"name": OVER_DEAD, "value": "true"}]
    probe = container.get("readinessProbe")
    if probe:
        container["startupProbe"] = {**probe, "periodSeconds": 1, "failureThreshold": _ATTEMPTS}
    return container, volumes


def _hang(container: Json, client: Client, volume: str) -> None:
    """The volume is where the client mounts in it."""
    shared = {"name": volume, "mountPath": posixpath.dirname(client.mount_point)}
    if (container.get("securityContext") or {}).get("privileged"):  # else it mounts nothing
        shared["mountPropagation"] = "Bidirectional"
    container["volumeMounts"] = [shared, *container["volumeMounts"]]


def _keeper(client: Json, mount_point: str, number: int) -> list[Json]:
    """With the client's image, which is there anyway; where quotas want to know, it needs next to nothing."""
    if not (client.get("securityContext") or {}).get("privileged"):
        return []
    made: Json = {k: client[k] for k in ("image", "imagePullPolicy", "securityContext") if k in client}
    if client.get("resources"):
        made["resources"] = {"requests": _LITTLE, "limits": _LITTLE}
    return [
        {
            "name": f"fluid-unmount-{number}",
            **made,
            "restartPolicy": "Always",
            "command": ["sh", "-c", _KEEP],
            "env": [{"name": "MOUNT_POINT", "value": mount_point}],
            "volumeMounts": client["volumeMounts"][:1],
        }
    ]


def _named(volume: str, number: int) -> str:
    return f"fluid-{number}-{volume}"
