"""`fleetadm hub run` without --controllers: what OCM runs on the hub is left to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from addon_framework.api.core import DEPLOYMENTS, LEASES
from addon_framework.api.meta import Resource
from addon_framework.api.time import micro_time
from addon_framework.hub.addons.install import InstallController
from addon_framework.hub.install import install
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.hub.run import CONTROLLERS, choose, hub_manager
from addon_framework.kube import Client
from addon_framework.plugins import Plugins
from tests.integration.hub.conftest import led_by_nobody


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": "quay.io/open-cluster-management/registration"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": HUB_NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@pytest.fixture
async def hub_client(client: Client, crds_installed: None) -> AsyncIterator[Client]:
    await led_by_nobody(client)
    await install(client)
    before = await _there(client)
    yield client
    for resource, name in await _there(client) - before:
        await client.delete(resource, name, HUB_NAMESPACE)


async def _there(client: Client) -> set[tuple[Resource, str]]:
    return {
        (resource, obj["metadata"]["name"])
        for resource in (LEASES, DEPLOYMENTS)
        for obj in (await client.list(resource, HUB_NAMESPACE))["items"]
    }


async def test_a_hub_of_our_own_gets_everything(hub_client: Client) -> None:
    choice = await choose(hub_client, None)
    assert choice.names == CONTROLLERS
    assert not choice.beside_addon_manager


async def test_ocms_hub_gets_what_it_lacks(hub_client: Client) -> None:
    await hub_client.create(DEPLOYMENTS, deployment("cluster-manager-registration-controller"))
    await hub_client.create(DEPLOYMENTS, deployment("cluster-manager-addon-manager-controller"))
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "placement-lock", "namespace": HUB_NAMESPACE},
        "spec": {"holderIdentity": "a", "renewTime": micro_time(), "leaseDurationSeconds": 137},
    }
    await hub_client.create(LEASES, lease)
    choice = await choose(hub_client, None)
    assert choice.names == ("work", "addons")
    assert "cluster-manager-registration-controller" in choice.reasons["registration"]
    assert "placement-lock, held by a" in choice.reasons["placement"]
    manager = hub_manager(
        hub_client, choice.names, plugins=Plugins(), beside_addon_manager=choice.beside_addon_manager
    )
    names = {controller.name for controller, _ in manager._controllers}
    assert {"work-replicaset", "work-finished", "addon-deploy", "addon-spec-hash"} <= names
    assert not names & {
        "addon-install",
        "addon-config",
        InstallController.name,
        "placement",
        "registration-cluster",
    }


async def test_what_is_named_is_run_whatever_is_there(hub_client: Client) -> None:
    await hub_client.create(DEPLOYMENTS, deployment("cluster-manager-placement-controller"))
    choice = await choose(hub_client, ["placement", "addons"])
    assert choice.names == ("placement", "addons")
    assert not choice.beside_addon_manager
