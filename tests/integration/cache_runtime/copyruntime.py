"""A cache backend from nothing: docs/write-a-cache-runtime.md explains it.

A CopyRuntime keeps what lies in a directory of the nodes, such as an NFS mount, on their own disks.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.data import LOCAL_GROUP, DataLoad
from addon_framework.api.data.runtimes import RuntimeStatus
from addon_framework.api.meta import Definition, Json, ObjectMeta, Resource, Struct, schema
from runtimes.interface import Backend, Cache, Component, Task, Volume
from runtimes.node.command import clean_pod
from runtimes.pods import host_path, literal, mount

IMAGE = "debian"
# What `du` counts are whole files alone, since others are not in `data` yet.
KEEP = """
mkdir -p "$CACHE/data"
while true; do
  now=$(find "$CACHE/data" -type f -printf '%s\\n' | awk '{ sum += $1 } END { printf "%d", sum }')
  [ "$now" = "${last:-}" ] || printf '{"report": "state", "cached": %s}\\n' "$now"
  last=$now
  sleep 1
done
"""
COPY = """
set -eu
say() { printf '{"report": "%s", "time": %s%s}\\n' "$1" "$(date +%s)" "$2"; }
mkdir -p "$CACHE/data" "$CACHE/part"
cd /source
count=$(find . -type f | wc -l)
size=$(find . -type f -printf '%s\\n' | awk '{ sum += $1 } END { printf "%d", sum }')
say start ", \\"total\\": $size, \\"totalFiles\\": $count"
find . -type f -print0 | while IFS= read -r -d '' file; do
  mkdir -p "$CACHE/data/$(dirname "$file")" && cp "$file" "$CACHE/part/file" &&
    mv "$CACHE/part/file" "$CACHE/data/$file" || exit 1
done || { say failed ', "reason": "CopyFailed", "message": "the log of the pod says why"'; exit 1; }
say progress ", \\"bytes\\": $size, \\"files\\": $count"
say done ''
"""


class CopyRuntimeSpec(Struct, frozen=True):
    """0 nodes are all that fit."""

    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0


class CopyRuntime(Struct, frozen=True):
    """Copies of a directory of the nodes."""

    RESOURCE: ClassVar = Resource(LOCAL_GROUP, "v1alpha1", "copyruntimes", "CopyRuntime")
    DEFINITION: ClassVar = Definition(places=("spoke",))

    metadata: ObjectMeta = ObjectMeta()
    spec: CopyRuntimeSpec = CopyRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()


class CopyBackend(Backend):
    """Every node of the cache has all files."""

    type = "copy"
    resource = CopyRuntime.RESOURCE

    def validate(self, cache: Cache) -> list[str]:
        """One directory, read only, no options."""
        where = f"Dataset {cache.namespace}/{cache.name}: spec"
        if len(cache.sources) != 1:
            return [f"{where}.mounts: exactly one is needed, there are {len(cache.sources)}"]
        source, problems = cache.sources[0], []
        if not source.url.startswith("local:///"):
            problems.append(f"{where}.mounts[0].mountPoint: {source.url!r} must be local:///directory")
        if source.options or source.secrets:
            problems.append(f"{where}.mounts[0].options: a directory has none")
        if not cache.read_only:
            problems.append(f"{where}.accessModes: {cache.title} is a copy: only ReadOnlyMany is possible")
        return problems

    def components(self, cache: Cache) -> list[Component]:
        """A worker that says how much there is."""
        return [Component("worker", self._pod(cache, KEEP), self.scale(cache))]

    def volume(self, cache: Cache) -> Volume:
        """Files appear when they are whole, so there is nothing to wait for."""
        return Volume(f"{cache.directory}/data")

    def warm(self, cache: Cache, load: DataLoad) -> Task:
        """Once on each node."""
        pod = self._pod(cache, COPY)
        pod["volumes"].append(host_path("source", cache.sources[0].url.removeprefix("local://"), "Directory"))
        pod["containers"][0]["volumeMounts"].append(mount("source", "/source", read_only=True))
        return Task(pod)

    def load_problems(self, cache: Cache, load: DataLoad) -> list[str]:
        """All is copied, and there is nothing to choose."""
        named = {"spec.options": load.spec.options, "spec.target": load.spec.target}
        return [f"{field}: a CopyRuntime copies everything" for field, given in named.items() if given]

    def clean(self, cache: Cache) -> Task:
        """The copies go."""
        return Task(clean_pod(cache.image, remove=[cache.directory]))

    def _pod(self, cache: Cache, script: str) -> Json:
        container = {
            "name": "copy",
            "image": IMAGE,
            "command": ["bash", "-c", script],
            "env": [literal("CACHE", cache.directory)],
            "volumeMounts": [mount("cache", cache.directory)],
        }
        return {"containers": [container], "volumes": [host_path("cache", cache.directory)]}
