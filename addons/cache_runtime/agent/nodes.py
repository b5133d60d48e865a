"""Labels on nodes: who holds a cache, who mounts it. They outlive pods, so that cleaning finds every node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from addon_framework.api.core import NODES
from addon_framework.api.meta import Json
from addon_framework.kube import Client, NotFound
from addons.cache_runtime.agent.names import COUNT_LABEL, is_cache_label


async def set_label(client: Client, nodes: Iterable[Json], wanted: set[str], label: str) -> None:
    """Puts the label on those nodes of `wanted` that lack it. It stays: so does the cache."""
    for node in nodes:
        name = node["metadata"]["name"]
        if name in wanted and (node["metadata"].get("labels") or {}).get(label) != "true":
            await _patch(client, node, {label: "true"})


async def remove_labels(client: Client, nodes: Iterable[Json], labels: Iterable[str]) -> None:
    """Takes the labels off every node."""
    for node in nodes:
        there: dict[str, str | None] = {
            label: None for label in labels if label in (node["metadata"].get("labels") or {})
        }
        if there:
            try:
                await _patch(client, node, there)
            except NotFound:
                continue


def labelled(nodes: Iterable[Json], labels: Iterable[str]) -> list[str]:
    """Names of the nodes that have any of the labels."""
    wanted = set(labels)
    return sorted(n["metadata"]["name"] for n in nodes if wanted & (n["metadata"].get("labels") or {}).keys())


async def _patch(client: Client, node: Json, labels: Mapping[str, str | None]) -> None:
    """With the number of caches on the node, which Fluid's labels have too."""
    after = {**(node["metadata"].get("labels") or {}), **labels}
    caches = sum(1 for label, value in after.items() if is_cache_label(label) and value == "true")
    changed = {**labels, COUNT_LABEL: str(caches) if caches else None}
    await client.patch(NODES, node["metadata"]["name"], {"metadata": {"labels": changed}})
