"""The placement controller against an API server: OCM's acceptance list, and what we promise beyond it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from addon_framework.api.cluster import (
    AddOnPlacementScore,
    ManagedCluster,
    ManagedClusterSetBinding,
    Placement,
    PlacementDecision,
)
from addon_framework.api.conditions import get_condition
from addon_framework.kube import Client
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, binding, labelled, placement, score_policy


class Asked:
    """One placement in its namespace, and what it has decided."""

    def __init__(self, hub: Hub, namespace: str) -> None:
        self.hub, self.namespace, self.mark = hub, namespace, uuid.uuid4().hex[:8]

    async def ask(self, **spec: Any) -> None:
        client = self.hub.client
        await client.create(ManagedClusterSetBinding.RESOURCE, binding(self.namespace))
        obj = placement(self.namespace, predicates=labelled("test", self.mark), **spec)
        await client.create(Placement.RESOURCE, obj)

    async def change(self, **spec: Any) -> None:
        await self.hub.client.patch(Placement.RESOURCE, "p", {"spec": spec}, self.namespace)

    async def cluster(self, **labels: str) -> str:
        return await self.hub.cluster(test=self.mark, **labels)

    async def decided(self) -> list[str]:
        listed = await self.hub.client.list(PlacementDecision.RESOURCE, self.namespace)
        return sorted(
            d["clusterName"] for o in listed["items"] for d in (o.get("status") or {}).get("decisions") or []
        )

    async def until(self, *clusters: str) -> None:
        async def check() -> bool:
            return await self.decided() == sorted(clusters)

        await self.hub.until(check)

    async def reason(self, kind: str = "PlacementSatisfied") -> str:
        found = await self.hub.client.get(Placement.RESOURCE, "p", self.namespace)
        condition = get_condition(found, kind)
        return condition["reason"] if condition else ""

    async def until_reason(self, wanted: str, kind: str = "PlacementSatisfied") -> None:
        async def check() -> bool:
            return await self.reason(kind) == wanted

        await self.hub.until(check)

    async def score(self, cluster: str, value: int, valid_until: datetime | None = None) -> None:
        client, resource = self.hub.client, AddOnPlacementScore.RESOURCE
        obj = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": self.mark, "namespace": cluster},
        }
        await client.apply(obj, field_manager="test", resource=resource)
        status: Json = {"scores": [{"name": "s", "value": value}]}
        if valid_until:
            status["validUntil"] = valid_until.strftime("%Y-%m-%dT%H:%M:%SZ")
        await client.patch(resource, self.mark, {"status": status}, cluster, subresource="status")


@pytest.fixture
def asked(hub: Hub, namespace: str) -> Asked:
    return Asked(hub, namespace)


async def test_decides_labels_owns_and_says_so(asked: Asked, client: Client) -> None:
    one, two = await asked.cluster(), await asked.cluster()
    await asked.ask()
    await asked.until(one, two)
    decision = await client.get(PlacementDecision.RESOURCE, "p-decision-1", asked.namespace)
    assert decision["metadata"]["labels"] == {
        "cluster.open-cluster-management.io/placement": "p",
        "cluster.open-cluster-management.io/decision-group-index": "0",
        "cluster.open-cluster-management.io/decision-group-name": "",
    }
    assert decision["metadata"]["ownerReferences"][0]["kind"] == "Placement"
    await asked.until_reason("AllDecisionsScheduled")
    status = (await client.get(Placement.RESOURCE, "p", asked.namespace))["status"]
    assert status["numberOfSelectedClusters"] == 2
    assert status["decisionGroups"][0]["decisions"] == ["p-decision-1"]


async def test_a_deleted_decision_comes_back(asked: Asked, client: Client) -> None:
    one = await asked.cluster()
    await asked.ask()
    await asked.until(one)
    await client.delete(PlacementDecision.RESOURCE, "p-decision-1", asked.namespace)
    await asked.until(one)


async def test_no_binding_and_no_match(asked: Asked, client: Client) -> None:
    await client.create(
        Placement.RESOURCE, placement(asked.namespace, predicates=labelled("test", asked.mark))
    )
    await asked.until_reason("NoManagedClusterSetBindings")
    await client.create(ManagedClusterSetBinding.RESOURCE, binding(asked.namespace))
    one = await asked.cluster()
    await asked.until(one)
    await asked.change(numberOfClusters=2)
    await asked.until_reason("NotAllDecisionsScheduled")
    await client.delete(ManagedClusterSetBinding.RESOURCE, "global", asked.namespace)
    await asked.until()
    await asked.until_reason("NoManagedClusterSetBindings")


async def test_misconfigured_and_mended(asked: Asked) -> None:
    one = await asked.cluster()
    await asked.ask(tolerations=[{"operator": "Equal", "value": "x"}])
    await asked.until_reason("Misconfigured", "PlacementMisconfigured")
    await asked.change(tolerations=[])
    await asked.until(one)
    await asked.until_reason("Succeedconfigured", "PlacementMisconfigured")


async def test_labels_move_a_cluster_in_and_out(asked: Asked, client: Client) -> None:
    one, two = await asked.cluster(), await asked.cluster()
    await asked.ask()
    await asked.until(one, two)
    await client.patch(ManagedCluster.RESOURCE, two, {"metadata": {"labels": {"test": "other"}}})
    await asked.until(one)
    await client.patch(ManagedCluster.RESOURCE, two, {"metadata": {"labels": {"test": asked.mark}}})
    await asked.until(one, two)


async def test_an_unreachable_cluster_is_left_and_comes_back(asked: Asked) -> None:
    one, two = await asked.cluster(), await asked.cluster()
    await asked.ask(numberOfClusters=1)
    first, second = sorted([one, two])
    await asked.until(first)
    await asked.hub.available(first, "Unknown")
    await asked.until(second)
    await asked.hub.available(first)
    await asked.change(numberOfClusters=2)
    await asked.until(one, two)


async def test_a_score_moves_the_decision_and_steady_holds_it(asked: Asked) -> None:
    one, two = sorted([await asked.cluster(), await asked.cluster()])
    await asked.score(two, 10)
    await asked.ask(numberOfClusters=1, prioritizerPolicy=score_policy(asked.mark))
    await asked.until(two)
    await asked.score(one, 20)
    await asked.until(one)
    policy = score_policy(asked.mark)
    policy["configurations"].append(
        {"scoreCoordinate": {"type": "BuiltIn", "builtIn": "Steady"}, "weight": 1}
    )
    await asked.change(prioritizerPolicy=policy)
    await asked.score(two, 60)  # 60 against 20 + 100
    await asked.score(one, 30)
    await asked.until(one)


async def test_a_score_that_expires_moves_the_decision_at_that_moment(asked: Asked) -> None:
    one, two = sorted([await asked.cluster(), await asked.cluster()])
    await asked.score(two, 10, datetime.now(UTC) + timedelta(seconds=3))
    await asked.ask(numberOfClusters=1, prioritizerPolicy=score_policy(asked.mark))
    await asked.until(two)
    await asked.until(one)


async def test_a_cluster_that_goes_is_replaced(asked: Asked, client: Client) -> None:
    first, second = sorted([await asked.cluster(), await asked.cluster()])
    await asked.ask(numberOfClusters=1)
    await asked.until(first)
    await client.delete(ManagedCluster.RESOURCE, first)
    await asked.until(second)


async def test_a_restart_writes_nothing(asked: Asked, client: Client) -> None:
    one = await asked.cluster()
    await asked.ask()
    await asked.until(one)
    await asked.until_reason("AllDecisionsScheduled")

    async def versions() -> dict[str, str]:
        objects = [await client.get(Placement.RESOURCE, "p", asked.namespace)]
        objects += (await client.list(PlacementDecision.RESOURCE, asked.namespace))["items"]
        objects.append(await client.get(ManagedCluster.RESOURCE, one))
        return {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in objects}

    before = await versions()
    await asked.hub.stop()
    await asked.hub.start()
    other = await asked.cluster()  # once this one is decided on, the new manager has seen all
    await asked.until(one, other)
    assert (await versions())[one] == before[one]
