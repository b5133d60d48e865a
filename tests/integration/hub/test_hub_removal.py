"""How an add-on goes: what its deletion waits for, how long, what then; and whose add-ons we leave alone."""

from __future__ import annotations

import uuid

import pytest

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import EVENTS
from addon_framework.api.meta import Resource
from addon_framework.api.work import ManifestWork
from addon_framework.kube import NotFound
from addon_framework.plugins import AddonDescription, NoProbe, hookimpl
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, management_addon

GROUP = "addon.open-cluster-management.io"
DEADLINE = "addon.boundaryless.io/pre-delete-deadline"
ADDON = ManagedClusterAddOn.RESOURCE


class Leaving:
    """An add-on with work to be done before it goes."""

    def __init__(self, name: str) -> None:
        self.name, self.fails = name, False

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=self.name, health=NoProbe)

    @hookimpl
    def addon_manifests(self) -> list[Json]:
        if self.fails:
            raise RuntimeError("the bucket is not there")
        metadata = {"name": "clean", "namespace": "n", "annotations": {f"{GROUP}/addon-pre-delete": ""}}
        return [{"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}]


class Scene:
    """That add-on on one cluster."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.client = hub, hub.client
        self.name = f"leaving-{uuid.uuid4().hex[:8]}"
        self.plugin = Leaving(self.name)
        self.cluster = ""

    async def install(self, *, on_all: str | None = None, here: str | None = None) -> None:
        """The deadlines are for the add-on wherever it is, and for this cluster."""
        self.hub.plugins.add(self.name, self.plugin)
        await self.hub.start()
        self.cluster = await self.hub.cluster()
        cma = management_addon(self.name)
        cma["metadata"]["annotations"] = {DEADLINE: on_all} if on_all is not None else {}
        await self.hub.create(ClusterManagementAddOn.RESOURCE, cma)
        metadata = {"name": self.name, "namespace": self.cluster}
        metadata["annotations"] = {DEADLINE: here} if here is not None else {}
        addon = {"apiVersion": ADDON.api_version, "kind": ADDON.kind, "metadata": metadata, "spec": {}}
        await self.client.create(ADDON, addon)

        async def held() -> bool:
            return bool((await self.addon())["metadata"].get("finalizers"))

        await self.hub.until(held)

    async def addon(self) -> Json:
        return await self.client.get(ADDON, self.name, self.cluster)

    async def delete(self) -> None:
        await self.client.delete(ADDON, self.name, self.cluster)

    async def until_waits(self, text: str) -> None:
        async def says() -> bool:
            found = get_condition(await self.addon(), "HookManifestCompleted")
            assert found is not None
            assert text in found["message"], found
            return bool(found["reason"] == "HookManifestIsNotCompleted")

        await self.hub.until(says)

    async def until_gone(self, resource: Resource = ADDON, name: str = "", namespace: str = "") -> None:
        async def gone() -> bool:
            try:
                await self.client.get(resource, name or self.name, namespace or self.cluster)
            except NotFound:
                return True
            return False

        await self.hub.until(gone)

    async def events(self, namespace: str) -> list[tuple[str, str]]:
        """Reasons and messages; a reason comes again with another message."""
        listed = await self.client.list(EVENTS, namespace)
        return [
            (event["reason"], event["message"])
            for event in listed["items"]
            if event["involvedObject"]["name"] in (self.name, self.cluster)
        ]


@pytest.fixture
def scene(quiet_hub: Hub) -> Scene:
    return Scene(quiet_hub)


async def test_the_deadline_of_one_cluster_is_before_that_of_all_and_says_what_it_gives_up(
    scene: Scene,
) -> None:
    await scene.install(on_all="never", here="1h")
    await scene.delete()
    await scene.until_waits("the deletion waits")
    change = {"metadata": {"annotations": {DEADLINE: "2s"}}}
    await scene.client.patch(ADDON, scene.name, change, scene.cluster)
    await scene.until_gone()
    said = await scene.events(scene.cluster)
    waits = "the deletion waits: Job n/clean has not reported yet; after 3600 s it goes on without"
    assert ("WaitingForPreDelete", waits) in said
    assert dict(said)["PreDeleteDeadlineExceeded"] == (
        "not done within 2 s: Job n/clean has not reported yet; the add-on's manifests are removed without it"
    )


async def test_one_that_never_ends_waits_and_says_for_what(scene: Scene) -> None:
    await scene.install(on_all="never")
    await scene.delete()
    await scene.until_waits("the deletion waits: Job n/clean has not reported yet")
    addon = await scene.addon()
    assert "goes on" not in (get_condition(addon, "HookManifestCompleted") or {})["message"]
    await scene.hub.available(scene.cluster, "Unknown")
    await scene.until_waits(f"cluster {scene.cluster} is not available")
    change = {"metadata": {"annotations": {DEADLINE: "0s"}}}  # its owner loses patience
    await scene.client.patch(ADDON, scene.name, change, scene.cluster)
    await scene.until_gone()


async def test_a_deadline_that_is_none_is_named_and_the_default_holds(scene: Scene) -> None:
    await scene.install(here="soon")
    await scene.delete()
    await scene.until_waits("annotation addon.boundaryless.io/pre-delete-deadline 'soon' is no duration")
    await scene.until_waits("after 600 s")
    await scene.client.patch(
        ADDON, scene.name, {"metadata": {"annotations": {DEADLINE: "0s"}}}, scene.cluster
    )
    await scene.until_gone()


async def test_hooks_that_cannot_be_made_hold_it_as_long_and_say_why(scene: Scene) -> None:
    await scene.install(here="1h")
    scene.plugin.fails = True
    await scene.delete()
    await scene.until_waits("RuntimeError: the bucket is not there")
    scene.plugin.fails = False
    await scene.client.patch(
        ADDON, scene.name, {"metadata": {"annotations": {DEADLINE: "0s"}}}, scene.cluster
    )
    await scene.until_gone()


async def test_a_cluster_that_leaves_says_which_hook_of_which_addon_it_waits_for(scene: Scene) -> None:
    await scene.install(here="1h")
    await scene.client.delete(ManagedCluster.RESOURCE, scene.cluster)
    text = f"waiting for 1 managedclusteraddons to go: {scene.name} (the deletion waits: Job n/clean has not"

    async def says() -> bool:
        cluster = await scene.client.get(ManagedCluster.RESOURCE, scene.cluster)
        found = get_condition(cluster, "Deleting")
        assert found is not None
        assert found["message"].startswith(text), found
        return True

    await scene.hub.until(says)

    async def told() -> bool:
        said = await scene.events("default")
        return any(reason == "ResourceRemaining" and message.startswith(text) for reason, message in said)

    await scene.hub.until(told)
    await scene.client.patch(
        ADDON, scene.name, {"metadata": {"annotations": {DEADLINE: "0s"}}}, scene.cluster
    )
    await scene.until_gone(ManagedCluster.RESOURCE, scene.cluster)


async def test_finalizers_of_an_addon_that_another_manager_makes_are_left_alone(hub: Hub) -> None:
    """OCM's own add-ons have the same finalizers; on a hub with both, each manager lets go of its own."""
    scene = Scene(hub)
    scene.cluster = await hub.cluster()
    await hub.create(ClusterManagementAddOn.RESOURCE, management_addon(scene.name))
    finalizer = f"{GROUP}/addon-pre-delete"
    metadata = {"name": scene.name, "namespace": scene.cluster, "finalizers": [finalizer]}
    addon = {"apiVersion": ADDON.api_version, "kind": ADDON.kind, "metadata": metadata, "spec": {}}
    await scene.client.create(ADDON, addon)
    await scene.delete()
    other = await hub.cluster()  # as much work as this takes, the manager has looked at the add-on
    assert (await scene.addon())["metadata"]["finalizers"] == [finalizer]
    assert other
    with pytest.raises(NotFound):
        await scene.client.get(ManifestWork.RESOURCE, f"addon-{scene.name}-pre-delete", scene.cluster)
    await scene.client.patch(ADDON, scene.name, {"metadata": {"finalizers": None}}, scene.cluster)
    await scene.until_gone()
