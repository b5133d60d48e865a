"""A Dataset for the fleet where OCM runs everything that OCM has: only plug-ins are ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from addon_framework.api.addon import AddOnDeploymentConfig, ClusterManagementAddOn
from addon_framework.api.addon import ManagedClusterAddOn as Addon
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import CRDS
from addon_framework.api.data import Dataset, LocalRuntime
from addon_framework.api.meta import Json
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.api.time import now_rfc3339
from addon_framework.api.work import ManifestWork
from addon_framework.kube import Key, NotFound
from addons.cache_runtime.hub import payload
from addons.cache_runtime.hub.holding import AGENT
from addons.cache_runtime.hub.names import FINALIZER, PEERS_ANNOTATION, work_name
from tests.interop import objects, scenario
from tests.interop.conftest import on_stage
from tests.interop.fleet import CLUSTER, Fleet
from tests.interop.objects import NAMESPACE, PLACEMENT
from tests.interop.parts import PARTS, Cast

DATASETS, WORKS = Dataset.RESOURCE, ManifestWork.RESOURCE
OTHER = "cluster2"
WORK = work_name(Key(NAMESPACE, "llama"))


async def enable(fleet: Fleet) -> None:
    """The add-on that caches, wherever the placement says; no agent of it runs here."""
    await fleet.create(AddOnDeploymentConfig.RESOURCE, objects.addon_config(AGENT, "none"))
    addon = objects.management_addon(AGENT, by_template=False)
    await fleet.create(ClusterManagementAddOn.RESOURCE, addon)
    await fleet.on_spoke(CRDS, "datasets.data.fluid.io")


async def another_cluster(fleet: Fleet) -> None:
    """Accepted, and available as far as anybody knows."""
    cluster = objects.made(ManagedCluster.RESOURCE, OTHER, spec={"hubAcceptsClient": True})
    cluster["metadata"]["labels"] = {"env": "interop"}
    await fleet.create(ManagedCluster.RESOURCE, cluster)
    await fleet.until_condition(ManagedCluster.RESOURCE, OTHER, "HubAcceptedManagedCluster")
    found = await fleet.hub.get(ManagedCluster.RESOURCE, OTHER)
    available = {
        "type": "ManagedClusterConditionAvailable",
        "status": "True",
        "reason": "Test",
        "message": "",
        "lastTransitionTime": now_rfc3339(),
    }
    conditions = {"conditions": [*found["status"]["conditions"], available]}
    await fleet.hub.patch(ManagedCluster.RESOURCE, OTHER, {"status": conditions}, subresource="status")
    await scenario.until_decided(fleet, [CLUSTER, OTHER])


async def reached(fleet: Fleet, cluster: str, at: str) -> None:
    patch = {"metadata": {"annotations": {PEERS_ANNOTATION: at}}}
    await fleet.hub.patch(ManagedCluster.RESOURCE, cluster, patch)


@pytest.mark.timeout(600)
async def test_it_is_sent_reported_and_leaves_a_cluster_before_ocm_lets_that_go(
    ocm_programs: Path, tmp_path: Path
) -> None:
    async with on_stage(Cast(frozenset(PARTS)), tmp_path) as fleet:
        await scenario.join(fleet, our_choice=True)
        await scenario.decide(fleet)
        await enable(fleet)
        await another_cluster(fleet)
        metadata = {"name": "llama", "namespace": NAMESPACE, "labels": {PLACEMENT_LABEL: PLACEMENT}}
        await fleet.create(DATASETS, payload.dataset(metadata, "https://models.example/llama/", {}))
        await fleet.on_spoke(DATASETS, "llama", NAMESPACE)

        # What each cluster is told of the other.
        await reached(fleet, CLUSTER, "10.1.0.1:30465")
        await reached(fleet, OTHER, "{service}.{namespace}.{cluster}.example:9465")

        async def told() -> bool:
            runtime = await fleet.spoke.get(LocalRuntime.RESOURCE, "llama", NAMESPACE)
            found: list[str] = runtime["spec"]["peers"]["addresses"]
            return found == [f"llama-peers.{NAMESPACE}.{OTHER}.example:9465"]

        await fleet.until(told)

        # What its agent would say there comes back, by OCM's work agent.
        mark = {"metadata": {"finalizers": ["tests/agent"]}}
        await fleet.spoke.patch(DATASETS, "llama", mark, NAMESPACE)
        bound = {"status": {"phase": "Bound", "cacheStates": {"cached": "1.00MiB"}, "conditions": []}}
        await fleet.spoke.patch(DATASETS, "llama", bound, NAMESPACE, subresource="status")

        async def phases() -> bool:
            status: Json = (await fleet.hub.get(DATASETS, "llama", NAMESPACE))["status"]
            return {each["name"]: each["phase"] for each in status["clusters"]} == {
                CLUSTER: "Bound",
                OTHER: "Pending",
            }

        await fleet.until(phases)

        # The cluster leaves: the add-on stays as long as the Dataset does.
        await fleet.hub.delete(ManagedCluster.RESOURCE, CLUSTER)

        async def leaving() -> bool:
            work = await fleet.hub.get(WORKS, WORK, CLUSTER)
            there = await fleet.spoke.get(DATASETS, "llama", NAMESPACE)
            return all("deletionTimestamp" in each["metadata"] for each in (work, there))

        await fleet.until(leaving)
        addon = await fleet.hub.get(Addon.RESOURCE, AGENT, CLUSTER)
        assert FINALIZER in addon["metadata"]["finalizers"]
        await fleet.spoke.patch(DATASETS, "llama", {"metadata": {"finalizers": None}}, NAMESPACE)
        await fleet.until_gone(fleet.hub, ManagedCluster.RESOURCE, CLUSTER)

        async def gone() -> bool:
            """With its kind, which the add-on had brought."""
            try:
                await fleet.spoke.get(DATASETS, "llama", NAMESPACE)
            except NotFound:
                return True
            return False

        await fleet.until(gone)
        for resource in (Addon.RESOURCE, WORKS):
            left = (await fleet.hub.list(resource, CLUSTER))["items"]
            assert not left, [each["metadata"]["name"] for each in left]
        assert await fleet.hub.get(WORKS, WORK, OTHER)
