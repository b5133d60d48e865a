"""The description of the `vineyard` backend. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from addon_framework.api.data import DataLoad, VineyardRuntime
from addon_framework.api.meta import Json
from runtimes.interface import Backend, Cache, CacheState, Component, Service, Task, Volume, unknown
from runtimes.node.command import clean_pod
from runtimes.tiers import node_directories, tier_problems, tiers
from runtimes.vineyard import pods
from runtimes.workloads import memory_problems, port_names, port_problems, volume_problems


class VineyardBackend(Backend):
    """etcd, workers that keep objects, and on every node a socket to reach them through."""

    type = "vineyard"
    resource = VineyardRuntime.RESOURCE

    def validate(self, cache: Cache) -> list[str]:
        """No mounts, memory first, and options that mean something."""
        master, title = cache.spec.get("master") or {}, cache.title
        problems = [*tier_problems(cache), *volume_problems(cache, ("master", "worker"))]
        if cache.sources:
            problems.append(
                f"Dataset {cache.namespace}/{cache.name}: spec.mounts: Vineyard reads no source; its objects "
                "come from its clients"
            )
        if not problems:
            problems += [*self._tier_problems(cache), *memory_problems(cache)]
        for part, known in pods.PARTS.items():
            problems += port_problems(cache, part, [*known, *(["exporter"] if part == "worker" else [])])
        outside = master.get("endpoint") or {}
        problems += [
            f"{title}: spec.master.endpoint.{name}: vineyardd connects to etcd without any"
            for name in ("options", "encryptOptions")
            if outside.get(name)
        ]
        if outside and not outside.get("uri"):
            problems.append(f"{title}: spec.master.endpoint.uri: is needed")
        options = {"master": pods.OPTIONS, "worker": pods.OPTIONS, "fuse": pods.FUSE_OPTIONS}
        for part, names in options.items():
            given = (cache.spec.get(part) or {}).get("options") or {}
            problems += [
                f"{title}: spec.{part}.options.{name}: is unknown; known are {', '.join(names)}"
                for name in unknown(names, given)
            ]
        if (cache.spec.get("worker") or {}).get("replicas"):
            problems.append(f"{title}: spec.worker.replicas: is spec.replicas")
        return problems

    def without_effect(self, cache: Cache) -> Mapping[str, str]:
        """What is of mounts and files."""
        return {
            "Dataset.spec.owner": "Vineyard has objects, not files",
            "Dataset.spec.sharedOptions": "there are no mounts",
            "Dataset.spec.sharedEncryptOptions": "there are no mounts",
            "spec.worker.ports.exporter": "no exporter runs beside vineyardd, as with Fluid",
        }

    def host_ports(self, cache: Cache) -> list[str]:
        """Of etcd and of workers in their nodes' networks."""
        parts = ["worker"] if self._outside(cache) else ["master", "worker"]
        return [
            name
            for part in parts
            for name in port_names(cache, part, pods.PARTS[part], host=pods.host(cache, part))
        ]

    def components(self, cache: Cache) -> list[Component]:
        """Names are Fluid's."""
        used = pods.ports(cache)
        rpc = {f"{cache.name}-rpc-conf": {"VINEYARD_RPC_ENDPOINT": pods.rpc_endpoints(cache)}}
        made = [] if self._outside(cache) else [self._master(cache, used["master"])]
        service = Service(f"{cache.name}-worker", used["worker"])
        return [
            *made,
            Component("worker", pods.worker(cache), pods.workers(cache), services=(service,)),
            Component("client", pods.client(cache), config_maps=rpc, follows=True),
        ]

    def volume(self, cache: Cache) -> Volume:
        """A directory with a socket; nothing is there before the client has put it there."""
        return Volume(pods.shown(cache), after="client", mounted=True)

    def warm(self, cache: Cache, load: DataLoad) -> Task | None:
        """There is no source."""
        return None

    def clean(self, cache: Cache) -> Task:
        """Sockets, and what was spilt."""
        return Task(
            clean_pod(cache.image, remove=[pods.shown(cache), cache.mount_point, *node_directories(cache)])
        )

    def scale(self, cache: Cache) -> int | None:
        """Its workers."""
        return pods.workers(cache)

    def state(self, cache: Cache, reports: Sequence[Json]) -> CacheState:
        """Every object is on one node."""
        if not reports:
            return CacheState()
        cached, capacity = (sum(int(said.get(n) or 0) for said in reports) for n in ("cached", "capacity"))
        return CacheState(cached=cached, capacity=capacity)

    def _master(self, cache: Cache, ports: dict[str, int]) -> Component:
        service = Service(f"{cache.name}-master", ports)
        return Component("master", pods.master(cache), pods.masters(cache), services=(service,))

    def _outside(self, cache: Cache) -> bool:
        return bool(((cache.spec.get("master") or {}).get("endpoint") or {}).get("uri"))

    def _tier_problems(self, cache: Cache) -> list[str]:
        where, levels = f"{cache.title}: spec.tieredstore.levels", tiers(cache)
        if not levels or levels[0].medium != "MEM":
            return [f"{where}: one of MEM is needed; objects are in memory"]
        spills = levels[1:]
        if len(spills) > 1 or any(len(tier.paths) > 1 for tier in spills):
            return [f"{where}: vineyardd spills into one directory"]
        if levels[0].high or levels[0].low:
            return [f"{where}: high and low are of the tier that memory is spilt to"]
        return []
