"""Beside OCM's add-on manager: it says which configurations an add-on has, we say what is in them."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from addon_framework.api.addon import AddOnDeploymentConfig, ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.core import NAMESPACES
from addon_framework.api.meta import Json
from addon_framework.hub.addons.configs import spec_hash
from addon_framework.hub.addons.spec_hashes import SpecHashController
from addon_framework.kube import Client, Manager
from addon_framework.plugins import Plugins
from addon_framework.testing import eventually
from tests.integration.hub.conftest import led_by_nobody
from tests.integration.hub.objects import management_addon

GROUP = "addon.open-cluster-management.io"
CONFIGS = AddOnDeploymentConfig.RESOURCE


def reference(name: str, namespace: str) -> Json:
    """As OCM's add-on manager writes it."""
    where = {"name": name, "namespace": namespace}
    return {"group": GROUP, "resource": CONFIGS.plural, "desiredConfig": where}


async def config(client: Client, name: str, namespace: str, value: str) -> Json:
    spec = {"customizedVariables": [{"name": "A", "value": value}]}
    body = {
        "apiVersion": CONFIGS.api_version,
        "kind": CONFIGS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    return await client.apply(body, field_manager="test", resource=CONFIGS)


@pytest.mark.parametrize("named", [True, False], ids=["of-the-cluster", "of-a-placement"])
async def test_hashes_are_filled_in(client: Client, crds_installed: None, named: bool) -> None:
    await led_by_nobody(client)  # OCM's add-on manager is played here
    name, namespace = (f"{what}-{uuid.uuid4().hex[:6]}" for what in ("addon", "cluster"))
    await client.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    )
    plugins = Plugins()
    plugins.add(name, object())
    first = await config(client, "c", namespace, "1")
    await client.create(ClusterManagementAddOn.RESOURCE, management_addon(name))
    own = [{"group": GROUP, "resource": CONFIGS.plural, "name": "c", "namespace": namespace}] if named else []
    addon = {
        "apiVersion": ManagedClusterAddOn.RESOURCE.api_version,
        "kind": ManagedClusterAddOn.RESOURCE.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"configs": own},
    }
    await client.create(ManagedClusterAddOn.RESOURCE, addon, namespace)
    entry = reference("c", namespace)
    progression = {"namespace": namespace, "name": "p", "configReferences": [entry]}
    for resource, status, where in (
        (
            ClusterManagementAddOn.RESOURCE,
            {"defaultconfigReferences": [entry], "installProgressions": [progression]},
            None,
        ),
        (
            ManagedClusterAddOn.RESOURCE,
            {"configReferences": [{**entry, **entry["desiredConfig"]}]},
            namespace,
        ),
    ):
        await client.patch(resource, name, {"status": status}, where, subresource="status")

    async def told(by: Json) -> bool:
        management = (await client.get(ClusterManagementAddOn.RESOURCE, name))["status"]
        [default] = management["defaultconfigReferences"]
        [of_placement] = management["installProgressions"][0]["configReferences"]
        [of_cluster] = (await client.get(ManagedClusterAddOn.RESOURCE, name, namespace))["status"][
            "configReferences"
        ]
        for each in (default, of_placement):
            assert each["desiredConfig"]["specHash"] == spec_hash(by)
        assert of_cluster["lastObservedGeneration"] == by["metadata"]["generation"]
        # What a placement gives to a cluster comes with its hash from OCM, when its turn has come.
        assert of_cluster["desiredConfig"].get("specHash") == (spec_hash(by) if named else None)
        return True

    manager = Manager(client, name="test")
    manager.add(SpecHashController(plugins))
    running = asyncio.create_task(manager.run())
    try:
        await eventually(lambda: told(first), swallow=KeyError)
        second = await config(client, "c", namespace, "2")
        await eventually(lambda: told(second))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.delete(ClusterManagementAddOn.RESOURCE, name)
        await client.delete(NAMESPACES, namespace)
