"""What every FUSE client's pod has: the shared mount, the probe, privileges. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from addon_framework.api.meta import Json
from runtimes.interface import Cache, Source
from runtimes.pods import credential_env, field, host_path, literal, mount
from runtimes.source import hub, s3

# Leaves no dead mount of an earlier life under the new one. $MOUNT_POINT is in the environment.
PREPARE = """
set -eu
while grep -q " $MOUNT_POINT .* - fuse" /proc/self/mountinfo; do umount -l "$MOUNT_POINT"; done
mkdir -p "$MOUNT_POINT"
"""
# A dead client's attributes may still be cached; the file system's own numbers (-f) never are.
_MOUNTED = 'grep -q " $MOUNT_POINT .* - fuse" /proc/self/mountinfo && stat -f "$MOUNT_POINT" >/dev/null'
_PROC = "/node/proc"
# What can be read without the client, with the options that we know.
_MEASURED = {"s3": s3.OPTIONS, "hf": hub.OPTIONS, "http": (), "https": ()}
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
    """Outlives the client, and brings the next one's mount to the pods that have the dead one's.

    It also measures the mount against its sources: it is there anyway, and is our own program.
    """
    made: Json = {
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
    if env := _measuring(cache):
        made["env"] = env
    return made


def _measuring(cache: Cache) -> list[Json]:
    """For runtimes.node.speed; nothing where a source is the client's own secret."""
    sources = cache.sources
    if not sources or not all(_is_open(source) for source in sources):
        return []
    said = [{"url": s.url, "path": s.path, "options": dict(s.options)} for s in sources]
    env = [literal("SPEED", json.dumps(said, sort_keys=True)), field("POD_UID", "metadata.uid")]
    for number, source in enumerate(sources):
        env += credential_env(source, f"SOURCE{number}_")
    return env


def _is_open(source: Source) -> bool:
    return source.scheme in _MEASURED and set(source.options) <= set(_MEASURED[source.scheme])


def probe() -> Json:
    """Ready once something is mounted and answers."""
    return {"exec": {"command": ["sh", "-c", _MOUNTED]}, "periodSeconds": 1, "timeoutSeconds": 5}
