"""API servers that are killed, a hub that is away, an agent process that is killed: it goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import CONFIGMAPS
from addon_framework.hub.install import install
from addon_framework.kube import Client
from addon_framework.testing import EmbeddedApiServer
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.objects import config_map

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("BOUNDARYLESS_TEST_KUBECONFIG")), reason="kills API servers, so they must be ours"
)

AGENT = """
import asyncio, sys
from pathlib import Path
from addon_framework.spoke.run import run_agent
hub, spoke, name = sys.argv[1:]
asyncio.run(run_agent(hub_kubeconfig=Path(hub), spoke_kubeconfig=Path(spoke), cluster_name=name))
"""


class Servers:
    """A hub and a spoke of this test alone."""

    def __init__(self, directory: Path) -> None:
        self.hub, self.spoke = (
            EmbeddedApiServer(self._folder(directory, name), name=name, service_cidr=cidr)
            for name, cidr in (("hub", "127.1.2.0/24"), ("spoke", "127.1.3.0/24"))
        )

    @staticmethod
    def _folder(directory: Path, name: str) -> Path:
        folder = directory / name
        folder.mkdir()
        return folder


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    it = Servers(tmp_path)
    it.hub.start()
    it.spoke.start()
    yield it
    it.hub.stop()
    it.spoke.stop()


@pytest.fixture
async def alone(servers: Servers, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet on them."""
    async with (
        Client.from_kubeconfig(servers.hub.kubeconfig) as hub,
        Client.from_kubeconfig(servers.spoke.kubeconfig) as spoke,
    ):
        await install(hub)
        fleet = Fleet(hub, spoke, servers.spoke.kubeconfig, tmp_path)
        await fleet.start_hub()
        yield fleet
        for name in ("agent", "hub"):
            await fleet.kill(name)


async def test_the_spokes_api_server_is_killed(alone: Fleet, servers: Servers) -> None:
    await alone.join()
    name = await alone.work("before", [config_map("before", "default", x="1")])
    await alone.applied(name)
    servers.spoke.kill()
    later = await alone.work("later", [config_map("later", "default", x="1")])
    await asyncio.to_thread(servers.spoke.start)
    await alone.applied(later)
    await alone.spoke.patch(CONFIGMAPS, "before", {"data": {"x": "2"}}, "default")

    async def repaired() -> bool:
        return (await alone.spoke.get(CONFIGMAPS, "before", "default"))["data"]["x"] == "1"

    await alone.until(repaired)
    await alone.until_condition(ManagedCluster.RESOURCE, alone.cluster, "ManagedClusterConditionAvailable")


async def test_the_hub_is_away_for_a_while(alone: Fleet, servers: Servers) -> None:
    await alone.join()
    name = await alone.work("away", [config_map("away", "default", x="1")])
    await alone.applied(name)
    servers.hub.kill()
    await alone.spoke.patch(CONFIGMAPS, "away", {"data": {"x": "2"}}, "default")

    async def repaired() -> bool:
        return (await alone.spoke.get(CONFIGMAPS, "away", "default"))["data"]["x"] == "1"

    await alone.until(repaired)  # without the hub
    await asyncio.to_thread(servers.hub.start)
    await alone.set_work(name, [config_map("away", "default", x="3")])
    await alone.applied(name)


async def test_the_agents_process_is_killed_and_ended(alone: Fleet) -> None:
    command = [sys.executable, "-c", AGENT, str(alone.bootstrap), str(alone.spoke_kubeconfig), alone.cluster]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await alone.accept()
        cluster = ManagedCluster.RESOURCE
        await alone.until_condition(cluster, alone.cluster, "ManagedClusterConditionAvailable")
        name = await alone.work("p", [config_map(f"p{i}", "default", x="1") for i in range(20)])
        process.send_signal(signal.SIGKILL)
        await process.wait()
        process = await asyncio.create_subprocess_exec(*command)
        await alone.applied(name)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
