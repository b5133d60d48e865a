"""Labels on nodes: who holds a cache, who mounts it. They outlive pods, so that cleaning finds every node."""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.core import NODES
from addon_framework.api.meta import Json
from addon_framework.kube import Client, NotFound


async def set_label(client: Client, nodes: Iterable[Json], wanted: set[str], label: str) -> None:
    """Puts the label on those nodes of `wanted` that lack it. It stays: so does the cache."""
    for node in nodes:
        name = node["metadata"]["name"]
        if name in wanted and (node["metadata"].get("labels") or {}).get(label) != "true":
            await client.patch(NODES, name, {"metadata": {"labels": {label: "true"}}})


async def remove_labels(client: Client, nodes: Iterable[Json], labels: Iterable[str]) -> None:
    """Takes the labels off every node."""
    for node in nodes:
        there = {label: None for label in labels if label in (node["metadata"].get("labels") or {})}
        if there:
            try:
                await client.patch(NODES, node["metadata"]["name"], {"metadata": {"labels": there}})
            except NotFound:
                continue


def labelled(nodes: Iterable[Json], labels: Iterable[str]) -> list[str]:
    """Names of the nodes that have any of the labels."""
    wanted = set(labels)
    return sorted(n["metadata"]["name"] for n in nodes if wanted & (n["metadata"].get("labels") or {}).keys())
