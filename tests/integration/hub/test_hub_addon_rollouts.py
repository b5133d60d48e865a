"""A configuration reaches clusters in the order and at the pace that the rollout strategy says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addon_framework.api.addon import AddOnDeploymentConfig, ClusterManagementAddOn
from addon_framework.api.cluster import ManagedClusterSetBinding, Placement
from addon_framework.api.conditions import get_condition
from addon_framework.api.work import ManifestWork
from addon_framework.kube import NotFound
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, binding, labelled, management_addon, placement
from tests.integration.hub.test_hub_addons import ADC, Greeter, Scene


class Rollout(Scene):
    """An add-on whose placement gives its clusters a configuration, one cluster at a time."""

    async def begin(self, clusters: int, strategy: Json, **more: Any) -> list[str]:
        self.hub.plugins.add(self.name, Greeter(self.name))
        await self.hub.start()
        names = sorted(await asyncio.gather(*(self.cluster() for _ in range(clusters))))
        await self.say("one")
        await self.client.create(ManagedClusterSetBinding.RESOURCE, binding(self.namespace))
        chosen = placement(self.namespace, predicates=labelled("test", self.mark), **more)
        await self.client.create(Placement.RESOURCE, chosen)
        cma = management_addon(self.name, self.namespace, supportedConfigs=[ADC])
        [entry] = cma["spec"]["installStrategy"]["placements"]
        entry["configs"] = [{**ADC, "namespace": self.namespace, "name": "conf"}]
        entry["rolloutStrategy"] = strategy
        await self.hub.create(ClusterManagementAddOn.RESOURCE, cma)
        return names

    async def say(self, text: str) -> None:
        resource = AddOnDeploymentConfig.RESOURCE
        config = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": "conf", "namespace": self.namespace},
            "spec": {"customizedVariables": [{"name": "text", "value": text}]},
        }
        await self.client.apply(config, field_manager="test", resource=resource)

    async def text(self, cluster: str) -> str:
        """What the work of a cluster says; "" without one."""
        try:
            work = await self.work(cluster)
        except NotFound:
            return ""
        return str(work["spec"]["workload"]["manifests"][-1]["data"]["text"]).split()[0]

    async def until_texts(self, clusters: list[str], wanted: list[str]) -> None:
        async def check() -> bool:
            return [await self.text(cluster) for cluster in clusters] == wanted

        await self.hub.until(check)

    async def fail(self, cluster: str) -> None:
        """Write what a work agent writes that cannot apply the work; in one go, lest it count as done."""
        work = await self.work(cluster)
        condition = {
            "type": "Applied",
            "status": "False",
            "reason": "Test",
            "message": "",
            "observedGeneration": work["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        available = {**condition, "type": "Available"}
        status = {"status": {"conditions": [condition, available]}}
        name = work["metadata"]["name"]
        await self.client.patch(ManifestWork.RESOURCE, name, status, cluster, subresource="status")

    async def until_progression(self, reason: str, text: str) -> None:
        async def check() -> bool:
            cma = await self.client.get(ClusterManagementAddOn.RESOURCE, self.name)
            [entry] = cma["status"]["installProgressions"]
            condition = get_condition(entry["conditions"], "Progressing")
            assert condition is not None
            return bool(condition["reason"] == reason and text in condition["message"])

        await self.hub.until(check)


@pytest.fixture
def rollout(quiet_hub: Hub, namespace: str) -> Rollout:
    return Rollout(quiet_hub, namespace)


async def test_one_cluster_at_a_time_and_a_restart_in_between(rollout: Rollout) -> None:
    strategy = {"type": "Progressive", "progressive": {"maxConcurrency": 1}}
    clusters = await rollout.begin(3, strategy)
    first, second, third = clusters
    await rollout.until_texts(clusters, ["one", "", ""])
    waits = await rollout.until_condition(second, "Progressing", "WaitingForCanary")
    assert f"placement {rollout.namespace}/p" in waits["message"]
    await rollout.until_progression("Progressing", "0/3 completed, 2 wait for their turn")
    await rollout.apply_on_spoke(first, ready=1)
    await rollout.until_texts(clusters, ["one", "one", ""])
    await rollout.apply_on_spoke(second, ready=1)
    await rollout.until_texts(clusters, ["one", "one", "one"])
    await rollout.apply_on_spoke(third, ready=1)
    await rollout.until_progression("Completed", "3/3")

    # a change in place: whoever waits keeps what it was shipped, over a restart and a touched work too
    await rollout.say("two")
    await rollout.until_texts(clusters, ["two", "one", "one"])
    await rollout.hub.stop()
    await rollout.hub.start()
    await rollout.until_condition(third, "Progressing", "WaitingForCanary")
    await rollout.apply_on_spoke(first, ready=1)
    await rollout.until_texts(clusters, ["two", "two", "one"])
    await rollout.apply_on_spoke(second, ready=1)
    await rollout.until_texts(clusters, ["two", "two", "two"])
    await rollout.apply_on_spoke(third, ready=1)
    await rollout.until_progression("Completed", "3/3")


async def test_a_failure_stops_the_rollout_until_it_is_mended(rollout: Rollout) -> None:
    strategy = {"type": "Progressive", "progressive": {"maxConcurrency": 1}}
    clusters = await rollout.begin(2, strategy)
    first, second = clusters
    await rollout.until_texts(clusters, ["one", ""])
    await rollout.fail(first)
    await rollout.until_condition(first, "Progressing", "Failed")
    await rollout.until_progression("Failed", f"1 failed: {first}")
    assert await rollout.text(second) == ""
    await rollout.say("two")  # a change of the change begins anew
    await rollout.until_texts(clusters, ["two", ""])
    await rollout.apply_on_spoke(first, ready=1)
    await rollout.until_texts(clusters, ["two", "two"])


async def test_group_after_group(rollout: Rollout) -> None:
    groups = {"groupStrategy": {"clustersPerDecisionGroup": 2}}
    clusters = await rollout.begin(4, {"type": "ProgressivePerGroup"}, decisionStrategy=groups)
    await rollout.until_texts(clusters, ["one", "one", "", ""])
    for cluster in clusters[:2]:
        await rollout.apply_on_spoke(cluster, ready=1)
    await rollout.until_texts(clusters, ["one", "one", "one", "one"])


async def test_a_strategy_that_cannot_be_followed_is_named(rollout: Rollout) -> None:
    await rollout.begin(1, {"type": "Progressive", "progressive": {"minSuccessTime": "soon"}})
    await rollout.until_progression("Failed", "progressive.minSuccessTime 'soon' is no duration")
