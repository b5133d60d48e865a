"""What every FUSE client's pod has: the shared mount, the probe, privileges. Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence

from addon_framework.api.meta import Json
from runtimes.interface import Cache
from runtimes.pods import host_path, literal, mount

# Leaves no dead mount of an earlier life under the new one. $MOUNT_POINT is in the environment.
PREPARE = """
set -eu
while grep -q " $MOUNT_POINT .* - fuse" /proc/self/mountinfo; do umount -l "$MOUNT_POINT"; done
mkdir -p "$MOUNT_POINT"
"""
# A dead client's attributes may still be cached; the file system's own numbers (-f) never are.
_MOUNTED = 'grep -q " $MOUNT_POINT .* - fuse" /proc/self/mountinfo && stat -f "$MOUNT_POINT" >/dev/null'
_PROC = "/node/proc"
_UNMOUNT = 'umount -l "$MOUNT_POINT" || true'


def client_pod(
    cache: Cache,
    *,
    name: str,
    image: str,
    command: Sequence[str],
    args: Sequence[str] = (),
    env: Sequence[Json] = (),
    volumes: Sequence[Json] = (),
    mounts: Sequence[Json] = (),
) -> Json:
    """A privileged pod that mounts at MOUNT_POINT, where the node and other pods see it."""
    parent = os.path.dirname(cache.mount_point)
    container: Json = {
        "name": name,
        "image": image,
        "command": list(command),
        "env": [literal("MOUNT_POINT", cache.mount_point), *env],
        "securityContext": {"privileged": True},
        "readinessProbe": probe(),
        # A client that was asked to end unmounts; this is for one that hangs.
        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", _UNMOUNT]}}},
        "volumeMounts": [mount("mounts", parent, propagation="Bidirectional"), *mounts],
    }
    if args:
        container["args"] = list(args)
    return {
        "containers": [container, _remounter(cache, parent)],
        "volumes": [host_path("mounts", parent), host_path("proc", "/proc", "Directory"), *volumes],
    }


def _remounter(cache: Cache, parent: str) -> Json:
    """Outlives the client, and brings the next one's mount to the pods that have the dead one's."""
    return {
        "name": "remount",
        "image": cache.image,
        "command": ["python", "-m", "runtimes.node.remount"],
        "args": [f"--mount-point={cache.mount_point}", f"--proc={_PROC}"],
        "securityContext": {"privileged": True},
        "volumeMounts": [
            mount("mounts", parent, propagation="Bidirectional"),
            mount("proc", _PROC, read_only=True),
        ],
    }


def probe() -> Json:
    """Ready once something is mounted and answers."""
    return {"exec": {"command": ["sh", "-c", _MOUNTED]}, "periodSeconds": 1, "timeoutSeconds": 5}
