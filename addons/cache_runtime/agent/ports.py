"""Ports in nodes' networks, which no two caches of a cluster may share.

The runtime object itself keeps what it was given, so nothing is to be given back when it goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from addon_framework.api.meta import Json
from addon_framework.kube import Client
from addons.cache_runtime.agent.backends import Binding
from runtimes.interface import PORTS_ANNOTATION, allocated

FIRST, LAST = 20000, 25999  # as Fluid's controllers have it


class NoPortLeftError(Exception):
    """All are given away."""


class Ports:
    """Gives runtimes their ports; remembers those that no informer has seen yet."""

    def __init__(self) -> None:
        self._given: dict[str, Json] = {}  # by uid

    async def ensure(self, client: Client, binding: Binding, runtimes: Iterable[Json]) -> bool:
        """Whether the runtime lacked any, and has them now. Raises NoPortLeftError, Conflict."""
        runtime, wanted = binding.runtime, binding.backend.host_ports(binding.cache)
        others = {runtime["metadata"]["uid"]: runtime for runtime in runtimes}
        self._given = {
            uid: given
            for uid, given in self._given.items()
            if uid in others and allocated(others[uid]) != allocated(given)
        }
        given = allocate(runtime, wanted, (others | self._given).values())
        if given is None:
            return False
        metadata = runtime["metadata"]
        self._given[metadata["uid"]] = {"metadata": {"uid": metadata["uid"], "annotations": given}}
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": given}}
        await client.patch(binding.backend.resource, metadata["name"], body, metadata["namespace"])
        return True


def allocate(runtime: Json, wanted: Sequence[str], others: Iterable[Json]) -> Json | None:
    """The annotations that the runtime lacks to have a port of each name; None when it lacks none.

    `others` are all runtimes of the cluster, this one or not. Raises NoPortLeftError.
    """
    own = {name: port for name, port in allocated(runtime).items() if name in wanted}
    if len(own) == len(set(wanted)):
        return None
    uid = runtime["metadata"].get("uid")
    taken = {p for other in others if other["metadata"].get("uid") != uid for p in allocated(other).values()}
    free = (port for port in range(FIRST, LAST + 1) if port not in taken and port not in own.values())
    for name in wanted:
        if name not in own:
            port = next(free, None)
            if port is None:
                raise NoPortLeftError(
                    f"no port from {FIRST} to {LAST} is left for {name}; use ContainerNetwork"
                )
            own[name] = port
    return {PORTS_ANNOTATION: json.dumps(own, sort_keys=True)}
