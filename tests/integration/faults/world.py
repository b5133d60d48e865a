"""A small fleet whose every part can be made to fail: hub, managers, links, agents, clocks, a plug-in."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from addon_framework.api.addon import AddOnDeploymentConfig, ClusterManagementAddOn
from addon_framework.api.cluster import ManagedCluster, ManagedClusterSetBinding, Placement
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import NAMESPACES
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import ADDON_NAME_LABEL
from addon_framework.api.work import ManifestWork, ManifestWorkReplicaSet
from addon_framework.hub.install import accept, bootstrap_kubeconfig, install
from addon_framework.hub.run import CONTROLLERS, hub_manager
from addon_framework.hub.work.children import OWNER_LABEL
from addon_framework.kube import (
    ApiError,
    Client,
    ClientConfig,
    Controller,
    Key,
    NotFound,
    Watch,
    load_kubeconfig,
)
from addon_framework.spoke.registration.clock import HubClock
from addon_framework.spoke.run import run_agent
from addon_framework.testing import EmbeddedApiServer, eventually
from tests.integration.faults.addons import FAULTY, STEADY, Mood, plugins
from tests.integration.faults.link import Link
from tests.integration.hub.objects import binding, labelled, management_addon, placement
from tests.integration.spoke.objects import config_map, namespace_object

SPACE, SET = "faults", "set"  # where the placement, the configuration and the replica set are
AVAILABLE = "ManagedClusterConditionAvailable"
_PATIENCE = 3.0  # seconds in which a manager notices that its connections lead nowhere
ADC = {"group": AddOnDeploymentConfig.RESOURCE.group, "resource": AddOnDeploymentConfig.RESOURCE.plural}


class Process:
    """Something that runs until it is killed, and how to start it again. Its link is its network."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.url = ""
        self._task: asyncio.Task[None] | None = None

    def begin(self, task: asyncio.Task[None]) -> None:
        """It runs now."""
        self._task = task

    async def kill(self) -> None:
        """As kill -9: it can tell nobody any more, so its network goes first."""
        cut, self.link.is_cut = self.link.is_cut, True
        self.link.cut()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.link.is_cut = cut

    @property
    def failure(self) -> BaseException | None:
        """What it ended with, though nobody killed it."""
        ended = self._task is not None and self._task.done() and not self._task.cancelled()
        return self._task.exception() if ended and self._task is not None else None


class Spoke(Process):
    """A cluster: its API server, and its agent with a clock of its own."""

    def __init__(self, name: str, server: EmbeddedApiServer, link: Link) -> None:
        super().__init__(link)
        self.name, self.server = name, server
        self.shift = timedelta()
        self.is_removed = False
        self.uid = ""
        self.client: Client
        self.bootstrap = server.directory / "bootstrap.kubeconfig"

    def start(self) -> None:
        """The agent, as `fleetadm agent run` has it."""
        agent = run_agent(
            hub_kubeconfig=self.bootstrap,
            spoke_kubeconfig=self.server.kubeconfig,
            cluster_name=self.name,
            handle_signals=False,
            now=HubClock(lambda: datetime.now(UTC) + self.shift),
        )
        self.begin(asyncio.ensure_future(agent))


class Leading(Controller):
    """Runs while its manager leads, and tells if another does at the same time."""

    name = "leading"

    def __init__(self, leaders: list[Leading], at_once: list[str]) -> None:
        self._leaders, self._at_once = leaders, at_once

    def watches(self) -> list[Watch]:
        return []

    async def reconcile(self, key: Key) -> None:
        """Never: it watches nothing."""

    async def work(self) -> None:
        if self._leaders:
            self._at_once.append("two managers are at work at once")
        self._leaders.append(self)
        try:
            await asyncio.Event().wait()
        finally:
            self._leaders.remove(self)


class Manager(Process):
    """One of the hub's managers, of which one leads."""

    def __init__(self, link: Link, leaders: list[Leading], at_once: list[str]) -> None:
        super().__init__(link)
        self._leaders, self._at_once = leaders, at_once

    async def start(self, hub: EmbeddedApiServer, mood: Mood) -> None:
        """As `fleetadm hub run --leader-elect` has it, with a shorter lease."""
        config = load_kubeconfig(hub.kubeconfig)

        async def run() -> None:
            async with Client(_through(config, self.url), patience=_PATIENCE) as client:
                manager = hub_manager(
                    client, CONTROLLERS, plugins=plugins(mood), elect=True, lease_duration=2.0
                )
                manager.add(Leading(self._leaders, self._at_once))
                await manager.run()

        self.begin(asyncio.ensure_future(run()))


class World:
    """Everything, and the ways to break and to mend it."""

    def __init__(self, directory: Path) -> None:
        self.hub = _server(directory, "hub", 0)
        servers = [_server(directory, f"c{i}", i + 1) for i in range(2)]
        self.spokes = [Spoke(s.name, s, Link(self.hub.port)) for s in servers]
        self.leaders: list[Leading] = []
        self.at_once: list[str] = []
        self.managers = [Manager(Link(self.hub.port), self.leaders, self.at_once) for _ in range(2)]
        self.mood = Mood()
        self._clients: list[Client] = []
        self.admin: Client

    async def start(self) -> None:
        """Both clusters have joined, and the add-ons and the replica set are on them."""
        servers = [self.hub, *(spoke.server for spoke in self.spokes)]
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        self.admin = self._client(self.hub)
        await install(self.admin)
        for process in self.processes:
            process.url = await process.link.start()
        for manager in self.managers:
            await manager.start(self.hub, self.mood)
        for spoke in self.spokes:
            spoke.client = self._client(spoke.server)
            spoke.bootstrap.write_bytes(orjson.dumps(await bootstrap_kubeconfig(self.admin, spoke.url)))
            spoke.start()
        await self._order()
        await asyncio.gather(*map(self.join, self.spokes))

    @property
    def processes(self) -> list[Process]:
        """All agents and managers."""
        return [*self.spokes, *self.managers]

    def _client(self, server: EmbeddedApiServer) -> Client:
        self._clients.append(Client.from_kubeconfig(server.kubeconfig))
        return self._clients[-1]

    async def _order(self) -> None:
        """What the fleet's owner wants on every cluster."""
        await self.admin.create(NAMESPACES, namespace_object(SPACE))
        await self.admin.create(ManagedClusterSetBinding.RESOURCE, binding(SPACE))
        await self.admin.create(Placement.RESOURCE, placement(SPACE, predicates=labelled("faults", "yes")))
        for name in (STEADY, FAULTY):
            config: Json = {
                "apiVersion": AddOnDeploymentConfig.RESOURCE.api_version,
                "kind": AddOnDeploymentConfig.RESOURCE.kind,
                "metadata": {"name": name, "namespace": SPACE},
                "spec": {"customizedVariables": [{"name": "VALUE", "value": "1"}]},
            }
            await self.admin.create(AddOnDeploymentConfig.RESOURCE, config)
            cma = management_addon(name, SPACE, supportedConfigs=[ADC])
            [entry] = cma["spec"]["installStrategy"]["placements"]
            entry["configs"] = [{**ADC, "namespace": SPACE, "name": name}]
            await self.admin.create(ClusterManagementAddOn.RESOURCE, cma)
        resource = ManifestWorkReplicaSet.RESOURCE
        window = {"type": "Progressive", "progressive": {"maxConcurrency": 1, "minSuccessTime": "1s"}}
        replica_set = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": SET, "namespace": SPACE},
            "spec": {
                "manifestWorkTemplate": set_template("1"),
                "placementRefs": [{"name": "p", "rolloutStrategy": window}],
            },
        }
        await self.admin.create(resource, replica_set)

    async def stop(self) -> None:
        """Ends everything."""
        self.mood.turn("good")
        for process in self.processes:
            await process.kill()
            await process.link.close()
        for client in self._clients:
            await client.close()
        for server in (self.hub, *(spoke.server for spoke in self.spokes)):
            await asyncio.to_thread(server.stop)

    async def join(self, spoke: Spoke) -> None:
        """What an administrator does once a cluster has asked, maybe again."""

        async def asked() -> bool:
            uid = (await self.admin.get(ManagedCluster.RESOURCE, spoke.name))["metadata"]["uid"]
            return bool(uid != spoke.uid)

        await eventually(asked, timeout=40, swallow=ApiError)
        await eventually(lambda: accept(self.admin, [spoke.name]), timeout=40, swallow=Exception)
        change = {"spec": {"leaseDurationSeconds": 1}}
        joined = await self.admin.patch(ManagedCluster.RESOURCE, spoke.name, change)
        await self.choose(spoke, True)
        spoke.uid, spoke.is_removed = joined["metadata"]["uid"], False
        await self.until_available(spoke, "True")

    async def choose(self, spoke: Spoke, chosen: bool) -> None:
        """Whether the placement takes the cluster, and so the add-ons and the replica set."""
        change = {"metadata": {"labels": {"faults": "yes" if chosen else "no"}}}
        await self.admin.patch(ManagedCluster.RESOURCE, spoke.name, change)

    async def until_available(self, spoke: Spoke, status: str) -> None:
        """Waits until the hub says so of a cluster."""

        async def said() -> bool:
            cluster = await self.admin.get(ManagedCluster.RESOURCE, spoke.name)
            condition = get_condition(cluster, AVAILABLE)
            return condition is not None and condition["status"] == status

        await eventually(said, timeout=40, swallow=ApiError)

    # Faults

    async def restart_hub(self) -> None:
        """kill -9, and again from its store."""
        self.hub.kill()
        await asyncio.to_thread(self.hub.start)

    async def restart_cluster(self, spoke: Spoke) -> None:
        """The same of a cluster's own API server."""
        spoke.server.kill()
        await asyncio.to_thread(spoke.server.start)

    async def replace_manager(self, index: int) -> None:
        """One manager's machine is gone; another takes its place."""
        await self.managers[index].kill()
        await self.managers[index].start(self.hub, self.mood)

    async def restart_agent(self, spoke: Spoke) -> None:
        """kill -9 of the agent."""
        await spoke.kill()
        spoke.start()

    async def remove(self, spoke: Spoke) -> None:
        """The cluster is deleted, with all that it has, while its agent goes on."""
        await self.admin.delete(ManagedCluster.RESOURCE, spoke.name)
        spoke.is_removed = True

    async def delete_on_hub(self, spoke: Spoke, what: Resource) -> None:
        """By hand: all that controllers have made of a kind for a cluster."""
        for obj in (await self.admin.list(what, spoke.name))["items"]:
            labels = obj["metadata"].get("labels") or {}
            if what != ManifestWork.RESOURCE or {ADDON_NAME_LABEL, OWNER_LABEL} & set(labels):
                with contextlib.suppress(NotFound):
                    await self.admin.delete(what, obj["metadata"]["name"], spoke.name)

    async def heal(self) -> None:
        """No fault is left, and who was removed has joined again."""
        self.mood.turn("good")
        for process in self.processes:
            process.link.mend()
        await asyncio.gather(*(self.join(spoke) for spoke in self.spokes if spoke.is_removed))

    # What users do

    async def set_work(self, spoke: Spoke, name: str, manifests: list[Json]) -> bool:
        """Creates or changes a work; False while an earlier one of the name is on its way out."""
        resource = ManifestWork.RESOURCE
        spec = {"workload": {"manifests": manifests}}
        work: Json = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": spoke.name},
            "spec": spec,
        }
        try:
            live = await self.admin.get(resource, name, spoke.name)
        except NotFound:
            await self.admin.create(resource, work)
            return True
        if live["metadata"].get("deletionTimestamp"):
            return False
        await self.admin.patch(resource, name, {"spec": spec}, spoke.name)
        return True

    async def delete_work(self, spoke: Spoke, name: str) -> None:
        """Deletes a work, if it is there."""
        try:
            await self.admin.delete(ManifestWork.RESOURCE, name, spoke.name)
        except NotFound:
            pass

    async def roll_set(self, value: str) -> None:
        """A new template for all clusters."""
        change = {"spec": {"manifestWorkTemplate": set_template(value)}}
        await self.admin.patch(ManifestWorkReplicaSet.RESOURCE, SET, change, SPACE)

    async def roll_addon(self, name: str, value: str) -> None:
        """A new configuration for all clusters."""
        change = {"spec": {"customizedVariables": [{"name": "VALUE", "value": value}]}}
        await self.admin.patch(AddOnDeploymentConfig.RESOURCE, name, change, SPACE)


def set_template(value: str) -> Json:
    """What the replica set ships."""
    return {"workload": {"manifests": [config_map("f-set", "default", v=value)]}}


def _server(directory: Path, name: str, number: int) -> EmbeddedApiServer:
    folder = directory / name
    folder.mkdir()
    return EmbeddedApiServer(folder, name=name, service_cidr=f"127.1.{40 + number}.0/24")


def _through(config: ClientConfig, url: str) -> ClientConfig:
    """The same credentials, over a link."""
    return replace(config, server=url)
