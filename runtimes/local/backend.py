"""The description of the `local` backend."""

from __future__ import annotations

from collections.abc import Mapping

from addon_framework.api.data import DataLoad, LocalRuntime
from addon_framework.api.meta import Json
from runtimes import backup_pods
from runtimes.interface import Backup, Cache, Component, Service, Source, Task, Volume
from runtimes.loading import option_problems
from runtimes.local import checks, pods
from runtimes.local.peers import PORT
from runtimes.local.place import NODE_TABLE
from runtimes.node.command import clean_pod
from runtimes.pods import field, host_path, literal, mount, overrides
from runtimes.schemes import NAMELESS
from runtimes.source import SCHEMES
from runtimes.sources import SourceBackend


class LocalBackend(SourceBackend):
    """A full copy on each node, in a directory that pods mount as it is."""

    type = "local"
    resource = LocalRuntime.RESOURCE
    restores = True

    def validate(self, cache: Cache) -> list[str]:
        """Sources it can read, options it knows, one directory, and read-only."""
        return checks.problems(cache)

    def lists(self, source: Source) -> bool:
        """Not what is on a node or in a claim, nor what might let the agent in by its own identity."""
        if source.scheme in SCHEMES or source.scheme in NAMELESS:
            return source.scheme not in pods.NEAR
        return bool(source.secrets) and source.scheme != "pvc"

    def without_effect(self, cache: Cache) -> Mapping[str, str]:
        """What a copy has no use for."""
        return checks.WITHOUT_EFFECT

    def components(self, cache: Cache) -> list[Component]:
        """A worker on each node of the cache."""
        pod = pods.pod(cache, "runtimes.local.worker", {}, credentials=False)
        pod["volumes"].append(host_path("node-table", "/proc/1/mountinfo", ""))
        pod["containers"][0]["volumeMounts"].append(mount("node-table", str(NODE_TABLE), read_only=True))
        pod |= overrides(cache.spec.get("worker") or {})
        if not pods.shares(cache):
            return [Component("worker", pod, self.scale(cache))]
        pod["containers"][0]["env"].append(field("POD_IP", "status.podIP"))
        pod["containers"][0]["ports"] = [{"name": "peers", "containerPort": PORT}]
        service = Service(pods.service(cache), {"peers": PORT})
        # Workers elsewhere, such as another cluster's, have no labels here.
        private = not pods.peers(cache).get("addresses")
        return [Component("worker", pod, self.scale(cache), services=[service], private=private)]

    def volume(self, cache: Cache) -> Volume:
        """At once: the directory shows complete files only, and a pod may wait for those it needs."""
        return Volume(f"{cache.directory}/data")

    def warm(self, cache: Cache, load: DataLoad) -> Task:
        """The loader, which shares its directory with the worker."""
        extra: Json = {"targets": [target.path for target in load.spec.target] or ["/"]}
        if load.spec.options.get("threads"):
            extra["threads"] = int(load.spec.options["threads"])
        if load.spec.options.get("pin") == "true":
            extra["pin"] = True
        if given := checks.givers(load):
            extra["from"] = given
            extra["listing"] = load.spec.options.get("listing") == "cache"
        return Task(pods.pod(cache, "runtimes.local.loader", extra, credentials=True))

    def load_problems(self, cache: Cache, load: DataLoad) -> list[str]:
        """Options; each load lists the source anew, so `loadMetadata` needs nothing more."""
        return [
            *option_problems(load, ("threads", "pin", "from", "listing")),
            *checks.from_problems(cache, load),
        ]

    def clean(self, cache: Cache) -> Task:
        """Removes the directory."""
        return Task(clean_pod(cache.image, remove=[cache.directory]))

    def backup(self, cache: Cache, backup: Backup) -> Task:
        """What is there, with checksums; the files too, if wanted."""
        volume, mounted = backup_pods.volume(backup.url, read_only=False)
        container = {
            "name": "backup",
            "image": cache.image,
            "command": ["python", "-m", "runtimes.local.backup"],
            "env": [
                literal("DIRECTORY", cache.directory),
                literal("CONTENTS", str(backup.contents).lower()),
                *backup_pods.variables(cache, backup),
            ],
            "volumeMounts": [mount("cache", cache.directory, read_only=True), mounted],
        }
        return Task({"containers": [container], "volumes": [host_path("cache", cache.directory), volume]})
