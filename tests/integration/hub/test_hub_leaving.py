"""How a cluster leaves the hub: what it waits for, what goes with it, and what comes too late."""

from __future__ import annotations

import uuid

import pytest

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import NAMESPACES, ROLEBINDINGS
from addon_framework.api.names import WORK_FINALIZER
from addon_framework.api.work import ManifestWork
from addon_framework.hub.install import CannotAccept, accept
from addon_framework.hub.registration.clusters import ClusterController
from addon_framework.kube import Client, NotFound
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, cluster_object


async def test_a_cluster_that_is_leaving_is_not_let_in(hub: Hub, client: Client) -> None:
    name = f"c{uuid.uuid4().hex[:8]}"
    held = cluster_object(name)
    held["metadata"]["finalizers"] = ["example.org/held"]
    await client.create(ManagedCluster.RESOURCE, held)
    await client.delete(ManagedCluster.RESOURCE, name)
    with pytest.raises(CannotAccept, match=f"cluster {name} is being deleted"):
        await accept(client, [name])
    await client.patch(ManagedCluster.RESOURCE, name, {"metadata": {"finalizers": None}})


async def test_deletion_drains_addons_then_works_and_says_what_holds_it(hub: Hub, client: Client) -> None:
    name = await hub.cluster()
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}}
    work = {
        "apiVersion": ManifestWork.RESOURCE.api_version,
        "kind": "ManifestWork",
        "metadata": {
            "name": "w",
            "namespace": name,
            "finalizers": [WORK_FINALIZER],
        },
        "spec": {"workload": {"manifests": [config_map]}},
    }
    await client.create(ManifestWork.RESOURCE, work)
    await client.delete(ManagedCluster.RESOURCE, name)

    async def held() -> bool:
        cluster = await client.get(ManagedCluster.RESOURCE, name)
        condition = get_condition(cluster, "Deleting")
        return condition is not None and "1 manifestworks to go: w (finalizers:" in condition["message"]

    await hub.until(held)
    bound = f"open-cluster-management:managedcluster:{name}:work"
    await client.get(ROLEBINDINGS, bound, name)  # the agent still needs it
    await client.patch(ManifestWork.RESOURCE, "w", {"metadata": {"finalizers": None}}, name)

    async def gone() -> bool:
        for resource, key in ((ManagedCluster.RESOURCE, (name,)), (ROLEBINDINGS, (bound, name))):
            try:
                await client.get(resource, *key)
            except NotFound:
                continue
            return False
        return True

    await hub.until(gone)
    await client.get(NAMESPACES, name)  # kept


async def test_what_came_while_rights_were_taken_away_is_drained_too(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica set that was slow to hear of it, and an agent that was quick to take its work."""
    name = await hub.cluster()
    late: list[Json] = [
        {
            "apiVersion": ManifestWork.RESOURCE.api_version,
            "kind": "ManifestWork",
            "metadata": {"name": "late", "namespace": name, "finalizers": [WORK_FINALIZER]},
            "spec": {"workload": {"manifests": []}},
        }
    ]
    take_away = ClusterController._remove_bindings

    async def slowly(controller: ClusterController, cluster: str) -> None:
        while late:
            await client.create(ManifestWork.RESOURCE, late.pop())
        await take_away(controller, cluster)

    monkeypatch.setattr(ClusterController, "_remove_bindings", slowly)
    await client.delete(ManagedCluster.RESOURCE, name)
    bound = f"open-cluster-management:managedcluster:{name}:work"

    async def is_the_agents_to_take_away() -> bool:
        work = await client.get(ManifestWork.RESOURCE, "late", name)
        binding = await client.get(ROLEBINDINGS, bound, name)
        leaving = [bool(obj["metadata"].get("deletionTimestamp")) for obj in (work, binding)]
        return leaving == [True, False]

    await hub.until(is_the_agents_to_take_away)
    await client.get(ManagedCluster.RESOURCE, name)
    await client.patch(ManifestWork.RESOURCE, "late", {"metadata": {"finalizers": None}}, name)

    async def gone() -> bool:
        listed = await client.list(ManagedCluster.RESOURCE, field_selector=f"metadata.name={name}")
        return not listed["items"]

    await hub.until(gone)
