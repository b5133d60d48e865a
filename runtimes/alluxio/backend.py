"""The description of the `alluxio` backend."""

from __future__ import annotations

from dataclasses import replace

from addon_framework.api.data import AlluxioRuntime, DataLoad
from runtimes.alluxio import backup, checks, commands, pods
from runtimes.alluxio.properties import java_options, read_by
from runtimes.counting import is_counted
from runtimes.fuse import ClientBackend
from runtimes.interface import Backup, Cache, CacheState, Component, Exec, Service, Task
from runtimes.loading import option_problems, variables
from runtimes.pods import literal
from runtimes.sources import SourceBackend
from runtimes.workloads import configured, port_names

_SCRAPED = {"monitor": "alluxio_runtime_metrics"}  # what Fluid's ServiceMonitor looks for
_TIMEOUT = 120.0  # seconds that a script may take; each command of Alluxio's starts a Java machine


class AlluxioBackend(ClientBackend, SourceBackend):
    """Masters, workers that share the cache, and clients."""

    type = "alluxio"
    resource = AlluxioRuntime.RESOURCE
    restores = True

    def validate(self, cache: Cache) -> list[str]:
        """Sources, tiers, and what the parts say."""
        return checks.problems(cache)

    def host_ports(self, cache: Cache) -> list[str]:
        """Of masters and workers in their nodes' networks."""
        return [
            name
            for part, known in pods.parts(cache).items()
            for name in port_names(
                cache, part, known, host=pods.host(cache, part), given=pods.given_ports(cache, part)
            )
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
        made = [
            Component("master", master, count, config_maps=config, services=services),
            Component("worker", pods.worker(cache, used), int(cache.spec.get("replicas") or 0) or 1),
            Component("client", pods.client(cache)),
        ]
        return [replace(part, annotations=configured(read_by(part.role, options))) for part in made]

    def prepare(self, cache: Cache) -> Exec:
        """Mounts the sources."""
        return Exec("master", ["bash", "-c", commands.mount_all(cache)], _TIMEOUT)

    def summary(self, cache: Cache) -> Exec:
        """The master knows; and it counts what we cannot list."""
        script = commands.summary(cache, count=is_counted(cache) and not self.listed(cache))
        return Exec("master", ["bash", "-c", script], _TIMEOUT)

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

    def directories(self, cache: Cache) -> list[str]:
        """Of the tiers, and of the master's backups."""
        return [*super().directories(cache), backup.place(cache)]

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

    def backup(self, cache: Cache, wanted: Backup) -> Task | str:
        """The journal."""
        return backup.task(cache, wanted)
