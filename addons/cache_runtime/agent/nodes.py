"""Labels on nodes: who holds a cache, who mounts it. They outlive pods, so that cleaning finds every node."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from addon_framework.api.core import NODES
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Key, NotFound, key_of
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import COUNT_LABEL, DATASETS, cache_node_label, client_node_label
from addons.cache_runtime.agent.node_labels import changes


class NodeLabels:
    """Writes them, only where they change."""

    def __init__(self, client: Client, cache: Callable[[Resource], AnyInformer]) -> None:
        self._client, self._cache = client, cache

    async def put(
        self, binding: Binding, node: Json, *, cache: bool, client: str, leaving: bool = False
    ) -> None:
        """Those of a node that holds a part of the cache, mounts it, both, or neither any more."""
        there: dict[str, str] = node["metadata"].get("labels") or {}
        changed = changes(binding, there, cache=cache, client=client, leaving=leaving)
        if not changed:
            return
        # With the number of caches on the node, which Fluid's labels have too.
        count = sum(1 for label in self._cache_labels() if {**there, **changed}.get(label) == "true")
        patch = {"metadata": {"labels": {**changed, COUNT_LABEL: str(count) if count else None}}}
        try:
            await self._client.patch(NODES, node["metadata"]["name"], patch)
        except NotFound:
            pass  # the node is gone, and its labels with it

    async def remove(self, binding: Binding) -> None:
        """From every node."""
        for node in self._cache(NODES):
            await self.put(binding, node, cache=False, client="")

    def _cache_labels(self) -> Iterable[str]:
        return {cache_node_label(key_of(each), each["metadata"]["uid"]) for each in self._cache(DATASETS)}


def relabelled(datasets: AnyInformer, old: Json | None, new: Json | None) -> set[Key]:
    """The Datasets of which a node has other labels now. What was judged by the old ones is judged again."""
    before, after = ((node["metadata"].get("labels") or {}) if node else {} for node in (old, new))
    changed = [label for label in {*before, *after} if before.get(label) != after.get(label)]
    datasets.add_index("node labels", _labels_of)
    return {key for label in changed for key in datasets.keys_by_index("node labels", label)}


def labelled(nodes: Iterable[Json], labels: Iterable[str]) -> list[str]:
    """Names of the nodes that have any of the labels."""
    wanted = set(labels)
    return sorted(n["metadata"]["name"] for n in nodes if wanted & (n["metadata"].get("labels") or {}).keys())


def _labels_of(dataset: Json) -> list[str]:
    key, uid = key_of(dataset), dataset["metadata"]["uid"]
    return [cache_node_label(key, uid), client_node_label(key, uid)]
