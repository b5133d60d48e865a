"""The description of the `jindo` backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from addon_framework.api.data import DataLoad, JindoRuntime
from runtimes.fuse import ClientBackend
from runtimes.interface import Cache, CacheState, Component, Exec, Service, Task
from runtimes.jindo import checks, commands, pods
from runtimes.jindo.config import files, masters, read_by, tier
from runtimes.loading import option_problems, variables
from runtimes.pods import literal
from runtimes.sources import SourceBackend
from runtimes.workloads import configured, port_names

_TIMEOUT = 60.0  # seconds that a command of Jindo's may take


class JindoBackend(ClientBackend, SourceBackend):
    """A master or three, workers that share the cache, and a client on every node with users."""

    type = "jindo"
    resource = JindoRuntime.RESOURCE

    def validate(self, cache: Cache) -> list[str]:
        """Sources, tiers, and what the parts say."""
        return checks.problems(cache)

    def without_effect(self, cache: Cache) -> Mapping[str, str]:
        """What Fluid ignores, too."""
        return checks.WITHOUT_EFFECT

    def host_ports(self, cache: Cache) -> list[str]:
        """When it is in its nodes' networks."""
        known = pods.known_ports(cache)
        return [
            name for part in known for name in port_names(cache, part, known[part], host=pods.host(cache))
        ]

    def components(self, cache: Cache) -> list[Component]:
        """Names are Fluid's: a Service for each master."""
        used, prefix = pods.ports(cache), f"{cache.name}-jindofs"
        client = Component(
            "client",
            pods.client(cache),
            name=f"{prefix}-fuse",
            labels=_labels(cache, "fuse"),
            annotations={**configured(read_by(cache, "client", used)), **_scraped(cache)},
        )
        config = {f"{prefix}-config": files(cache, used)}
        if _alone(cache):
            return [replace(client, config_maps=config)]
        names = [name.partition(".")[0] for name in masters(cache)]
        master = Component(
            "master",
            pods.master(cache),
            len(names),
            name=f"{prefix}-master",
            config_maps=config,
            services=[Service(name, used["master"], pod=name) for name in names],
            labels=_labels(cache, "master"),
            annotations=configured(read_by(cache, "master", used)),
        )
        worker = Component(
            "worker",
            pods.worker(cache),
            self.scale(cache),
            name=f"{prefix}-worker",
            labels=_labels(cache, "worker"),
            annotations=configured(read_by(cache, "worker", used)),
        )
        return [master, worker, client]

    def prepare(self, cache: Cache) -> Exec | None:
        """Mounts the sources."""
        if _alone(cache):
            return None
        return Exec("master", ["bash", "-c", commands.mount_all(cache)], _TIMEOUT)

    def summary(self, cache: Cache) -> Exec | None:
        """The master knows."""
        if _alone(cache):
            return None
        script = commands.summary(cache, count=not self.listed(cache))
        return Exec("master", ["bash", "-c", script], _TIMEOUT)

    def summarize(self, cache: Cache, output: str) -> CacheState:
        """Of all workers together."""
        return commands.state(output, memory=tier(cache).medium == "MEM")

    def warm(self, cache: Cache, load: DataLoad) -> Task | None:
        """The workers share the files out, so one asks for them."""
        if _alone(cache):
            return None
        said = commands.flags(load, memory=tier(cache).medium == "MEM")
        env = [*variables(load), literal("FLAGS", said)]
        return Task(pods.load(cache, commands.LOAD, env), once=True)

    def load_problems(self, cache: Cache, load: DataLoad) -> list[str]:
        """Options of `jindocache -load`."""
        return option_problems(load, commands.OPTIONS)

    def directories(self, cache: Cache) -> list[str]:
        """Of the tier, which there is without one being named."""
        return list(tier(cache).paths) if tier(cache).on_node else []

    def scale(self, cache: Cache) -> int:
        """Its workers."""
        return int(cache.spec.get("replicas") or 0) or 1

    def hcfs(self, cache: Cache) -> str:
        """For Hadoop's clients."""
        return "" if _alone(cache) else f"{masters(cache)[0]}:{pods.ports(cache)['master']['rpc']}"

    def listed(self, cache: Cache) -> bool:
        """Where we have the keys, too: those of spec.secret are Jindo's own."""
        return super().listed(cache) and not cache.spec.get("secret")


def _alone(cache: Cache) -> bool:
    """Whether there are clients only, which read the source themselves."""
    return bool((cache.spec.get("master") or {}).get("disabled"))


def _scraped(cache: Cache) -> dict[str, str]:
    """What Fluid's PodMonitor looks for."""
    metrics = (cache.spec.get("fuse") or {}).get("metrics") or {}
    return {"prometheus.fuse.fluid.io/scrape": "true"} if metrics.get("scrapeTarget") == "MountPod" else {}


def _labels(cache: Cache, part: str) -> dict[str, str]:
    """Those that the runtime names as it once did, and Fluid's, which are not of its name for the kind."""
    said = {**(cache.spec.get("labels") or {}), **((cache.spec.get(part) or {}).get("labels") or {})}
    return {**said, "app": "jindofs", "role": f"jindofs-{part}"}
