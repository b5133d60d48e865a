"""Schedules are kept current: what a change touches is looked at, and nothing else; time moves decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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
from addon_framework.hub.placement.controller import PlacementController
from addon_framework.hub.placement.scheduler import Scheduler
from addon_framework.hub.placement.standing import Standing
from addon_framework.kube import Client, Key, Manager
from addon_framework.plugins import Plugins, hookimpl
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, binding, labelled, placement, score_policy


class Nonsense:
    """A plug-in that cannot be trusted."""

    @hookimpl
    def placement_scores(self) -> Any:
        return ["a"]


class Looking(PlacementController):
    """Remembers every look."""

    def __init__(self, plugins: Plugins) -> None:
        super().__init__(plugins)
        self.looks: list[Key] = []
        self.whole_looks: list[Key] = []

    async def reconcile(self, key: Key) -> float | None:
        self.looks.append(key)
        return await super().reconcile(key)

    async def _look(self, key: Key, placement: Json) -> Standing:
        self.whole_looks.append(key)
        return await super()._look(key, placement)

    def scheduler(self, key: Key) -> Scheduler:
        return self._standing[key].scheduler


class Case:
    """Two clusters, and placements in a namespace."""

    def __init__(self, hub: Hub, namespace: str, controller: Looking, clusters: list[str]) -> None:
        self.hub, self.client, self.namespace = hub, hub.client, namespace
        self.controller, self.clusters = controller, clusters

    async def ask(self, name: str, **spec: Any) -> None:
        wanted = placement(self.namespace, name, predicates=labelled("test", self.namespace), **spec)
        await self.client.create(Placement.RESOURCE, wanted)

    async def score(self, cluster: str, value: int, resource: str = "usage") -> None:
        kind = AddOnPlacementScore.RESOURCE
        metadata = {"name": resource, "namespace": cluster}
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        await self.client.apply(obj, field_manager="test", resource=kind)
        status = {"scores": [{"name": "s", "value": value}]}
        await self.client.patch(kind, resource, {"status": status}, cluster, subresource="status")

    async def decided(self, name: str) -> list[Json]:
        found = await self.client.get(PlacementDecision.RESOURCE, f"{name}-decision-1", self.namespace)
        return list((found.get("status") or {}).get("decisions") or [])

    async def until(self, name: str, *clusters: str) -> None:
        async def check() -> bool:
            idle = self.controller.queue.idle
            return idle and [d["clusterName"] for d in await self.decided(name)] == list(clusters)

        await self.hub.until(check)


@pytest.fixture
async def case(hub: Hub, namespace: str) -> AsyncIterator[Case]:
    await hub.stop()
    await hub.start(["registration"])
    clusters = sorted([await hub.cluster(test=namespace), await hub.cluster(test=namespace)])
    await hub.client.create(ManagedClusterSetBinding.RESOURCE, binding(namespace))
    plugins = Plugins()
    plugins.add("nonsense", Nonsense())
    controller, manager = Looking(plugins), Manager(hub.client, name="test")
    manager.add(controller)
    task = asyncio.create_task(manager.run())
    yield Case(hub, namespace, controller, clusters)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_score_touches_only_its_readers(case: Case, client: Client) -> None:
    one, two = case.clusters
    reader, other = Key(case.namespace, "reader"), Key(case.namespace, "other")
    await case.ask("reader", numberOfClusters=1, prioritizerPolicy=score_policy("usage"))
    await case.ask("other", numberOfClusters=1, prioritizerPolicy=score_policy("another"))
    await case.until("reader", one)
    await case.until("other", one)
    scheduler = case.controller.scheduler(reader)
    case.controller.looks.clear()
    await case.score(two, 10)
    await case.until("reader", two)
    assert case.controller.scheduler(reader) is scheduler  # taken in, nothing made anew
    assert other not in case.controller.looks
    await client.delete(AddOnPlacementScore.RESOURCE, "usage", two)
    await case.until("reader", one)
    assert case.controller.scheduler(reader) is scheduler
    labels = {"metadata": {"labels": {"test": "elsewhere"}}}
    await client.patch(ManagedCluster.RESOURCE, one, labels)
    await case.until("reader", two)
    assert case.controller.scheduler(reader) is not scheduler


async def test_the_events_of_its_own_writes_have_no_placement_looked_at_anew(case: Case) -> None:
    key = Key(case.namespace, "p")
    await case.ask("p")
    await case.until("p", *case.clusters)

    async def again() -> bool:
        return case.controller.queue.idle and case.controller.looks.count(key) > 1

    await case.hub.until(again)
    assert case.controller.scheduler(key).result.selected == case.clusters
    assert case.controller.whole_looks.count(key) == 1


async def test_a_toleration_that_runs_out_moves_the_decision_then(case: Case, client: Client) -> None:
    one, two = case.clusters
    tolerations = [{"key": "maintenance", "operator": "Exists", "tolerationSeconds": 4}]
    await case.ask("p", tolerations=tolerations)
    await case.until("p", one, two)
    added = datetime.now(UTC).replace(microsecond=0)
    taint = {
        "key": "maintenance",
        "effect": "NoSelect",
        "timeAdded": added.isoformat().replace("+00:00", "Z"),
    }
    await client.patch(ManagedCluster.RESOURCE, one, {"spec": {"taints": [taint]}})
    await case.until("p", two)
    assert datetime.now(UTC) >= added + timedelta(seconds=4)


async def test_sort_by_score_writes_scores_in_their_order(case: Case) -> None:
    one, two = case.clusters
    await case.score(two, 30)
    await case.ask("p", sortBy="Score", prioritizerPolicy=score_policy("usage"))
    await case.until("p", two, one)
    assert [d.get("score", 0) for d in await case.decided("p")] == [30, 0]


async def test_a_plugin_that_answers_nonsense_has_no_say(case: Case) -> None:
    one, _ = case.clusters
    await case.ask("p", numberOfClusters=1, prioritizerPolicy=score_policy("nonsense"))
    await case.until("p", one)
