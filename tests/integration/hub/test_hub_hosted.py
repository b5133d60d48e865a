"""Hosted mode on the hub: works in the hosting cluster's namespace, conditions, hooks there, and the end."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition
from addon_framework.api.work import ManifestWork
from addon_framework.kube import NotFound
from addon_framework.plugins import AddonDescription, Workload, hookimpl
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, applied, management_addon

GROUP = "addon.open-cluster-management.io"
HOSTING = f"{GROUP}/hosting-cluster-name"
LOCATION = f"{GROUP}/hosted-manifest-location"


def at(location: str | None, kind: str, name: str, **more: Any) -> Json:
    annotations = {LOCATION: location} if location is not None else {}
    api = {"Deployment": "apps/v1", "Job": "batch/v1"}.get(kind, "v1")
    metadata: Json = {"name": name, "namespace": "here", "annotations": annotations}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **more}


class Guest:
    """An add-on whose agent may run on another cluster."""

    def __init__(self, name: str, *, hosted: bool = True, hook: bool = False) -> None:
        self.name, self.hosted, self.hook = name, hosted, hook
        self.values: dict[str, Any] = {}

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=self.name, health=Workload, hosted=self.hosted, pre_delete_deadline=60)

    @hookimpl
    def addon_manifests(self, values: dict[str, Any]) -> list[Json]:
        self.values = values
        result = [
            at("hosting", "Deployment", "agent"),
            at(None, "ConfigMap", "rights"),
            at("none", "ConfigMap", "only-in-default-mode"),
        ]
        if self.hook:
            job = at("hosting", "Job", "clean")
            job["metadata"]["annotations"][f"{GROUP}/addon-pre-delete"] = ""
            result.append(job)
        return result


class Scene:
    """One add-on on one cluster, hosted by another."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.client = hub, hub.client
        self.name = f"guest-{uuid.uuid4().hex[:8]}"
        self.cluster = self.hosting = ""

    async def install(self, plugin: Guest, hosting: str | None = None) -> None:
        self.hub.plugins.add(self.name, plugin)
        await self.hub.start()
        self.cluster, self.hosting = await self.hub.cluster(), await self.hub.cluster()
        await self.hub.create(ClusterManagementAddOn.RESOURCE, management_addon(self.name))
        resource = ManagedClusterAddOn.RESOURCE
        metadata = {
            "name": self.name,
            "namespace": self.cluster,
            "annotations": {HOSTING: self.hosting if hosting is None else hosting},
        }
        addon = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": {}}
        await self.client.create(resource, addon)

    async def addon(self) -> Json:
        return await self.client.get(ManagedClusterAddOn.RESOURCE, self.name, self.cluster)

    async def annotate(self, value: str | None) -> None:
        body = {"metadata": {"annotations": {HOSTING: value}}}
        await self.client.patch(ManagedClusterAddOn.RESOURCE, self.name, body, self.cluster)

    async def works(self) -> dict[str, list[str]]:
        """Objects by "<namespace>/<work>" of the add-on."""
        selector = f"open-cluster-management.io/addon-name={self.name}"
        listed = await self.client.list(ManifestWork.RESOURCE, label_selector=selector)
        return {
            f"{w['metadata']['namespace']}/{w['metadata']['name']}": [
                m["metadata"]["name"] for m in w["spec"]["workload"]["manifests"]
            ]
            for w in listed["items"]
            if not w["metadata"].get("deletionTimestamp")
        }

    async def until_works(self, **wanted: list[str]) -> None:
        async def same() -> bool:
            found = await self.works()
            assert found == wanted, found
            return True

        await self.hub.until(same)

    async def until_condition(self, kind: str, reason: str, text: str = "") -> Json:
        async def check() -> Json:
            found = get_condition(await self.addon(), kind)
            assert found is not None, kind
            assert found["reason"] == reason, found
            assert text in found["message"], found
            return found

        condition: Json = await self.hub.until(check)
        return condition

    async def report(self, cluster: str, work: str, resource: str, name: str, **values: int | str) -> None:
        """What a work agent writes once it has applied a work."""
        live = await self.client.get(ManifestWork.RESOURCE, work, cluster)
        conditions = applied(live)
        fields = [
            {"name": key, "fieldValue": {"type": "Integer", "integer": value}}
            if isinstance(value, int)
            else {"name": key, "fieldValue": {"type": "String", "string": value}}
            for key, value in values.items()
        ]
        meta = {"ordinal": 0, "resource": resource, "name": name, "namespace": "here", "version": "v1"}
        manifest = {"resourceMeta": meta, "conditions": [], "statusFeedback": {"values": fields}}
        status = {"conditions": conditions, "resourceStatus": {"manifests": [manifest]}}
        await self.client.patch(
            ManifestWork.RESOURCE, work, {"status": status}, cluster, subresource="status"
        )

    async def until_gone(self) -> None:
        async def gone() -> bool:
            try:
                await self.addon()
            except NotFound:
                return True
            return False

        await self.hub.until(gone)

    @property
    def home_work(self) -> str:
        return f"addon-{self.name}-deploy-0"

    @property
    def hosting_work(self) -> str:
        return f"addon-{self.name}-deploy-hosting-{self.cluster}-0"


@pytest.fixture
def scene(quiet_hub: Hub) -> Scene:
    return Scene(quiet_hub)


async def test_the_agent_goes_to_the_hosting_cluster_and_back_home(scene: Scene) -> None:
    plugin = Guest(scene.name)
    await scene.install(plugin)
    home, there = f"{scene.cluster}/{scene.home_work}", f"{scene.hosting}/{scene.hosting_work}"
    await scene.until_works(**{home: ["rights"], there: ["agent"]})
    await scene.until_condition("HostingClusterValidity", "HostingClusterValid")
    assert plugin.values["install_mode"] == "Hosted"
    assert plugin.values["hosting_cluster"] == scene.hosting
    assert plugin.values["managed_kubeconfig_secret"] == f"{scene.name}-managed-kubeconfig"
    work = await scene.client.get(ManifestWork.RESOURCE, scene.hosting_work, scene.hosting)
    assert work["metadata"]["labels"] == {
        "open-cluster-management.io/addon-name": scene.name,
        "open-cluster-management.io/addon-namespace": scene.cluster,
    }
    assert "ownerReferences" not in work["metadata"]  # owners hold within a namespace only
    assert f"{GROUP}/hosting-manifests-cleanup" in (await scene.addon())["metadata"]["finalizers"]

    await scene.report(scene.cluster, scene.home_work, "configmaps", "rights")
    await scene.until_condition("ManifestApplied", "AddonManifestApplied")
    await scene.until_condition("Progressing", "Progressing", "not applied yet")
    await scene.report(scene.hosting, scene.hosting_work, "deployments", "agent", ReadyReplicas=0)
    await scene.until_condition("HostingManifestApplied", "AddonManifestApplied")
    await scene.until_condition("Available", "ProbeUnavailable", "Deployment agent: 0 of 1")
    await scene.report(scene.hosting, scene.hosting_work, "deployments", "agent", ReadyReplicas=1)
    await scene.until_condition("Available", "ProbeAvailable")
    await scene.until_condition("Progressing", "Completed")
    await scene.hub.available(scene.hosting, "Unknown")
    await scene.until_condition("Available", "HostingClusterNotAvailable", scene.hosting)

    await scene.annotate(None)  # from now on it runs on its own cluster, as everything does in default mode
    await scene.until_works(**{home: ["agent", "rights", "only-in-default-mode"]})

    async def at_home() -> bool:
        addon = await scene.addon()
        kinds = {c["type"] for c in addon["status"]["conditions"]}
        return not addon["metadata"].get("finalizers") and not kinds & {
            "HostingClusterValidity",
            "HostingManifestApplied",
        }

    await scene.hub.until(at_home)
    assert plugin.values["install_mode"] == "Default"


async def test_another_host_takes_over_and_one_that_leaves_lets_go(scene: Scene) -> None:
    await scene.install(Guest(scene.name), hosting="nowhere")
    home = f"{scene.cluster}/{scene.home_work}"
    await scene.until_condition(
        "HostingClusterValidity", "HostingClusterInvalid", "nowhere is not a managed cluster of the hub"
    )
    await scene.until_condition("Progressing", "Failed", "nowhere")
    await scene.until_works(**{home: ["rights"]})

    await scene.annotate(scene.hosting)
    await scene.until_works(**{home: ["rights"], f"{scene.hosting}/{scene.hosting_work}": ["agent"]})
    other = await scene.hub.cluster()
    await scene.annotate(other)
    await scene.until_works(**{home: ["rights"], f"{other}/{scene.hosting_work}": ["agent"]})

    await scene.client.delete(
        ManagedCluster.RESOURCE, other
    )  # the host leaves the hub: nothing of it is held
    await scene.until_condition("HostingClusterValidity", "HostingClusterInvalid", other)
    await scene.until_works(**{home: ["rights"]})
    assert not (await scene.addon())["metadata"].get("finalizers")


async def test_hooks_run_on_the_hosting_cluster_before_anything_goes(scene: Scene) -> None:
    await scene.install(Guest(scene.name, hook=True))
    home, there = f"{scene.cluster}/{scene.home_work}", f"{scene.hosting}/{scene.hosting_work}"
    await scene.until_works(**{home: ["rights"], there: ["agent"]})
    assert set((await scene.addon())["metadata"]["finalizers"]) == {
        f"{GROUP}/hosting-addon-pre-delete",
        f"{GROUP}/hosting-manifests-cleanup",
    }
    await scene.client.delete(ManagedClusterAddOn.RESOURCE, scene.name, scene.cluster)
    hook = f"addon-{scene.name}-pre-delete-hosting-{scene.cluster}"
    await scene.until_works(**{home: ["rights"], there: ["agent"], f"{scene.hosting}/{hook}": ["clean"]})
    text = f"Job here/clean on cluster {scene.hosting} has not reported yet; after 60 s"
    await scene.until_condition("HookManifestCompleted", "HookManifestIsNotCompleted", text)
    await scene.hub.stop()
    await scene.hub.start()  # a manager that was killed goes on waiting
    await scene.report(scene.hosting, hook, "jobs", "clean", JobComplete="True")
    await scene.until_gone()
    await scene.until_works()


async def test_an_addon_without_hosted_mode_says_so(scene: Scene) -> None:
    await scene.install(Guest(scene.name, hosted=False))
    await scene.until_condition("HostingClusterValidity", "HostingClusterInvalid", "has no hosted mode")
    home = f"{scene.cluster}/{scene.home_work}"
    await scene.until_works(**{home: ["agent", "rights", "only-in-default-mode"]})
    await scene.client.delete(ManagedClusterAddOn.RESOURCE, scene.name, scene.cluster)
    await scene.until_gone()
