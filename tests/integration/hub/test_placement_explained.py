"""A decision explains itself, for every cluster; and what it takes is assumed until the next score."""

from __future__ import annotations

import asyncio
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
from addon_framework.api.core import CRDS, EVENTS
from addon_framework.api.crd import generate
from addon_framework.api.placement import PlacementExplanation
from addon_framework.cli.get.explain import print_explanation
from addon_framework.hub.run import run_hub
from addon_framework.kube import Client, NotFound, apply_crds
from addon_framework.plugins import Plugins
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, binding, labelled, placement, score_policy

EXPLANATIONS = PlacementExplanation.RESOURCE


class Scene:
    """Three clusters in a namespace of placements."""

    def __init__(self, hub: Hub, namespace: str, clusters: list[str]) -> None:
        self.hub, self.client, self.namespace, self.clusters = hub, hub.client, namespace, clusters

    async def score(self, cluster: str, value: int) -> None:
        kind = AddOnPlacementScore.RESOURCE
        metadata = {"name": self.namespace, "namespace": cluster}
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        await self.client.apply(obj, field_manager="test", resource=kind)
        status = {"scores": [{"name": "gpuAvailable", "value": value}]}
        await self.client.patch(kind, self.namespace, {"status": status}, cluster, subresource="status")

    async def ask(self, name: str = "p", **more: Any) -> None:
        policy = score_policy(self.namespace, "gpuAvailable", 2)
        predicates = labelled("test", self.namespace)
        spec = {"numberOfClusters": 1, "predicates": predicates, "prioritizerPolicy": policy, **more}
        spec = {name: value for name, value in spec.items() if value is not None}
        obj = placement(self.namespace, name, **spec)
        await self.client.create(Placement.RESOURCE, obj)

    async def decisions(self, name: str = "p") -> list[Json]:
        found = await self.client.get(PlacementDecision.RESOURCE, f"{name}-decision-1", self.namespace)
        return list((found.get("status") or {}).get("decisions") or [])

    async def until(self, name: str, *clusters: str) -> None:
        async def check() -> bool:
            return [d["clusterName"] for d in await self.decisions(name)] == list(clusters)

        await self.hub.until(check)

    async def explanation(self, name: str = "p") -> Json:
        return dict((await self.client.get(EXPLANATIONS, name, self.namespace))["status"])

    async def until_explained(self, cluster: str) -> Json:
        async def check() -> Json | None:
            status = await self.explanation()
            return status if status["ranking"][0]["cluster"] == cluster else None

        return dict(await self.hub.until(check))


@pytest.fixture
async def scene(hub: Hub, namespace: str) -> Scene:
    clusters = sorted([await hub.cluster(test=namespace) for _ in range(3)])
    await hub.client.create(ManagedClusterSetBinding.RESOURCE, binding(namespace))
    return Scene(hub, namespace, clusters)


async def tainted(scene: Scene, cluster: str) -> None:
    taints = [{"key": "k", "effect": "NoSelect", "timeAdded": "2026-01-01T00:00:00Z"}]
    await scene.client.patch(ManagedCluster.RESOURCE, cluster, {"spec": {"taints": taints}})


async def test_status_object_and_events_say_why_for_every_cluster(scene: Scene, client: Client) -> None:
    one, two, three = scene.clusters
    await scene.score(two, 30)
    await tainted(scene, three)
    await scene.ask()
    status = await scene.until_explained(two)
    prioritizer = f"AddOn/{scene.namespace}/gpuAvailable"
    assert status["prioritizers"] == [{"name": prioritizer, "weight": 2}]
    assert [(r["cluster"], r.get("chosen", False), r["total"], r["scores"]) for r in status["ranking"]] == [
        (two, True, 60, [30]),
        (one, False, 0, [0]),
    ]
    [predicate, taint] = status["filters"]
    assert predicate["name"] == "Predicate"
    [rejection] = taint["rejected"]
    assert (rejection["reason"], rejection["clusters"]) == ("taint k=:NoSelect is not tolerated", [three])

    [decision] = await scene.decisions()
    assert decision["reason"] == f"total 60: {prioritizer} 30 x2"

    async def told() -> Json | None:
        return get_condition(await client.get(Placement.RESOURCE, "p", scene.namespace), "PlacementExplained")

    condition = await scene.hub.until(told)
    assert condition["message"] == status["summary"]
    assert f"TaintToleration rejected 1 (taint k=:NoSelect is not tolerated: {three})" in condition["message"]

    async def event() -> str:
        events = (await client.list(EVENTS, scene.namespace))["items"]
        return next(e["message"] for e in events if e["reason"] == "DecisionExplained")

    said = f"in: {two} (total 60: {prioritizer} 30 x2); 1 chosen of 2 feasible"
    assert (await scene.hub.until(event)).startswith(said)


async def test_a_move_explains_itself_anew_and_goes_with_its_placement(
    scene: Scene, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, _ = scene.clusters
    await scene.score(two, 30)
    await scene.ask()
    await scene.until_explained(two)
    capsys.readouterr()
    await print_explanation(client, scene.namespace, "p")
    shown = capsys.readouterr().out
    assert shown.count(f"\n{two}   1 ") == 1
    assert "The hub's present decision" not in shown
    await scene.score(one, 40)
    await scene.until("p", one)
    status = await scene.until_explained(one)
    assert [r["total"] for r in status["ranking"]] == [80, 60, 0]
    await client.delete(Placement.RESOURCE, "p", scene.namespace)

    async def gone() -> bool:
        try:
            await client.get(EXPLANATIONS, "p", scene.namespace)
        except NotFound:
            return True
        return False

    await scene.hub.until(gone)


async def test_decisions_do_not_wait_for_explanations_that_a_hub_does_not_take(
    scene: Scene, client: Client
) -> None:
    crd = generate(PlacementExplanation)
    await client.delete(CRDS, crd["metadata"]["name"])
    try:
        await scene.score(scene.clusters[1], 10)
        await scene.ask()
        await scene.until("p", scene.clusters[1])
        await scene.score(scene.clusters[2], 20)
        await scene.until("p", scene.clusters[2])
    finally:

        async def back() -> bool:
            await apply_crds(client, [crd], field_manager="test")
            return True

        await scene.hub.until(back)


async def test_decisions_in_a_row_do_not_pile_up_until_a_score_confirms_them(scene: Scene) -> None:
    one, two, three = scene.clusters
    await scene.ask("seen", numberOfClusters=None, sortBy="Score", scoreRateLimit="1s")
    for cluster in scene.clusters:
        await scene.score(cluster, 50)

    async def seen() -> bool:
        return [d.get("score") for d in await scene.decisions("seen")] == [100, 100, 100]

    await scene.hub.until(seen)
    steady = score_policy(scene.namespace, "gpuAvailable")
    steady["configurations"].append({"scoreCoordinate": {"type": "BuiltIn", "builtIn": "Steady"}})
    for name in ("p", "q", "r"):
        await scene.ask(name, prioritizerPolicy=steady)
    for name, cluster in zip("pqr", (one, two, three), strict=True):
        await scene.until(name, cluster)
    await scene.score(two, 49)  # says itself now what is free, which is more than is assumed of the others
    await scene.ask("s", prioritizerPolicy=steady)
    await scene.until("s", two)
    assert [[d["clusterName"] for d in await scene.decisions(name)] for name in "pqr"] == [
        [one],
        [two],
        [three],
    ]


async def test_strict_mode_neither_explains_nor_assumes(scene: Scene, client: Client) -> None:
    await scene.hub.stop()
    task = asyncio.create_task(
        run_hub(client, ["placement"], plugins=Plugins(), strict_ocm=True, handle_signals=False)
    )
    try:
        for cluster in scene.clusters:
            await scene.score(cluster, 50)
        for name in ("p", "q"):
            await scene.ask(name)
            await scene.until(name, scene.clusters[0])

            async def satisfied(name: str = name) -> Any:
                found = await client.get(Placement.RESOURCE, name, scene.namespace)
                return get_condition(found, "PlacementSatisfied") and found

            found = await scene.hub.until(satisfied)
            assert get_condition(found, "PlacementExplained") is None
            assert [d["reason"] for d in await scene.decisions(name)] == [""]
        assert not (await client.list(EXPLANATIONS, scene.namespace))["items"]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_restart_does_not_explain_again(scene: Scene, client: Client) -> None:
    await scene.score(scene.clusters[0], 30)
    await scene.ask()
    await scene.until_explained(scene.clusters[0])
    await scene.hub.stop()
    before = await client.get(EXPLANATIONS, "p", scene.namespace)
    await scene.score(scene.clusters[0], 31)  # decides nothing
    await scene.hub.start()
    await scene.ask("q")

    async def settled() -> bool:
        return bool(await scene.explanation("q"))

    await scene.hub.until(settled)
    assert await client.get(EXPLANATIONS, "p", scene.namespace) == before
