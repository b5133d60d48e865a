"""The webhook of the hub manager, on a cluster that is neither OCM's hub nor embedded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from addon_framework.api import addon_v1beta1 as v1beta1
from addon_framework.api.addon import ClusterManagementAddOn
from addon_framework.api.core import CRDS
from addon_framework.api.crd import load_crds
from addon_framework.hub.conversion import review
from addon_framework.hub.run import hub_manager
from addon_framework.kube import Client, apply_crds
from addon_framework.kube import crds as installing
from addon_framework.testing import eventually
from addon_framework.testing.servers import free_port
from tests.integration.hub.objects import Json
from tests.integration.hub.test_hub_addon_versions import serve

NAME = "clustermanagementaddons.addon.open-cluster-management.io"


async def served(client: Client) -> list[str]:
    crd = await client.get(CRDS, NAME)
    return [v["name"] for v in crd["spec"]["versions"] if v["served"]]


async def test_a_hub_manager_converts_where_nobody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """v1beta1 comes with the manager's webhook, and installing again leaves it alone."""
    monkeypatch.setattr(installing, "_EMBEDDED", "+another")  # as if it were somebody else's server
    for server in serve(tmp_path):
        async with Client.from_kubeconfig(server.kubeconfig) as client:
            crds = load_crds("hub")
            await apply_crds(client, crds, field_manager="test")
            assert await served(client) == ["v1alpha1"]
            manager = hub_manager(client, ["work"], conversion=("127.0.0.1", free_port()))
            task = asyncio.create_task(manager.run())
            try:
                await eventually(lambda: _both(client))
                await apply_crds(client, crds, field_manager="test")
                assert await served(client) == ["v1alpha1", "v1beta1"]
                await use_both(client)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def _both(client: Client) -> bool:
    return len(await served(client)) == 2


async def use_both(client: Client) -> None:
    spec = {"supportedConfigs": [{"group": "g", "resource": "r", "defaultConfig": {"name": "d"}}]}
    obj = {
        "apiVersion": v1beta1.OLD,
        "kind": "ClusterManagementAddOn",
        "metadata": {"name": "a"},
        "spec": spec,
    }
    await client.create(ClusterManagementAddOn.RESOURCE, obj)
    resource = v1beta1.ClusterManagementAddOn.RESOURCE

    async def shown() -> Json:
        return await client.get(resource, "a")

    new = await eventually(shown, swallow=Exception)
    assert new["spec"]["defaultConfigs"] == [{"group": "g", "resource": "r", "name": "d"}]
    await client.patch(resource, "a", {"spec": {"defaultConfigs": []}})
    assert not (await client.get(ClusterManagementAddOn.RESOURCE, "a"))["spec"].get("supportedConfigs")


def test_what_is_no_addon_is_refused_with_a_reason() -> None:
    asked = {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "request": {"uid": "u"}}
    answer = review(asked)["response"]
    assert answer["uid"] == "u"
    assert answer["result"]["status"] == "Failure"
    assert "desiredAPIVersion" in answer["result"]["message"]
