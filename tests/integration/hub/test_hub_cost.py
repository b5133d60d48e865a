"""Prices move a placement: from claims and from the price book, against an API server."""

from __future__ import annotations

from typing import Any

from addon_framework.api.cluster import (
    AddOnPlacementScore,
    ManagedCluster,
    ManagedClusterSetBinding,
    Placement,
    PlacementDecision,
)
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CONFIGMAPS, EVENTS
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.kube import Client, NotFound
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import binding, labelled, placement, score_policy


async def test_the_cheapest_cluster_is_chosen(hub: Hub, client: Client, namespace: str) -> None:
    one, two = sorted([await hub.cluster(cost=namespace), await hub.cluster(cost=namespace)])
    await client.create(ManagedClusterSetBinding.RESOURCE, binding(namespace))
    spec: dict[str, Any] = {
        "numberOfClusters": 1,
        "predicates": labelled("cost", namespace),
        "prioritizerPolicy": score_policy("cost", "gpuHour"),
    }
    await client.create(Placement.RESOURCE, placement(namespace, **spec))

    async def decided() -> list[str]:
        decisions = (await client.list(PlacementDecision.RESOURCE, namespace))["items"]
        found = [d for o in decisions for d in (o.get("status") or {}).get("decisions") or []]
        return [d["clusterName"] for d in found]

    async def until(name: str) -> None:
        async def check() -> bool:
            return await decided() == [name]

        await hub.until(check)

    async def claim(name: str, value: str) -> None:
        claims = [{"name": "gpuhour.cost.boundaryless.io", "value": value}]
        body = {"status": {"clusterClaims": claims}}
        await client.patch(ManagedCluster.RESOURCE, name, body, subresource="status")

    await until(one)
    await claim(one, "4")
    await claim(two, "2")
    await until(two)
    prices = f"clusters: {{{one}: {{gpuHour: 1}}}}"
    book: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "price-book", "namespace": HUB_NAMESPACE},
        "data": {"prices.yaml": prices},
    }
    await client.create(CONFIGMAPS, book)
    try:
        await until(one)
        score = await client.get(AddOnPlacementScore.RESOURCE, "cost", one)
        assert score["status"]["scores"] == [{"name": "gpuHour", "value": 80}]
        assert score["metadata"]["ownerReferences"][0]["kind"] == "ManagedCluster"

        bad = {"data": {"prices.yaml": "clusters: 7"}}
        await client.patch(CONFIGMAPS, "price-book", bad, HUB_NAMESPACE)

        async def told() -> bool:
            events = (await client.list(EVENTS, HUB_NAMESPACE))["items"]
            return any(e["reason"] == "BadPrice" and "must map names" in e["message"] for e in events)

        await hub.until(told)
        assert await decided() == [one]  # the book as it was

        await claim(two, "free")

        async def refused() -> bool:
            found = await client.get(AddOnPlacementScore.RESOURCE, "cost", two)
            condition = get_condition(found, "Priced") or {}
            return condition.get("reason") == "BadPrice" and not found["status"].get("scores")

        await hub.until(refused)
    finally:
        await client.delete(CONFIGMAPS, "price-book", HUB_NAMESPACE)
    await until(one)  # by its claim of 4, against no price


async def test_without_prices_nothing_is_written(hub: Hub, client: Client) -> None:
    priced, plain = await hub.cluster(), await hub.cluster()
    claims = [{"name": "gpuhour.cost.boundaryless.io", "value": "4"}]
    await client.patch(
        ManagedCluster.RESOURCE, priced, {"status": {"clusterClaims": claims}}, subresource="status"
    )
    await hub.until(lambda: client.get(AddOnPlacementScore.RESOURCE, "cost", priced))
    assert not (await client.list(AddOnPlacementScore.RESOURCE, plain))["items"]
    await client.patch(
        ManagedCluster.RESOURCE, priced, {"status": {"clusterClaims": []}}, subresource="status"
    )

    async def gone() -> bool:
        try:
            await client.get(AddOnPlacementScore.RESOURCE, "cost", priced)
        except NotFound:
            return True
        return False

    await hub.until(gone)
