"""A rendered add-on on a hub whose add-on manager is OCM's, with no process of ours for add-ons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addon_framework.api.addon import ClusterManagementAddOn
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.hub.run import hub_manager
from addon_framework.kube import Client
from addon_framework.testing.servers import free_port
from tests.integration.hub import rendered
from tests.integration.hub.conftest import Hub, running
from tests.interop.programs import Programs


@pytest.fixture
async def hub(
    client: Client, crds_installed: None, kubeconfig: Path, ocm_programs: Path, tmp_path: Path
) -> AsyncIterator[Hub]:
    """Clusters are ours to register, add-ons are OCM's; and ours to convert, where the server does not."""
    programs = Programs(tmp_path)
    async with running(client) as hub:
        manager = hub_manager(client, ["registration"], conversion=("127.0.0.1", free_port()))
        ours = asyncio.create_task(manager.run())
        programs.start(
            "addons",
            *(ocm_programs / "addon", "manager", "--kubeconfig", kubeconfig, "--namespace", HUB_NAMESPACE),
            *("--disable-leader-election", "--listen", f"127.0.0.1:{free_port()}"),
        )
        try:
            yield hub
        except Exception as error:
            error.add_note(programs.tails())
            raise
        finally:
            programs.close()
            ours.cancel()
            await asyncio.gather(ours, return_exceptions=True)


async def test_what_was_rendered_runs_by_ocms_add_on_manager(hub: Hub) -> None:
    cluster = await hub.cluster()
    await rendered.install(hub.client, cluster)
    try:
        await rendered.check(hub.client, cluster)
    finally:
        await hub.client.delete(ClusterManagementAddOn.RESOURCE, rendered.NAME)
