"""Labels on nodes: who holds a cache, who mounts it. They outlive pods, so that cleaning finds every node."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from addon_framework.api.core import NODES
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, NotFound, key_of
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import COUNT_LABEL, DATASETS, cache_node_label
from addons.cache_runtime.agent.node_labels import changes


class NodeLabels:
    """Writes them, only where they change."""

    def __init__(self, client: Client, cache: Callable[[Resource], AnyInformer]) -> None:
        self._client, self._cache = client, cache

    async def put(
        self, binding: Binding, node: Json, *, cache: bool, client: str, leaving: bool = False
    ) -> bool:
        """Those of a node that holds a part of the cache, mounts it, both, or neither any more.

        Whether they were other ones: until the node comes back with them, its informer has the old ones.
        """
        there: dict[str, str] = node["metadata"].get("labels") or {}
        changed = changes(binding, there, cache=cache, client=client, leaving=leaving)
        if not changed:
            return False
        # With the number of caches on the node, which Fluid's labels have too.
        count = sum(1 for label in self._cache_labels() if {**there, **changed}.get(label) == "true")
        patch = {"metadata": {"labels": {**changed, COUNT_LABEL: str(count) if count else None}}}
        try:
            await self._client.patch(NODES, node["metadata"]["name"], patch)
        except NotFound:
            pass  # the node is gone, and its labels with it
        return True

    async def remove(self, binding: Binding) -> None:
        """From every node."""
        for node in self._cache(NODES):
            await self.put(binding, node, cache=False, client="")

    def _cache_labels(self) -> Iterable[str]:
        return {cache_node_label(key_of(each), each["metadata"]["uid"]) for each in self._cache(DATASETS)}


def labelled(nodes: Iterable[Json], labels: Iterable[str]) -> list[str]:
    """Names of the nodes that have any of the labels."""
    wanted = set(labels)
    return sorted(n["metadata"]["name"] for n in nodes if wanted & (n["metadata"].get("labels") or {}).keys())
