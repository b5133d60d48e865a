"""The description of the `efc` backend. Pure.

Clients need Alibaba Cloud's session manager on their nodes, as with Fluid, with its socket in
/runtime-mnt/efc-sock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from addon_framework.api.data import DataLoad, EFCRuntime
from runtimes.efc import checks, pods
from runtimes.fuse import ClientBackend, root_only
from runtimes.interface import Cache, Component, Service, Task
from runtimes.workloads import port_names
from runtimes.workloads import ports as ports_of


class EFCBackend(ClientBackend):
    """A master, workers that share the cache, and clients."""

    type = "efc"
    resource = EFCRuntime.RESOURCE

    def validate(self, cache: Cache) -> list[str]:
        """One source, of NAS or CPFS."""
        return checks.problems(cache)

    def without_effect(self, cache: Cache) -> Mapping[str, str]:
        """What is the NAS's affair."""
        return {**checks.WITHOUT_EFFECT, **root_only(cache)}

    def host_ports(self, cache: Cache) -> list[str]:
        """Of the workers."""
        return port_names(cache, "worker", pods.PORTS["worker"], host=pods.host(cache, "worker"))

    def components(self, cache: Cache) -> list[Component]:
        """Names are Fluid's."""
        used = ports_of(cache, "worker", pods.PORTS["worker"], host=pods.host(cache, "worker"))
        count, name = int(cache.spec.get("replicas") or 0) or 1, f"{cache.name}-worker"
        enabled = not (cache.spec.get("worker") or {}).get("disabled")
        found = (
            [f"{name}-{n}.{name}.{cache.namespace}:{used['rpc']}" for n in range(count)] if enabled else []
        )
        endpoints = {"efc-worker-endpoints.json": json.dumps({"containerendpoints": found})}
        maps = {f"{name}-endpoints": endpoints}
        made = [Component("client", pods.client(cache), config_maps=maps, follows=True)]
        if not (cache.spec.get("master") or {}).get("disabled"):
            masters = int((cache.spec.get("master") or {}).get("replicas") or 1)
            made.append(Component("master", pods.master(cache), masters))
        if enabled:
            made.append(Component("worker", pods.worker(cache, used), count, services=(Service(name, used),)))
        return made

    def warm(self, cache: Cache, load: DataLoad) -> Task | None:
        """EFC has no command for it; what is read is kept."""
        return None
