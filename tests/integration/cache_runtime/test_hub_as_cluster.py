"""A hub that is one of its own clusters: a Dataset for the fleet and what it becomes are in one API server.

Hub controllers, the work agent and the cache agent all run against it, which may be the real one. No kubelet
is there, so the tests say that a worker is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import structlog

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import PERSISTENTVOLUMECLAIMS, STATEFULSETS
from addon_framework.api.data import LocalRuntime
from addon_framework.api.meta import Json
from addon_framework.hub.admission import BINDINGS, POLICIES
from addon_framework.kube import Client, Forbidden, Manager, NotFound
from addon_framework.plugins import AgentContext
from addon_framework.spoke.work.controller import WorkController
from addon_framework.spoke.work.deletion import AppliedWorkController
from addon_framework.spoke.work.objects import SpokeObjects
from addon_framework.testing import eventually
from addons.cache_runtime.agent.run import run_agent
from addons.cache_runtime.hub import payload
from addons.cache_runtime.hub.controller import FleetDatasetController
from addons.cache_runtime.hub.names import COPY_ANNOTATION, FINALIZER
from addons.cache_runtime.hub.policy import policy
from addons.cache_runtime.plugin import NAME
from tests.integration.cache_runtime.conftest import INSTALL_NAMESPACE, agent_client
from tests.integration.cache_runtime.fleet_scene import DATALOADS, DATASETS, WORKS, Scene, at_work

COPY = "llama-here"


@pytest.fixture
async def scene(client: Client, crds_installed: None, namespace: str) -> AsyncIterator[Scene]:
    """The hub's part."""
    manager = Manager(client, name="fleet-datasets")
    manager.add(FleetDatasetController())
    for resource, obj in zip((POLICIES, BINDINGS), policy(), strict=True):
        await client.apply(obj, field_manager="tests", resource=resource)
    await in_force(client, namespace)
    try:
        async with at_work(client, namespace, manager) as it:
            yield it
    finally:
        for resource, obj in zip((POLICIES, BINDINGS), policy(), strict=True):
            await client.delete(resource, obj["metadata"]["name"])


async def in_force(client: Client, namespace: str) -> None:
    """An API server goes by a policy a moment after it is there."""
    probe = payload.dataset({"name": "probe", "namespace": namespace}, "s3://m/llama", {}, "")
    await client.create(DATASETS, probe)
    marked = {**probe, "metadata": {**probe["metadata"], "annotations": {COPY_ANNOTATION: "x"}}}

    async def refused() -> bool:
        try:
            await client.apply(marked, field_manager="tests", resource=DATASETS, dry_run=True)
        except Forbidden:
            return True
        return False

    await eventually(refused)
    await client.delete(DATASETS, "probe", namespace)


@contextlib.asynccontextmanager
async def agents(scene: Scene, cluster: str) -> AsyncIterator[None]:
    """Of the hub as a cluster: for works, and for caches."""
    client, objects = scene.client, SpokeObjects(scene.client)
    manager = Manager(client, name=f"work-{cluster}")
    manager.add(WorkController(objects, cluster, scene.label, f"agent-{scene.label}"))
    manager.add(AppliedWorkController(objects, client, cluster, scene.label, f"agent-{scene.label}"))
    async with await agent_client(client) as spoke:
        context = AgentContext(
            addon_name=NAME,
            cluster_name=cluster,
            install_namespace=INSTALL_NAMESPACE,
            hub=client,
            spoke=spoke,
            log=structlog.stdlib.get_logger(),
        )
        tasks = [asyncio.create_task(work) for work in (manager.run(), run_agent(context))]
        try:
            yield
            with contextlib.suppress(NotFound):
                await client.delete(DATASETS, "llama", scene.namespace)
            await scene.hub.until(scene.is_gone)
            await scene.hub.until(lambda: copy_gone(scene))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await objects.close()


async def copy_gone(scene: Scene) -> bool:
    try:
        await scene.client.get(DATASETS, COPY, scene.namespace)
    except NotFound:
        return True
    return False


async def worker_ready(scene: Scene) -> None:
    """As a kubelet and a StatefulSet's controller would say."""
    name = f"{COPY}-worker"
    made = await scene.hub.until(lambda: scene.client.get(STATEFULSETS, name, scene.namespace))
    count = made["spec"]["replicas"]
    counts = ("replicas", "readyReplicas", "currentReplicas", "availableReplicas")
    status = {"status": dict.fromkeys(counts, count)}
    await scene.client.patch(STATEFULSETS, name, status, scene.namespace, subresource="status")


async def test_the_copy_beside_the_original_is_cached_and_nobody_fights(scene: Scene) -> None:
    (cluster,) = await scene.clusters(1)
    label = {"metadata": {"labels": {"local-cluster": "true"}}}
    await scene.client.patch(ManagedCluster.RESOURCE, cluster, label)
    await scene.secret()
    runtime = {"apiVersion": "data.boundaryless.io/v1alpha1", "kind": "LocalRuntime", "spec": {"replicas": 1}}
    await scene.client.create(LocalRuntime.RESOURCE, {**runtime, "metadata": scene.metadata()})
    async with agents(scene, cluster):
        await scene.create()
        await worker_ready(scene)
        bound = await scene.until(lambda status: status.get("phase") == "Bound")
        assert [(c["name"], c["phase"]) for c in bound["status"]["clusters"]] == [(cluster, "Bound")]
        copy = await scene.client.get(DATASETS, COPY, scene.namespace)
        assert (copy["status"]["phase"], copy["status"]["runtimes"][0]["name"]) == ("Bound", COPY)
        assert (await scene.client.get(PERSISTENTVOLUMECLAIMS, COPY, scene.namespace))["spec"]["volumeName"]
        load = await scene.client.get(DATALOADS, COPY, scene.namespace)
        assert load["spec"]["dataset"]["name"] == COPY

        # The originals are the fleet controller's alone, and no copy is made of the copy.
        original = await scene.client.get(DATALOADS, "llama", scene.namespace)
        assert "finalizers" not in original["metadata"]
        assert bound["metadata"]["finalizers"] == [FINALIZER]
        option = bound["spec"]["mounts"][0]["encryptOptions"][0]["valueFrom"]["secretKeyRef"]
        assert option["name"] == "keys"
        with pytest.raises(NotFound):
            await scene.client.get(STATEFULSETS, "llama-worker", scene.namespace)
        listed = await scene.client.list(DATASETS, scene.namespace)
        assert {each["metadata"]["name"] for each in listed["items"]} == {"llama", COPY}

        # What changes at the copy comes back, and then there is nothing more to write.
        mark = {"spec": {"owner": {"uid": 7, "gid": 7, "user": "u", "group": "g"}}}
        await scene.client.patch(DATASETS, "llama", mark, scene.namespace)

        async def arrived() -> bool:
            found = await scene.client.get(DATASETS, COPY, scene.namespace)
            return bool((found["spec"].get("owner") or {}).get("uid") == 7)

        await scene.hub.until(arrived)
    assert await scene.of(WORKS, cluster, "") is None


async def test_before_it_is_known_to_be_the_hub_nothing_is_overwritten(scene: Scene) -> None:
    (cluster,) = await scene.clusters(1)
    await scene.secret()
    await scene.create()
    before = await scene.get()
    async with agents(scene, cluster):

        def refused(status: Json) -> bool:
            return "local-cluster=true" in str(status.get("clusters"))

        await scene.until(refused)
        there = await scene.get()
        assert there["spec"] == before["spec"]
        assert there["metadata"]["labels"] == before["metadata"]["labels"]
        label = {"metadata": {"labels": {"local-cluster": "true"}}}
        await scene.client.patch(ManagedCluster.RESOURCE, cluster, label)
        await scene.hub.until(lambda: scene.client.get(DATASETS, COPY, scene.namespace))
        await scene.until(lambda status: not refused(status))
        assert (await scene.get())["metadata"]["uid"] == before["metadata"]["uid"]
