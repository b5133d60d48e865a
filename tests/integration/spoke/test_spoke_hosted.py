"""Hosted mode on the spokes: the agents of one cluster, and an add-on for it, run on another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import AddOnPlacementScore, ManagedCluster
from addon_framework.api.conditions import is_true
from addon_framework.api.core import DEPLOYMENTS, LEASES, NAMESPACES, SECRETS
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import HOSTING_CLUSTER_ANNOTATION
from addon_framework.hub.install import accept
from addon_framework.kube import Client, NotFound
from addon_framework.plugins.types import DEFAULT_INSTALL_NAMESPACE
from addon_framework.spoke.addon_agent import Settings, run_addon_agent
from addon_framework.spoke.home import hosted_namespace
from addon_framework.spoke.names import AGENT_NAMESPACE, HUB_SECRET
from addon_framework.spoke.registration import secrets
from addon_framework.spoke.run import run_agent
from addon_framework.testing import EmbeddedApiServer, eventually
from addons.resource_scorer.plugin import ResourceScorer
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.greeter import Greeter

ADDON, CMA = ManagedClusterAddOn.RESOURCE, ClusterManagementAddOn.RESOURCE


@pytest.fixture(scope="module")
def host_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedApiServer]:
    """The API server of the cluster that hosts."""
    server = EmbeddedApiServer(tmp_path_factory.mktemp("host"), name="host", service_cidr="127.1.2.0/24")
    server.start()
    yield server
    server.stop()


class Host:
    """A cluster that hosts agents, itself joined to the hub."""

    def __init__(self, fleet: Fleet, client: Client, kubeconfig: Path) -> None:
        self.fleet, self.client, self.kubeconfig = fleet, client, kubeconfig
        self.name = f"host-{fleet.mark}"
        self._task: asyncio.Task[None] | None = None

    async def join(self) -> None:
        self._task = asyncio.create_task(
            run_agent(
                hub_kubeconfig=self.fleet.bootstrap,
                spoke_kubeconfig=self.kubeconfig,
                cluster_name=self.name,
                handle_signals=False,
            )
        )
        await eventually(lambda: accept(self.fleet.hub, [self.name]), swallow=Exception)

        async def joined() -> bool:
            cluster = await self.fleet.hub.get(ManagedCluster.RESOURCE, self.name)
            return is_true(cluster, "ManagedClusterConditionAvailable")

        await self.fleet.until(joined)

    async def leave(self) -> None:
        if self._task is None:
            return
        try:
            await self.fleet.hub.delete(ManagedCluster.RESOURCE, self.name)
        except NotFound:
            pass

        async def gone() -> bool:
            try:
                found = await self.fleet.hub.get(ManagedCluster.RESOURCE, self.name)
            except NotFound:
                return True
            return not found["metadata"].get("finalizers")

        await self.fleet.until(gone)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def host(fleet: Fleet, host_server: EmbeddedApiServer) -> AsyncIterator[Host]:
    async with Client.from_kubeconfig(host_server.kubeconfig) as client:
        it = Host(fleet, client, host_server.kubeconfig)
        yield it
        await it.leave()


def _object(resource: Resource, metadata: Json) -> Json:
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": {}}


async def is_there(client: Client, resource: Resource, name: str, namespace: str | None = None) -> bool:
    try:
        await client.get(resource, name, namespace)
    except NotFound:
        return False
    return True


async def test_agents_and_an_addon_of_one_cluster_run_on_another(
    fleet: Fleet, host: Host, tmp_path: Path
) -> None:
    fleet.hosting_kubeconfig = host.kubeconfig
    agents_before = await is_there(fleet.spoke, NAMESPACES, AGENT_NAMESPACE)  # of other tests on this spoke
    await host.join()
    await fleet.join()
    home = hosted_namespace(fleet.cluster)
    assert await is_there(host.client, SECRETS, HUB_SECRET, home)
    assert await is_there(fleet.spoke, NAMESPACES, AGENT_NAMESPACE) == agents_before
    if not agents_before:
        assert not await is_there(fleet.spoke, SECRETS, HUB_SECRET, AGENT_NAMESPACE)
    other = await host.client.get(SECRETS, HUB_SECRET, AGENT_NAMESPACE)  # the host's own agent keeps its own
    assert secrets.contents(other)["cluster-name"].decode() == host.name

    name = f"greeter-{fleet.mark}"
    fleet.plugins.add(name, Greeter(name))
    await fleet.kill("hub")
    await fleet.start_hub()
    await fleet.hub.create(CMA, _object(CMA, {"name": name}))
    annotations = {HOSTING_CLUSTER_ANNOTATION: host.name}
    await fleet.hub.create(
        ADDON, _object(ADDON, {"name": name, "namespace": fleet.cluster, "annotations": annotations})
    )
    # The agent's Deployment and its identity are on the host, and nothing of it where it is for.
    await fleet.until(lambda: host.client.get(DEPLOYMENTS, f"{name}-agent", name))
    secret = await fleet.until(lambda: host.client.get(SECRETS, f"{name}-hub-kubeconfig", name))
    assert secrets.contents(secret)["cluster-name"].decode() == fleet.cluster
    assert not await is_there(fleet.spoke, NAMESPACES, name)
    await fleet.until_condition(ADDON, name, "HostingManifestApplied", namespace=fleet.cluster)
    reason = "ManagedClusterAddOnLeaseNotFound"
    await fleet.until_condition(ADDON, name, "Available", "Unknown", reason, fleet.cluster)

    # The agent: its Lease is on the host, its client is of the cluster that it is for.
    directory = tmp_path / "hub"
    directory.mkdir()
    for key, value in secrets.contents(secret).items():
        (directory / key).write_bytes(value)
    settings = Settings(name, fleet.cluster, name, directory / "kubeconfig", fleet.spoke_kubeconfig)
    agent = asyncio.create_task(run_addon_agent(fleet.plugins.require(name), settings, host.client))
    reason = "ManagedClusterAddOnLeaseUpdated"
    await fleet.until_condition(ADDON, name, "Available", "True", reason, fleet.cluster)
    assert await is_there(host.client, LEASES, name, name)
    agent.cancel()
    await asyncio.gather(agent, return_exceptions=True)

    await fleet.hub.delete(ADDON, name, fleet.cluster)
    await fleet.until_gone(fleet.hub, ADDON, name, fleet.cluster)
    await fleet.until_gone(host.client, SECRETS, f"{name}-hub-kubeconfig", name)
    await fleet.until_gone(host.client, DEPLOYMENTS, f"{name}-agent", name)


async def test_the_resource_scorer_scores_a_cluster_from_another(
    fleet: Fleet, host: Host, tmp_path: Path
) -> None:
    fleet.hosting_kubeconfig = host.kubeconfig
    await host.join()
    await fleet.join()
    name, scores = "resource-scorer", AddOnPlacementScore.RESOURCE
    fleet.plugins.add(name, ResourceScorer())
    await fleet.kill("hub")
    await fleet.start_hub()
    await fleet.hub.create(CMA, _object(CMA, {"name": name}))
    annotations = {HOSTING_CLUSTER_ANNOTATION: host.name}
    metadata = {"name": name, "namespace": fleet.cluster, "annotations": annotations}
    await fleet.hub.create(ADDON, _object(ADDON, metadata))
    where = DEFAULT_INSTALL_NAMESPACE
    deployed = await fleet.until(lambda: host.client.get(DEPLOYMENTS, f"{name}-agent", where))
    mounted = [volume["secret"]["secretName"] for volume in deployed["spec"]["template"]["spec"]["volumes"]]
    assert mounted == [f"{name}-managed-kubeconfig", f"{name}-hub-kubeconfig"]
    assert not await is_there(fleet.spoke, DEPLOYMENTS, f"{name}-agent", where)

    secret = await fleet.until(lambda: host.client.get(SECRETS, f"{name}-hub-kubeconfig", where))
    directory = tmp_path / "hub"
    directory.mkdir()
    for key, value in secrets.contents(secret).items():
        (directory / key).write_bytes(value)
    settings = Settings(name, fleet.cluster, where, directory / "kubeconfig", fleet.spoke_kubeconfig)
    agent = asyncio.create_task(run_addon_agent(fleet.plugins.require(name), settings, host.client))
    score = await fleet.until(lambda: fleet.hub.get(scores, "resource-usage-score", fleet.cluster))
    assert not await is_there(fleet.hub, scores, "resource-usage-score", host.name)
    assert score["metadata"]["namespace"] == fleet.cluster
    await fleet.until_condition(ADDON, name, "Available", namespace=fleet.cluster)
    agent.cancel()
    await asyncio.gather(agent, return_exceptions=True)
    await fleet.hub.delete(ADDON, name, fleet.cluster)
    await fleet.until_gone(fleet.hub, ADDON, name, fleet.cluster)
    await fleet.until_gone(host.client, DEPLOYMENTS, f"{name}-agent", where)
