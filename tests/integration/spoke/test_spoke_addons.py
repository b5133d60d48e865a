"""An add-on on a joined cluster: its works, its identity, its agent, its health; and their end."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CSRS, DEPLOYMENTS, LEASES, NAMESPACES, SECRETS
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import ADDON_NAME_LABEL, CLUSTER_NAME_LABEL
from addon_framework.kube import Client, ConfigError, Forbidden, NotFound
from addon_framework.plugins import AddonDescription, AgentContext, PluginError, Plugins, hookimpl
from addon_framework.spoke.addon_agent import Settings, follow_files, main_async, run_addon_agent
from addon_framework.spoke.names import AGENT_NAMESPACE
from addon_framework.spoke.registration import secrets
from addon_framework.spoke.registration.credentials import client_config
from addon_framework.testing import eventually
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.greeter import SCORES, Greeter

ADDON, CMA = ManagedClusterAddOn.RESOURCE, ClusterManagementAddOn.RESOURCE


async def install(fleet: Fleet) -> str:
    """The add-on on the cluster; its name, which is also its namespace."""
    name = f"greeter-{fleet.mark}"
    fleet.plugins.add(name, Greeter(name))
    await fleet.kill("hub")
    await fleet.start_hub()
    await fleet.hub.create(CMA, _object(CMA, {"name": name}))
    await fleet.hub.create(ADDON, _object(ADDON, {"name": name, "namespace": fleet.cluster}))
    return name


def _object(resource: Resource, metadata: Json) -> Json:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        "spec": {},
    }


async def registered(fleet: Fleet, name: str) -> dict[str, bytes]:
    """The add-on's identity, once it is there."""
    secret = await fleet.until(lambda: fleet.spoke.get(SECRETS, f"{name}-hub-kubeconfig", name))
    return secrets.contents(secret)


def mounted(directory: Path, data: dict[str, bytes]) -> Path:
    """The secret's files, as a kubelet mounts them."""
    directory.mkdir(exist_ok=True)
    for key, value in data.items():
        (directory / key).write_bytes(value)
    return directory / "kubeconfig"


async def test_from_installation_to_available_and_away(fleet: Fleet, tmp_path: Path) -> None:
    await fleet.join()
    name = await install(fleet)
    data = await registered(fleet, name)
    assert set(data) == {"kubeconfig", "tls.crt", "tls.key", "cluster-name", "agent-name"}
    assert b"client-certificate: tls.crt" in data["kubeconfig"]
    assert await fleet.until(lambda: fleet.spoke.get(DEPLOYMENTS, f"{name}-agent", name))
    found = await fleet.until_condition(ADDON, name, "ClusterCertificateRotated", namespace=fleet.cluster)
    reason = "ManagedClusterAddOnLeaseNotFound"
    await fleet.until_condition(ADDON, name, "Available", "Unknown", reason, fleet.cluster)
    assert found["status"]["registrations"]

    settings = Settings(name, fleet.cluster, name, mounted(tmp_path / "hub", data))
    agent = asyncio.create_task(run_addon_agent(fleet.plugins.require(name), settings, fleet.spoke))
    reason = "ManagedClusterAddOnLeaseUpdated"
    await fleet.until_condition(ADDON, name, "Available", "True", reason, fleet.cluster)
    await fleet.until(lambda: fleet.hub.get(SCORES, name, fleet.cluster))
    agent.cancel()
    await asyncio.gather(agent, return_exceptions=True)

    fleet.shift = timedelta(minutes=6)  # and no renewal since
    await fleet.spoke.patch(LEASES, name, {"metadata": {"labels": {"look": "now"}}}, name)
    reason = "ManagedClusterAddOnLeaseUpdateStopped"
    await fleet.until_condition(ADDON, name, "Available", "False", reason, fleet.cluster)
    fleet.shift = timedelta()

    await fleet.hub.delete(ADDON, name, fleet.cluster)
    await fleet.until_gone(fleet.hub, ADDON, name, fleet.cluster)
    await fleet.until_gone(fleet.spoke, SECRETS, f"{name}-hub-kubeconfig", name)
    await fleet.until_gone(fleet.spoke, NAMESPACES, name)


async def test_the_agents_identity_is_for_its_own_rights_only(fleet: Fleet) -> None:
    await fleet.join()
    name = await install(fleet)
    async with Client(client_config(await registered(fleet, name))) as identity:
        await identity.list(SCORES, fleet.cluster)
        for forbidden in (identity.list(SCORES), identity.list(ADDON, fleet.cluster), identity.list(CSRS)):
            with pytest.raises(Forbidden):
                await forbidden


async def test_the_identity_is_made_again_and_renewed(fleet: Fleet, tmp_path: Path) -> None:
    await fleet.join()
    name = await install(fleet)
    first = await registered(fleet, name)
    await fleet.spoke.delete(SECRETS, f"{name}-hub-kubeconfig", name)
    second = await registered(fleet, name)
    assert second["tls.crt"] != first["tls.crt"]
    fleet.shift = timedelta(days=330)
    await fleet.kill()
    fleet.start_agent()

    async def renewed() -> dict[str, bytes] | None:
        found = await registered(fleet, name)
        return found if found["tls.crt"] != second["tls.crt"] else None

    third = await fleet.until(renewed)
    fleet.shift = timedelta()
    selector = f"{CLUSTER_NAME_LABEL}={fleet.cluster},{ADDON_NAME_LABEL}={name}"
    requests = (await fleet.hub.list(CSRS, label_selector=selector))["items"]
    assert all(csr["metadata"]["name"].startswith(f"addon-{fleet.cluster}-{name}-") for csr in requests)
    await fleet.until_gone(fleet.spoke, SECRETS, f"{name}-hub-kubeconfig-pending", AGENT_NAMESPACE)

    # What an agent does when the kubelet has put the new files in place.
    kubeconfig = mounted(tmp_path / "hub", second)
    async with Client.from_kubeconfig(kubeconfig) as hub:
        before = hub.config.client_cert
        follower = asyncio.create_task(follow_files(hub, kubeconfig, every=0.01))
        await asyncio.sleep(0)
        mounted(tmp_path / "hub", third)
        await fleet.until(lambda: hub.config.client_cert != before)
        await hub.list(SCORES, fleet.cluster)
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


async def test_registrations_that_go_take_their_secrets_along(fleet: Fleet) -> None:
    await fleet.join()
    name = await install(fleet)
    await registered(fleet, name)
    await fleet.kill("hub")  # the hub's own controllers would put it back
    addon = await fleet.hub.get(ADDON, name, fleet.cluster)
    custom = {"signerName": "example.com/agents", "subject": {"user": "someone"}}
    addon["status"]["registrations"] = [custom]

    async def write() -> Json:
        addon["metadata"]["resourceVersion"] = (await fleet.hub.get(ADDON, name, fleet.cluster))["metadata"][
            "resourceVersion"
        ]
        return await fleet.hub.update(ADDON, addon, subresource="status")

    await fleet.until(write)
    await fleet.until_gone(fleet.spoke, SECRETS, f"{name}-hub-kubeconfig", name)

    async def asked() -> Json | None:
        listed = await fleet.hub.list(CSRS, label_selector=f"{ADDON_NAME_LABEL}={name}")
        return next((c for c in listed["items"] if c["spec"]["signerName"] == "example.com/agents"), None)

    csr = await fleet.until(asked)
    assert get_condition(csr, "Approved") is None
    await fleet.start_hub()


class Quiet:
    """An agent without a hub."""

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name="quiet")

    @hookimpl
    async def addon_agent(self, context: AgentContext) -> None:
        assert context.hub is None
        await asyncio.Event().wait()


async def test_the_image_runs_an_agent_until_sigterm(
    client: Client, kubeconfig: Path, namespace: str
) -> None:
    plugins = Plugins()
    plugins.add("quiet", Quiet())
    environment = {"CLUSTER_NAME": "c", "INSTALL_NAMESPACE": namespace, "KUBECONFIG": str(kubeconfig)}
    agent = asyncio.create_task(main_async("quiet", plugins, environment))
    lease = await eventually(lambda: client.get(LEASES, "quiet", namespace), swallow=NotFound)
    assert lease["spec"]["leaseDurationSeconds"] == 60
    signal.raise_signal(signal.SIGTERM)
    await agent  # in order, not with an error
    with pytest.raises(PluginError, match='no plug-in is named "loud"'):
        await main_async("loud", plugins, environment)


async def test_an_agent_that_ends_by_itself_is_an_error(client: Client, namespace: str) -> None:
    class Done(Quiet):
        @hookimpl
        async def addon_agent(self) -> None:  # type: ignore[override]
            return

    plugins = Plugins()
    plugin = plugins.add("quiet", Done())
    with pytest.raises(PluginError, match="ended by itself"):
        await run_addon_agent(plugin, Settings("quiet", "c", namespace, None), client)


def test_settings_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CLUSTER_NAME"):
        Settings.from_environment("a", {})
    missing = {"CLUSTER_NAME": "c", "HUB_KUBECONFIG": str(tmp_path / "kubeconfig")}
    with pytest.raises(ConfigError, match="a-hub-kubeconfig"):
        Settings.from_environment("a", missing)
    (tmp_path / "kubeconfig").write_bytes(orjson.dumps({}))
    settings = Settings.from_environment("a", {**missing, "INSTALL_NAMESPACE": "n"})
    assert (settings.addon, settings.namespace) == ("a", "n")
