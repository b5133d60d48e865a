"""What every FUSE client's pod has: the shared mount, the probe, privileges. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from addon_framework.api.meta import Json
from runtimes.interface import Backend, Cache, Source, Task, Volume
from runtimes.node.command import PROC, clean_pod
from runtimes.node.publish import published_at
from runtimes.pods import credential_env, field, host_path, literal, mount
from runtimes.source import hub, web
from runtimes.source.stores import STORES, option_names
from runtimes.tiers import node_directories
from runtimes.workloads import container, pod

# A dead client's attributes may still be cached; the file system's own numbers (-f) never are.
_MOUNTED = 'grep -q " $MOUNT_POINT .* - fuse" /proc/self/mountinfo && stat -f "$MOUNT_POINT" >/dev/null'
OVER_DEAD = "OVER_DEAD"  # a variable
# Leaves no dead mount of an earlier life under the new one. $MOUNT_POINT is in the environment. In a pod of
# its users, OVER_DEAD: they have the dead mount and get, by propagation, only what is mounted over it.
PREPARE = f"""
set -eu
if [ -n "${{{OVER_DEAD}:-}}" ] && grep -q " $MOUNT_POINT .* - fuse" /proc/self/mountinfo; then
  shown=$MOUNT_POINT
  MOUNT_POINT=$(mktemp -d)
  (until {_MOUNTED}; do sleep 0.2; done; mount --bind "$MOUNT_POINT" "$shown") &
fi
while grep -q " $MOUNT_POINT .* - fuse" /proc/self/mountinfo; do umount -l "$MOUNT_POINT"; done
mkdir -p "$MOUNT_POINT"
"""
HOST_PID = "runtime.fluid.io/fuse.hostpid"
# What can be read without the client, with the options that we know.
_MEASURED = {
    **{scheme: option_names(scheme) for scheme in STORES},
    "hf": hub.OPTIONS,
    "http": web.OPTIONS,
    "https": web.OPTIONS,
}
# All of it: a client that had died is under the one that came after it.
UNMOUNT = 'while grep -q " $MOUNT_POINT " /proc/self/mountinfo && umount -l "$MOUNT_POINT"; do :; done'


class ClientBackend(Backend):
    """A cache whose data pods find where a client mounts it."""

    def volume(self, cache: Cache) -> Volume:
        """The mount of the client; nothing is there while nothing is mounted."""
        return Volume(str(published_at(Path(cache.mount_point))), after="client", mounted=True)

    def directories(self, cache: Cache) -> list[str]:
        """Of nodes, that end with the cache."""
        return node_directories(cache)

    def clean(self, cache: Cache) -> Task:
        """The mount, and those directories."""
        return Task(clean_pod(cache.image, unmount=[cache.mount_point], remove=self.directories(cache)))


def client_pod(
    cache: Cache,
    *,
    name: str,
    image: Json,
    command: Sequence[str],
    args: Sequence[str] = (),
    env: Sequence[Json] = (),
    ports: Mapping[str, int] | None = None,
    volumes: Sequence[Json] = (),
    mounts: Sequence[Json] = (),
    section: Json | None = None,
    host: bool = False,
    kind: str = "fuse",
    sealed: bool = True,
    **fields: Any,
) -> Json:
    """A privileged pod that mounts at MOUNT_POINT, where the node and other pods see it.

    `section` of the runtime adds what it says of a client; `fields` are the container's; `kind` is how the
    file system's type begins, besides fuse. Where nobody may write, the node sees to it, unless the client
    does (not `sealed`).
    """
    parent = os.path.dirname(cache.mount_point)
    standard: Json = {
        "securityContext": {"privileged": True},
        "readinessProbe": probe(kind),
        # A client that was asked to end unmounts; this is for one that hangs.
        "lifecycle": ending(),
    }
    client = container(
        name,
        image,
        section or {},
        command=command,
        args=args,
        env=[literal("MOUNT_POINT", cache.mount_point), *_identity(cache, env), *env],
        ports=ports,
        mounts=[mount("mounts", parent, propagation="Bidirectional"), *mounts],
        **{**standard, **fields},
    )
    shared = [host_path("mounts", parent), host_path("proc", "/proc", "Directory")]
    made = pod(
        cache,
        section or {},
        [client, _remounter(cache, parent, cache.read_only and sealed)],
        [*shared, *volumes],
        host=host,
    )
    return {**made, "hostPID": True} if _sees_processes(cache) else made


def ending(program: str = "") -> Json:
    """The lifecycle of a client's container; `program` is what its image unmounts with."""
    return {"preStop": {"exec": {"command": ["sh", "-c", f"{program}; {UNMOUNT}" if program else UNMOUNT]}}}


def _identity(cache: Cache, own: Sequence[Json]) -> list[Json]:
    """Whose client it is, by Fluid's names, which images may read."""
    kind = str(cache.runtime.get("kind", "")).removesuffix("Runtime").lower()
    said = {"TYPE": kind, "NS": cache.namespace, "NAME": cache.name}
    known = {each["name"] for each in own}
    return [literal(f"FLUID_RUNTIME_{k}", v) for k, v in said.items() if f"FLUID_RUNTIME_{k}" not in known]


def _sees_processes(cache: Cache) -> bool:
    """Fluid's annotation of a runtime whose client needs its node's process ids."""
    annotations = (cache.runtime.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(HOST_PID)).lower() in ("1", "t", "true")


def _remounter(cache: Cache, parent: str, read_only: bool) -> Json:
    """Outlives the client, and brings the next one's mount to the pods that have the dead one's.

    It also measures the mount against its sources: it is there anyway, and is our own program.
    """
    made: Json = {
        "name": "remount",
        "image": cache.image,
        "command": ["python", "-m", "runtimes.node.remount"],
        "args": [
            f"--mount-point={cache.mount_point}",
            f"--proc={PROC}",
            *(["--read-only"] if read_only else []),
        ],
        "securityContext": {"privileged": True},
        "volumeMounts": [
            mount("mounts", parent, propagation="Bidirectional"),
            mount("proc", PROC, read_only=True),
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


def root_only(cache: Cache) -> dict[str, str]:
    """What a client that mounts its one source as the root of the volume ignores (Backend.without_effect)."""
    if cache.sources[0].path == "/":
        return {}
    return {"Dataset.spec.mounts.path": "the one mount is the root of the volume"}


def probe(kind: str = "fuse") -> Json:
    """Ready once something of that kind, or of FUSE, is mounted and answers."""
    command = _MOUNTED.replace("fuse", "fuse" if kind.startswith("fuse") else f"\\(fuse\\|{kind}\\)")
    return {"exec": {"command": ["sh", "-c", command]}, "periodSeconds": 1, "timeoutSeconds": 5}
