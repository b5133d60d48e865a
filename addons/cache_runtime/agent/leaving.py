"""Nodes that a cache has left: fewer workers, or other nodes for them. Their part goes when nobody reads it.

A node has left when all that hold the cache (workers, or clients that are tied to their nodes) are ready and
none is there: until then one may come back to its files. First its label says LEAVING, so that no new pod is
scheduled to it; then a job cleans it; then the labels go.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from addon_framework.api.core import NODES, PODS, STATEFULSETS
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Key
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.cleaning import Cleaner
from addons.cache_runtime.agent.clients import Clients
from addons.cache_runtime.agent.names import (
    LEAVING,
    cache_node_label,
    dataset_key,
    role_of,
)
from addons.cache_runtime.agent.nodes import NodeLabels
from runtimes.presence import holder

_WHY = "left"
_GRACE = 2.0  # seconds from a node's label LEAVING until what was bound to the node by the old one is known


class Leaving:
    """Labels all nodes of a cache, and cleans those that it has left."""

    def __init__(
        self,
        cache: Callable[[Resource], AnyInformer],
        labels: NodeLabels,
        cleaner: Cleaner,
        users: Callable[[Key, str], list[str]],
        clients: Clients,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache, self._labels, self._cleaner, self._users = cache, labels, cleaner, users
        self._clients, self._clock = clients, clock
        self._left: dict[Key, dict[str, float]] = {}  # since when a node is seen to be LEAVING

    async def step(self, binding: Binding, key: Key) -> tuple[float | None, str]:
        """When to come again, and on which nodes pods are waited for. Labels, pods and jobs wake us too."""
        uid, pods = binding.dataset["metadata"]["uid"], self._pods(key)
        role = holder(binding.backend, binding.cache)
        holders, clients = _nodes(pods, role), _nodes(pods, "client")
        settled, again, waiting = self._settled(key, role, pods), [], []

        async def put(node: Json, *, cache: bool, client: str, leaving: bool = False) -> None:
            await self._labels.put(binding, node, cache=cache, client=client, leaving=leaving)

        client_of = self._clients.labels(binding, key, [pod for pod in pods if role_of(pod) == "client"])
        for node in self._cache(NODES):
            name, there = node["metadata"]["name"], node["metadata"].get("labels") or {}
            client = client_of(node)
            said = there.get(cache_node_label(key, uid))
            if said is None and role == "client":
                said = client or None
            if said != LEAVING:
                self._left.get(key, {}).pop(name, None)
            if name in holders:
                if said == LEAVING:
                    await self._cleaner.forget(binding, name, _WHY)
                await put(node, cache=True, client=client)
            elif said is None:
                if client:
                    await put(node, cache=False, client=client)
            elif not settled:
                await put(node, cache=said != LEAVING, client=client, leaving=said == LEAVING)
            elif users := self._users(key, name):
                waiting.append(f"node {name} while pods {', '.join(users)} use it")
            elif any(name == pod["spec"].get("nodeName") and role_of(pod) != "client" for pod in pods):
                pass  # an operation works there
            elif name in clients:  # a mount that lives reads from its directory, which goes with it
                await put(node, cache=False, client=client)
            elif said != LEAVING:
                await put(node, cache=False, client="" if role == "client" else client, leaving=True)
            elif (left := self._grace(key, name)) > 0:
                again.append(left)
            else:
                await self._cleaner.clean(binding, name, _WHY)
                if self._cleaner.succeeded(binding, name, _WHY):
                    await put(node, cache=False, client="")
                    await self._cleaner.forget(binding, name, _WHY)
        return min(again, default=None), "; ".join(waiting)

    def forget(self, key: Key) -> None:
        """A Dataset that is gone."""
        self._left.pop(key, None)

    def _grace(self, key: Key, node: str) -> float:
        """Seconds for which a scheduler may not have seen the label yet, nor we what it has bound."""
        since = self._left.setdefault(key, {}).setdefault(node, self._clock())
        return since + _GRACE - self._clock()

    def _pods(self, key: Key) -> list[Json]:
        """Ours that have not ended, but those that clean."""
        return [
            pod
            for pod in self._cache(PODS)
            if dataset_key(pod) == [key]
            and role_of(pod) != "clean"
            and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        ]

    def _settled(self, key: Key, role: str, pods: list[Json]) -> bool:
        """Whether every holder is where it stays. A cache of no workers keeps its files until it has some."""
        running = [p for p in pods if role_of(p) == role and not p["metadata"].get("deletionTimestamp")]
        count = 0
        for obj in self._cache(STATEFULSETS):
            if dataset_key(obj) != [key] or role_of(obj) != role:
                continue
            said, replicas = obj.get("status") or {}, int(obj["spec"].get("replicas", 1))
            current = said.get("observedGeneration") == obj["metadata"].get("generation")
            if not current or any(said.get(n, 0) != replicas for n in ("replicas", "readyReplicas")):
                return False
            count += replicas
        return 0 < count == len(running) and all(p["spec"].get("nodeName") for p in running)


def _nodes(pods: list[Json], role: str) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in pods if role_of(pod) == role and pod["spec"].get("nodeName")}
