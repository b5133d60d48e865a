"""A cluster that is removed, denied, detached, sent to another hub; and works that nobody can take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import CONFIGMAPS, LEASES, NAMESPACES, SECRETS
from addon_framework.api.names import CLEANUP_PRIORITY_ANNOTATION
from addon_framework.api.work import AppliedManifestWork, ManifestWork
from addon_framework.cli.main import cli
from addon_framework.hub.install import accept, bootstrap_kubeconfig, install
from addon_framework.hub.run import run_hub
from addon_framework.kube import Client, Forbidden, NotFound
from addon_framework.plugins import Plugins
from addon_framework.spoke.names import AGENT_NAMESPACE, HUB_SECRET
from addon_framework.spoke.registration.credentials import client_config
from addon_framework.spoke.work.bookkeeping import applied_name, hub_hash
from addon_framework.testing import EmbeddedApiServer, eventually
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.objects import config_map

CLUSTER = ManagedCluster.RESOURCE
WORK = ManifestWork.RESOURCE


async def asked_again(fleet: Fleet, uid: str) -> bool:
    try:
        cluster = await fleet.hub.get(CLUSTER, fleet.cluster)
    except NotFound:
        return False
    return cluster["metadata"]["uid"] != uid and not cluster["spec"].get("hubAcceptsClient")


async def test_a_removed_cluster_asks_again_without_a_restart(fleet: Fleet) -> None:
    await fleet.join()
    before = await fleet.identity()
    uid = (await fleet.hub.get(CLUSTER, fleet.cluster))["metadata"]["uid"]
    await fleet.remove_cluster()
    await fleet.until(lambda: asked_again(fleet, uid))
    async with Client(client_config(before)) as identity:
        with pytest.raises(Forbidden):
            await identity.list(WORK, fleet.cluster)
    await fleet.accept()
    await fleet.until_condition(CLUSTER, fleet.cluster, "ManagedClusterConditionAvailable")
    assert (await fleet.identity())["tls.crt"] != before["tls.crt"]
    await fleet.applied(await fleet.work("again", [config_map(f"again-{fleet.mark}", "default", a="b")]))


async def test_a_denied_cluster_has_no_rights_until_it_is_accepted_again(fleet: Fleet) -> None:
    await fleet.join()
    identity = Client(client_config(await fleet.identity()))
    await fleet.hub.patch(CLUSTER, fleet.cluster, {"spec": {"hubAcceptsClient": False}})
    denied = "HubAcceptedManagedCluster"
    await fleet.until_condition(CLUSTER, fleet.cluster, denied, "False", "HubClusterAdminDenied")
    name = await fleet.work("denied", [config_map(f"denied-{fleet.mark}", "default", a="b")])
    async with identity:
        assert (await identity.get(CLUSTER, fleet.cluster))["metadata"]["name"] == fleet.cluster
        for attempt in (
            identity.list(WORK, fleet.cluster),
            identity.get(LEASES, "managed-cluster-lease", fleet.cluster),
            identity.patch(WORK, name, {"status": {}}, fleet.cluster, subresource="status"),
            identity.patch(CLUSTER, fleet.cluster, {"status": {}}, subresource="status"),
        ):
            with pytest.raises(Forbidden):
                await attempt
    await fleet.accept()
    await fleet.applied(name)
    assert await fleet.spoke.get(CONFIGMAPS, f"denied-{fleet.mark}", "default")


async def test_detach_drains_in_order_and_the_name_can_join_again(fleet: Fleet, kubeconfig: Path) -> None:
    await fleet.join()
    first = await fleet.work("first", [config_map(f"first-{fleet.mark}", "default", a="b")])
    last = await fleet.work("last", [config_map(f"last-{fleet.mark}", "default", a="b")])
    await fleet.hub.patch(
        WORK, last, {"metadata": {"annotations": {CLEANUP_PRIORITY_ANNOTATION: "10"}}}, fleet.cluster
    )
    for name in (first, last):
        await fleet.applied(name)
    held = {"metadata": {"finalizers": ["spoke.test/held"]}}
    await fleet.spoke.patch(CONFIGMAPS, f"first-{fleet.mark}", held, "default")

    def detach() -> tuple[int, str]:
        arguments = ["detach", fleet.cluster, "--kubeconfig", str(kubeconfig), "--timeout", "60"]
        done = CliRunner().invoke(cli, arguments)
        return done.exit_code, done.output

    running = asyncio.create_task(asyncio.to_thread(detach))

    async def blocked() -> bool:
        cluster = await fleet.hub.get(CLUSTER, fleet.cluster)
        condition = get_condition(cluster, "Deleting")
        assert condition is not None
        work = await fleet.hub.get(WORK, first, fleet.cluster)
        return first in condition["message"] and "deletionTimestamp" in work["metadata"]

    await fleet.until(blocked)
    assert "deletionTimestamp" not in (await fleet.hub.get(WORK, last, fleet.cluster))["metadata"]
    assert await fleet.spoke.get(CONFIGMAPS, f"last-{fleet.mark}", "default")
    await fleet.spoke.patch(CONFIGMAPS, f"first-{fleet.mark}", {"metadata": {"finalizers": None}}, "default")
    code, output = await running
    assert code == 0, output
    assert f"{fleet.cluster}: detached" in output
    assert "manifestworks" in output
    assert (await fleet.hub.list(WORK, fleet.cluster))["items"] == []
    await fleet.until_gone(fleet.spoke, CONFIGMAPS, f"last-{fleet.mark}", "default")
    assert await fleet.hub.get(NAMESPACES, fleet.cluster)
    await fleet.accept()
    await fleet.until_condition(CLUSTER, fleet.cluster, "ManagedClusterConditionAvailable")
    await fleet.applied(await fleet.work("back", [config_map(f"back-{fleet.mark}", "default", a="b")]))


async def test_a_lost_cluster_is_detached_by_force(fleet: Fleet, kubeconfig: Path) -> None:
    await fleet.join()
    work = await fleet.work("lost", [config_map(f"lost-{fleet.mark}", "default", a="b")])
    await fleet.applied(work)
    await fleet.kill()
    arguments = ["detach", fleet.cluster, "--kubeconfig", str(kubeconfig), "--timeout"]
    done = await asyncio.to_thread(CliRunner().invoke, cli, [*arguments, "1"])
    assert done.exit_code == 5
    assert work in done.output  # what blocks it
    done = await asyncio.to_thread(CliRunner().invoke, cli, [*arguments, "30", "--force"])
    assert done.exit_code == 0, done.output
    assert f"gave up ManifestWork {work}" in done.output
    assert await fleet.spoke.get(CONFIGMAPS, f"lost-{fleet.mark}", "default")


async def test_detaching_what_is_not_there_is_said(fleet: Fleet, kubeconfig: Path) -> None:
    arguments = ["detach", "nobody", "--kubeconfig", str(kubeconfig)]
    done = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
    assert done.exit_code == 4
    assert "no cluster nobody" in done.output


@pytest.fixture
async def other_hub(tmp_path: Path) -> AsyncIterator[Client]:
    """A second hub, which runs."""
    directory = tmp_path / "other-hub"
    directory.mkdir()
    server = EmbeddedApiServer(directory, name="other", service_cidr="127.1.2.0/24")
    await asyncio.to_thread(server.start)
    try:
        async with Client.from_kubeconfig(server.kubeconfig) as client:
            await install(client)
            manager = asyncio.create_task(run_hub(client, plugins=Plugins(), handle_signals=False))
            yield client
            manager.cancel()
            await asyncio.gather(manager, return_exceptions=True)
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_bootstrap_kubeconfig_of_another_hub_moves_the_cluster_there(
    fleet: Fleet, other_hub: Client
) -> None:
    await fleet.join()
    old = await fleet.work("old", [config_map(f"old-{fleet.mark}", "default", a="b")])
    await fleet.applied(old)
    fleet.bootstrap.write_bytes(orjson.dumps(await bootstrap_kubeconfig(other_hub)))
    # Files are looked at every few seconds; an event of the secret has it look now.
    await fleet.spoke.patch(SECRETS, HUB_SECRET, {"metadata": {"labels": {"poke": "1"}}}, AGENT_NAMESPACE)
    await eventually(lambda: accept(other_hub, [fleet.cluster]), swallow=Exception)

    async def available() -> bool:
        return is_true(await other_hub.get(CLUSTER, fleet.cluster), "ManagedClusterConditionAvailable")

    await fleet.until(available)
    name = applied_name(hub_hash(fleet.hub.server), old)

    async def marked() -> bool:
        book = await fleet.spoke.get(AppliedManifestWork.RESOURCE, name)
        return bool((book.get("status") or {}).get("evictionStartTime"))

    await fleet.until(marked)
    assert await fleet.spoke.get(CONFIGMAPS, f"old-{fleet.mark}", "default")
    fleet.bootstrap.write_bytes(orjson.dumps(await bootstrap_kubeconfig(fleet.hub)))
    await fleet.spoke.patch(SECRETS, HUB_SECRET, {"metadata": {"labels": {"poke": "2"}}}, AGENT_NAMESPACE)
    await fleet.accept()  # its first hub still has it; the new certificate is to be approved

    async def back() -> bool:
        book = await fleet.spoke.get(AppliedManifestWork.RESOURCE, name)
        return not (book.get("status") or {}).get("evictionStartTime")

    await fleet.until(back)


async def test_a_work_beyond_the_size_limit_says_so_and_changes_nothing(fleet: Fleet) -> None:
    await fleet.join()
    small = config_map(f"size-{fleet.mark}", "default", a="b")
    name = await fleet.work("size", [small])
    await fleet.applied(name)
    await fleet.set_work(name, [config_map(f"big-{fleet.mark}", "default", a="x" * 600_000)])
    work = await fleet.applied(name, "False")
    condition = get_condition(work, "Applied")
    assert condition is not None
    assert condition["reason"] == "ManifestWorkTooLarge"
    assert "512000" in condition["message"]
    assert await fleet.spoke.get(CONFIGMAPS, f"size-{fleet.mark}", "default")
    await fleet.set_work(name, [small])
    await fleet.applied(name)
