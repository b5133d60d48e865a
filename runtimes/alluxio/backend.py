"""The description of the `alluxio` backend. Pure but for `measure`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from addon_framework.api.data import AlluxioRuntime, DataLoad
from runtimes.alluxio import backup, commands, pods
from runtimes.alluxio.properties import java_options, listed
from runtimes.interface import (
    Backend,
    Backup,
    Cache,
    CacheState,
    Component,
    Exec,
    Migration,
    SecretKey,
    Service,
    Task,
    Volume,
)
from runtimes.loading import option_problems, variables
from runtimes.measure import measure
from runtimes.migrate import migrate_task
from runtimes.node.command import clean_pod
from runtimes.pods import literal
from runtimes.tiers import node_directories, tier_problems
from runtimes.workloads import memory_problems, port_names, port_problems, secret_options, volume_problems

_SCRAPED = {"monitor": "alluxio_runtime_metrics"}  # what Fluid's ServiceMonitor looks for
_REPLICAS = {  # of what follows another part
    "jobMaster": "spec.master.replicas",
    "apiGateway": "spec.master.replicas",
    "worker": "spec.replicas",
    "jobWorker": "spec.replicas",
}
_TIMEOUT = 120.0  # seconds that a script may take; each command of Alluxio's starts a Java machine


class AlluxioBackend(Backend):
    """Masters, workers that share the cache, and clients."""

    type = "alluxio"
    resource = AlluxioRuntime.RESOURCE
    restores = True

    def validate(self, cache: Cache) -> list[str]:
        """Sources, tiers, and what the parts say."""
        title, spec = cache.title, cache.spec
        problems = [*tier_problems(cache), *memory_problems(cache), *_sources(cache)]
        problems += volume_problems(cache, (*pods.PARTS, "fuse"))
        for part, known in pods.PARTS.items():
            problems += port_problems(cache, part, known)
        if (count := pods.masters(cache)) not in (1, 3, 5):
            problems.append(f"{title}: spec.master.replicas: {count} masters cannot vote; 1, 3 or 5 can")
        problems += [
            f"{title}: spec.{part}.{field}: it is in the pod of spec.{other}, which says it"
            for part, other in pods.GUESTS.items()
            for field in ("networkMode", "nodeSelector", "podMetadata", "imagePullSecrets")
            if (said := (spec.get(part) or {}).get(field)) and said != (spec.get(other) or {}).get(field)
        ]
        problems += [
            f"{title}: spec.{part}.replicas: is {other}"
            for part, other in _REPLICAS.items()
            if (spec.get(part) or {}).get("replicas")
        ]
        for part in ("", *pods.PARTS, "fuse"):
            section, where = (spec.get(part) or {}, f"spec.{part}") if part else (spec, "spec")
            problems += [
                f"{title}: {where}.properties.{name}: {value!r} has spaces, which Java's options cannot"
                for name, value in (section.get("properties") or {}).items()
                if any(c.isspace() for c in value)
            ]
        return problems

    def host_ports(self, cache: Cache) -> list[str]:
        """Of masters and workers in their nodes' networks."""
        return [
            name
            for part, known in pods.parts(cache).items()
            for name in port_names(cache, part, known, host=pods.host(cache, part))
        ]

    def components(self, cache: Cache) -> list[Component]:
        """Names are Fluid's: a Service for each master, since that is how they find each other."""
        used, count = pods.ports(cache), pods.masters(cache)
        options = java_options(cache, used, host=pods.host(cache, "worker"))
        for name, value in backup.journal(cache).items():
            options["ALLUXIO_MASTER_JAVA_OPTS"] += f" -D{name}={value}"
        config, master = {f"{cache.name}-config": options}, pods.master(cache, used)
        backup.keep(cache, master)
        jobs = {f"job-{name}": port for name, port in used["jobMaster"].items()}
        opened = {**used["master"], **jobs, **used["apiGateway"]}
        names = [f"{cache.name}-master-{n}" for n in range(count)]
        scraped = {} if cache.spec.get("disablePrometheus") else _SCRAPED
        services = [Service(name, opened, pod=name, labels=scraped) for name in names]
        return [
            Component("master", master, count, config_maps=config, services=services),
            Component("worker", pods.worker(cache, used), int(cache.spec.get("replicas") or 0) or 1),
            Component("client", pods.client(cache)),
        ]

    def volume(self, cache: Cache) -> Volume:
        """The mount of the client."""
        return Volume(cache.mount_point, after="client")

    def prepare(self, cache: Cache) -> Exec:
        """Mounts the sources."""
        return Exec("master", ["bash", "-c", commands.mount_all(cache)], _TIMEOUT)

    def summary(self, cache: Cache) -> Exec:
        """The master knows."""
        return Exec("master", ["bash", "-c", commands.SUMMARY], _TIMEOUT)

    def summarize(self, cache: Cache, output: str) -> CacheState:
        """Of all workers together."""
        return commands.state(output)

    def warm(self, cache: Cache, load: DataLoad) -> Task:
        """The workers share the files out, so one asks for them."""
        data = cache.spec.get("data") or {}
        env = [
            *variables(load, int(data.get("replicas") or 0) or 1),
            literal("METADATA", "true" if load.spec.load_metadata else ""),
            literal("PIN", "true" if data.get("pin") else ""),
        ]
        return Task(pods.load(cache, commands.LOAD, env), once=True)

    def load_problems(self, cache: Cache, load: DataLoad) -> list[str]:
        """Its command has no options."""
        return option_problems(load, ())

    def clean(self, cache: Cache) -> Task:
        """The mount, and the directories of the tiers."""
        directories = [*node_directories(cache), backup.place(cache)]
        return Task(clean_pod(cache.image, unmount=[cache.mount_point], remove=directories))

    def scale(self, cache: Cache) -> int:
        """Its workers."""
        return int(cache.spec.get("replicas") or 0) or 1

    def hcfs(self, cache: Cache) -> str:
        """For Hadoop's clients."""
        return f"alluxio://{cache.name}-master-0.{cache.namespace}:{pods.ports(cache)['master']['rpc']}"

    def gateway(self, cache: Cache) -> str:
        """For clients that speak REST."""
        rest = pods.ports(cache)["apiGateway"].get("rest")
        return f"{cache.name}-master-0.{cache.namespace}:{rest}" if rest else ""

    def migrate(self, cache: Cache, migration: Migration) -> Task | str:
        """By our own program."""
        return migrate_task(cache, migration)

    def backup(self, cache: Cache, wanted: Backup) -> Task | str:
        """The journal."""
        return backup.task(cache, wanted)

    async def measure(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> tuple[int, int] | None:
        """What S3 and the web say; other sources are opaque."""
        return await asyncio.to_thread(measure, listed(cache), secrets)


def _sources(cache: Cache) -> list[str]:
    where = f"Dataset {cache.namespace}/{cache.name}: spec.mounts"
    paths = [source.path for source in cache.sources]
    problems = [] if paths else [f"{where}: at least one is needed"]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    problems += [f"{where}: two have the path {path}" for path in twice]
    for number, path in enumerate(paths):
        if " " in path or (path == "/" and len(paths) > 1):
            problems.append(f"{where}[{number}].path: {path!r} must be /name, without spaces")
    try:
        secret_options(cache.sources)
    except ValueError as error:
        problems.append(
            f"{where}: encryptOptions {error}: Alluxio has one value for all mounts; name one Secret, or "
            "make a Dataset of each"
        )
    return problems
