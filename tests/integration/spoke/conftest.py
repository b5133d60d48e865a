"""A hub and a spoke, each an API server of its own, with the hub's controllers in the test's loop.

With `BOUNDARYLESS_TEST_KUBECONFIG` one real cluster is both.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.meta import Json, Resource
from addon_framework.api.work import ManifestWork
from addon_framework.hub.install import accept, bootstrap_kubeconfig, install
from addon_framework.hub.run import run_hub
from addon_framework.kube import ApiError, Client, NotFound, load_kubeconfig, wait_for
from addon_framework.plugins import Plugins
from addon_framework.spoke.names import AGENT_NAMESPACE, HUB_SECRET
from addon_framework.spoke.registration import secrets as agent_secrets
from addon_framework.spoke.run import run_agent
from addon_framework.testing import eventually
from addon_framework.testing.servers import ApiServer, chosen_server


class Fleet:
    """One hub, one spoke, and an agent between them that a test may kill and start again."""

    def __init__(self, hub: Client, spoke: Client, spoke_kubeconfig: Path, directory: Path) -> None:
        self.hub, self.spoke, self.spoke_kubeconfig = hub, spoke, spoke_kubeconfig
        self.bootstrap = directory / "bootstrap.kubeconfig"
        self.plugins = Plugins()
        self.mark = secrets.token_hex(4)
        self.cluster = f"c{self.mark}"
        self.shift = timedelta()
        self.auto_approve: tuple[str, ...] = ()
        self.addon_auth = "csr"
        self.clock: Callable[[], datetime] = self.now
        self.hosting_kubeconfig: Path | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def now(self) -> datetime:
        """The agent's clock."""
        return datetime.now(UTC) + self.shift

    async def start_hub(self) -> None:
        """The hub's manager, and a way to join."""
        self._tasks["hub"] = asyncio.create_task(
            run_hub(
                self.hub,
                plugins=self.plugins,
                auto_approve_users=self.auto_approve,
                handle_signals=False,
            )
        )
        self.bootstrap.write_bytes(orjson.dumps(await bootstrap_kubeconfig(self.hub)))

    def start_agent(self, controllers: list[str] | None = None, name: str = "agent") -> None:
        """The agent, as `fleetadm agent run` has it."""
        self._tasks[name] = asyncio.create_task(
            run_agent(
                hub_kubeconfig=self.bootstrap,
                spoke_kubeconfig=self.spoke_kubeconfig,
                cluster_name=self.cluster,
                controllers=controllers,
                hosting_kubeconfig=self.hosting_kubeconfig,
                addon_auth=self.addon_auth,
                handle_signals=False,
                now=self.clock,
            )
        )

    async def kill(self, name: str = "agent") -> None:
        """Ends it without warning, whatever it was doing."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            results = await asyncio.gather(task, return_exceptions=True)
            assert not isinstance(results[0], Exception), results[0]

    async def join(self) -> None:
        """An agent that has joined and is available."""
        self.start_agent()
        await self.accept()
        await self.until_condition(ManagedCluster.RESOURCE, self.cluster, "ManagedClusterConditionAvailable")

    async def accept(self) -> None:
        """What the administrator does, once the cluster has asked."""
        await eventually(lambda: accept(self.hub, [self.cluster]), swallow=Exception)

    async def until(self, probe: Callable[[], Any], timeout: float = 90) -> Any:
        """Waits until the probe gives something true; what is not there, or not reachable, is not yet.

        kube-controller-manager takes up to 30 s to see that there is a new kind to collect.
        """
        return await eventually(probe, timeout=timeout, swallow=ApiError)

    async def until_condition(
        self,
        resource: Resource,
        name: str,
        kind: str,
        status: str = "True",
        reason: str = "",
        namespace: str | None = None,
    ) -> Json:
        """Waits for a condition on the hub; the object."""

        async def probe() -> Json | None:
            obj = await self.hub.get(resource, name, namespace)
            condition = get_condition(obj, kind)
            assert condition is not None, f"{name} has no condition {kind}: {obj.get('status')}"
            assert condition["status"] == status, condition
            assert not reason or condition["reason"] == reason, condition
            return obj

        found: Json = await self.until(probe)
        return found

    async def until_gone(self, client: Client, resource: Resource, name: str, namespace: str = "") -> None:
        """Waits until the object is not there."""
        await wait_for(
            client, resource, name, namespace or None, until=lambda obj: obj is None, timeout=90, what="gone"
        )

    # Works

    async def work(self, name: str, manifests: list[Json], **spec: Any) -> str:
        """Creates a ManifestWork; its name, which is this test's own."""
        name = f"{name}-{self.mark}"
        resource = ManifestWork.RESOURCE
        work = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": self.cluster},
            "spec": {"workload": {"manifests": manifests}, **spec},
        }
        await self.hub.create(resource, work)
        return name

    async def set_work(self, name: str, manifests: list[Json], **spec: Any) -> None:
        """Changes a work's spec."""

        async def write() -> Json:
            work = await self.hub.get(ManifestWork.RESOURCE, name, self.cluster)
            work["spec"] = {"workload": {"manifests": manifests}, **spec}
            return await self.hub.update(ManifestWork.RESOURCE, work)

        await self.until(write)

    async def applied(self, name: str, status: str = "True") -> Json:
        """Waits until the work's newest generation is judged so."""

        async def probe() -> Json | None:
            work = await self.hub.get(ManifestWork.RESOURCE, name, self.cluster)
            condition = get_condition(work, "Applied")
            assert condition is not None, work.get("status")
            assert condition["observedGeneration"] == work["metadata"]["generation"], condition
            assert condition["status"] == status, condition
            return work

        found: Json = await self.until(probe)
        return found

    async def feedback(self, name: str, ordinal: int = 0) -> Json:
        """The values that came back of one manifest."""
        work = await self.hub.get(ManifestWork.RESOURCE, name, self.cluster)
        entry = work["status"]["resourceStatus"]["manifests"][ordinal]
        fields = {v["name"]: v["fieldValue"] for v in (entry["statusFeedback"].get("values") or [])}
        return {n: next(v for k, v in field.items() if k != "type") for n, field in fields.items()}

    async def identity(self) -> dict[str, bytes]:
        """What the agent has stored."""
        return agent_secrets.contents(
            await self.spoke.get(agent_secrets.SECRETS, HUB_SECRET, AGENT_NAMESPACE)
        )

    async def close(self) -> None:
        """Ends everything; with the agent alive, so that the cluster leaves in order."""
        try:
            if "hub" in self._tasks and not self._tasks["hub"].done():
                await self._leave()
        finally:
            for name in list(self._tasks):
                await self.kill(name)

    async def _leave(self) -> None:
        clusters = await self.hub.list(ManagedCluster.RESOURCE)
        mine = [c for c in clusters["items"] if c["metadata"]["name"] == self.cluster]
        for addon in (await self.hub.list(ClusterManagementAddOn.RESOURCE))["items"]:
            if addon["metadata"]["name"].endswith(self.mark):
                await self.hub.delete(ClusterManagementAddOn.RESOURCE, addon["metadata"]["name"])
        if not mine:
            return
        if is_true(mine[0], "ManagedClusterJoined") and "agent" not in self._tasks:
            self.start_agent()
        for resource in (ManagedClusterAddOn.RESOURCE, ManifestWork.RESOURCE):
            for obj in (await self.hub.list(resource, self.cluster))["items"]:
                try:
                    await self.hub.delete(resource, obj["metadata"]["name"], self.cluster)
                except NotFound:
                    continue
        await self.remove_cluster()
        await self.kill()  # it would ask to join again
        try:
            await self.hub.delete(ManagedCluster.RESOURCE, self.cluster)
        except NotFound:
            return

    async def remove_cluster(self) -> None:
        """Deletes the ManagedCluster and waits until it is gone; its agent may have asked again since."""
        uid = (await self.hub.get(ManagedCluster.RESOURCE, self.cluster))["metadata"]["uid"]
        await self.hub.delete(ManagedCluster.RESOURCE, self.cluster)

        async def gone() -> bool:
            try:
                found = await self.hub.get(ManagedCluster.RESOURCE, self.cluster)
            except NotFound:
                return True
            return bool(found["metadata"]["uid"] != uid)

        await self.until(gone)


@pytest.fixture(scope="session")
def spoke_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer | None]:
    """The spoke's API server; None when one real cluster is both."""
    if os.environ.get("BOUNDARYLESS_TEST_KUBECONFIG"):
        yield None
        return
    server = chosen_server(tmp_path_factory.mktemp("spoke"), name="spoke", service_cidr="127.1.1.0/24")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def fleet(
    client: Client,
    kubeconfig: Path,
    spoke_server: ApiServer | None,
    crds_installed: None,
    tmp_path: Path,
) -> AsyncIterator[Fleet]:
    """A hub that runs, and a spoke that has not asked to join."""
    spoke_kubeconfig = kubeconfig if spoke_server is None else spoke_server.kubeconfig
    await install(client)
    async with Client(load_kubeconfig(spoke_kubeconfig)) as spoke:
        it = Fleet(client, spoke, spoke_kubeconfig, tmp_path)
        await it.start_hub()
        try:
            yield it
        finally:
            await it.close()
