"""The add-on manager against an API server: from a ClusterManagementAddOn to works, rights and conditions."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from addon_framework.api.addon import AddOnDeploymentConfig, ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster, ManagedClusterSetBinding, Placement
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CSRS, ROLEBINDINGS, ROLES
from addon_framework.api.work import ManifestWork
from addon_framework.kube import NotFound
from addon_framework.plugins import AddonDescription, NoProbe, Workload, agent_manifests, hookimpl
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, binding, labelled, management_addon, placement
from tests.unit.hub.certificates import csr_to_create

ADC = {"group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs"}


class Greeter:
    """An add-on with an agent, rights on the hub, and a variable."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=self.name, health=Workload)

    @hookimpl
    def addon_manifests(self, cluster: Json, values: dict[str, Any]) -> list[Json]:
        greeting = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "greeting", "namespace": values["install_namespace"]},
            "data": {"text": values.get("text", "hello") + " " + cluster["metadata"]["name"]},
        }
        return [
            *agent_manifests(self.name, values["install_namespace"], values["cluster_name"]),
            greeting,
        ]

    @hookimpl
    def addon_hub_permissions(self, cluster_name: str) -> list[Json]:
        return [
            {
                "apiGroups": ["cluster.open-cluster-management.io"],
                "resources": ["addonplacementscores", "addonplacementscores/status"],
                "verbs": ["get", "list", "watch", "create", "update", "patch"],
            }
        ]


class Bad:
    """An add-on whose manifests fail."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fails = True

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=self.name, health=NoProbe)

    @hookimpl
    def addon_manifests(self) -> list[Json]:
        if self.fails:
            raise RuntimeError("the bucket is not there")
        return []


class Scene:
    """An add-on placed on the clusters of one test."""

    def __init__(self, hub: Hub, namespace: str) -> None:
        self.hub, self.client, self.namespace = hub, hub.client, namespace
        self.mark = uuid.uuid4().hex[:8]
        self.name = f"greeter-{self.mark}"

    async def install(self, plugin: Any, **spec: Any) -> None:
        self.hub.plugins.add(self.name, plugin)
        await self.hub.start()
        await self.client.create(ManagedClusterSetBinding.RESOURCE, binding(self.namespace))
        await self.client.create(
            Placement.RESOURCE, placement(self.namespace, predicates=labelled("test", self.mark))
        )
        await self.hub.create(
            ClusterManagementAddOn.RESOURCE, management_addon(self.name, self.namespace, **spec)
        )

    async def cluster(self) -> str:
        if not self.hub.running:
            await self.hub.start(["registration", "placement"])
            name = await self.hub.cluster(test=self.mark)
            await self.hub.stop()
            return name
        return await self.hub.cluster(test=self.mark)

    async def addon(self, cluster: str) -> Json:
        return await self.client.get(ManagedClusterAddOn.RESOURCE, self.name, cluster)

    async def work(self, cluster: str) -> Json:
        return await self.client.get(ManifestWork.RESOURCE, f"addon-{self.name}-deploy-0", cluster)

    async def until_condition(self, cluster: str, kind: str, reason: str) -> Json:
        async def check() -> Json | None:
            condition = get_condition(await self.addon(cluster), kind)
            return condition if condition and condition["reason"] == reason else None

        found: Json = await self.hub.until(check)
        return found

    async def until_gone(self, cluster: str, timeout: float = 20) -> None:
        async def gone() -> bool:
            try:
                await self.addon(cluster)
            except NotFound:
                return True
            return False

        await self.hub.until(gone, timeout)

    async def apply_on_spoke(self, cluster: str, *, ready: int) -> None:
        """Write what a work agent writes when it has applied the work."""
        work = await self.work(cluster)
        generation = work["metadata"]["generation"]
        conditions = [
            {
                "type": kind,
                "status": "True",
                "reason": "Test",
                "message": "",
                "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind in ("Applied", "Available")
        ]
        meta = {
            "ordinal": 0,
            "group": "apps",
            "version": "v1",
            "kind": "Deployment",
            "resource": "deployments",
            "name": f"{self.name}-agent",
            "namespace": "open-cluster-management-agent-addon",
        }
        value = {"name": "ReadyReplicas", "fieldValue": {"type": "Integer", "integer": ready}}
        manifest = {"resourceMeta": meta, "conditions": [], "statusFeedback": {"values": [value]}}
        status = {"conditions": conditions, "resourceStatus": {"manifests": [manifest]}}
        name = work["metadata"]["name"]
        await self.client.patch(
            ManifestWork.RESOURCE, name, {"status": status}, cluster, subresource="status"
        )


@pytest.fixture
def scene(quiet_hub: Hub, namespace: str) -> Scene:
    return Scene(quiet_hub, namespace)


async def test_from_placement_to_available(scene: Scene) -> None:
    one = await scene.cluster()
    await scene.install(Greeter(scene.name))
    addon = await scene.hub.until(lambda: scene.addon(one))
    assert addon["metadata"]["ownerReferences"][0]["kind"] == "ClusterManagementAddOn"
    work = await scene.hub.until(lambda: scene.work(one))
    kinds = [m["kind"] for m in work["spec"]["workload"]["manifests"]]
    assert kinds == ["Namespace", "ServiceAccount", "Role", "RoleBinding", "Deployment", "ConfigMap"]
    await scene.until_condition(one, "RegistrationApplied", "SetPermissionApplied")
    await scene.until_condition(one, "Available", "WorkNotApplied")
    assert get_condition(await scene.addon(one), "ManifestApplied") is None  # nobody has applied it
    await scene.apply_on_spoke(one, ready=0)
    await scene.until_condition(one, "ManifestApplied", "AddonManifestApplied")
    await scene.until_condition(one, "Available", "ProbeUnavailable")
    missing = await scene.until_condition(one, "Degraded", "ReplicasMissing")
    assert missing["message"] == f"Deployment {scene.name}-agent: 0 of 1 replicas are ready"
    await scene.apply_on_spoke(one, ready=1)
    await scene.until_condition(one, "Available", "ProbeAvailable")
    await scene.until_condition(one, "Degraded", "AsExpected")
    await scene.until_condition(one, "Progressing", "Completed")

    status = (await scene.addon(one))["status"]
    assert status["namespace"] == "open-cluster-management-agent-addon"
    assert status["healthCheck"] == {"mode": "Customized"}
    assert status["supportedConfigs"] == [ADC]
    assert status["registrations"][0]["subject"]["groups"][0].endswith(f"cluster:{one}:addon:{scene.name}")

    async def label() -> bool:
        cluster = await scene.client.get(ManagedCluster.RESOURCE, one)
        labels = cluster["metadata"]["labels"]
        return bool(labels.get(f"feature.open-cluster-management.io/addon-{scene.name}") == "available")

    await scene.hub.until(label)

    async def complete() -> bool:
        cma = await scene.client.get(ClusterManagementAddOn.RESOURCE, scene.name)
        [progression] = (cma.get("status") or {}).get("installProgressions") or [{}]
        condition = get_condition(progression.get("conditions") or [], "Progressing")
        return condition is not None and condition["message"] == "1/1 completed with no errors."

    await scene.hub.until(complete)


async def test_rights_are_in_the_cluster_namespace_for_this_clusters_agent(scene: Scene) -> None:
    one = await scene.cluster()
    await scene.install(Greeter(scene.name))
    name = f"open-cluster-management:addon:{scene.name}:agent"
    bound = await scene.hub.until(lambda: scene.client.get(ROLEBINDINGS, name, one))
    assert [s["name"] for s in bound["subjects"]] == [
        f"system:open-cluster-management:cluster:{one}:addon:{scene.name}"
    ]
    role = await scene.client.get(ROLES, name, one)
    assert role["rules"][0]["resources"] == ["addonplacementscores", "addonplacementscores/status"]
    await scene.client.delete(ROLES, name, one)
    await scene.hub.until(lambda: scene.client.get(ROLES, name, one))


async def test_a_cluster_that_is_no_longer_chosen_loses_the_addon_and_its_works(scene: Scene) -> None:
    one, two = await scene.cluster(), await scene.cluster()
    await scene.install(Greeter(scene.name))
    for cluster in (one, two):
        await scene.hub.until(lambda cluster=cluster: scene.work(cluster))
    labels = {"metadata": {"labels": {"test": "other"}}}
    await scene.client.patch(ManagedCluster.RESOURCE, one, labels)
    await scene.until_gone(one)

    async def work_gone() -> bool:
        try:
            await scene.work(one)
        except NotFound:
            return True
        return False

    await scene.hub.until(work_gone)
    await scene.work(two)


async def test_a_plugin_that_raises_shows_in_its_addon_and_recovers(scene: Scene) -> None:
    one = await scene.cluster()
    plugin = Bad(scene.name)
    await scene.install(plugin)
    condition = await scene.until_condition(one, "ManifestApplied", "ManifestWorkApplyFailed")
    assert condition["status"] == "False"
    assert "addon_manifests: RuntimeError: the bucket is not there" in condition["message"]
    await scene.until_condition(one, "Progressing", "Failed")
    await scene.until_condition(one, "Degraded", "ManifestsNotMade")
    plugin.fails = False
    poke = {"metadata": {"annotations": {"poke": "1"}}}
    await scene.client.patch(ManagedClusterAddOn.RESOURCE, scene.name, poke, one)
    await scene.until_condition(one, "ManifestApplied", "AddonManifestApplied")
    await scene.until_condition(one, "Progressing", "Completed")


async def test_configuration_reaches_the_manifests_and_the_hashes(scene: Scene) -> None:
    one = await scene.cluster()
    resource = AddOnDeploymentConfig.RESOURCE
    config = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "conf", "namespace": scene.namespace},
        "spec": {"customizedVariables": [{"name": "text", "value": "hi"}]},
    }
    supported = [{**ADC, "defaultConfig": {"namespace": scene.namespace, "name": "conf"}}]
    await scene.install(Greeter(scene.name), supportedConfigs=supported)
    missing = await scene.until_condition(one, "Configured", "ConfigurationsNotConfigured")
    assert f"{scene.namespace}/conf" in missing["message"]
    with pytest.raises(NotFound):
        await scene.work(one)
    await scene.client.create(resource, config)

    async def says(text: str) -> bool:
        work = await scene.work(one)
        return bool(work["spec"]["workload"]["manifests"][-1]["data"]["text"] == f"{text} {one}")

    await scene.hub.until(lambda: says("hi"))
    await scene.apply_on_spoke(one, ready=1)
    await scene.until_condition(one, "Progressing", "Completed")
    before = (await scene.addon(one))["status"]["configReferences"][0]
    assert before["lastAppliedConfig"] == before["desiredConfig"]
    changed = {"spec": {"customizedVariables": [{"name": "text", "value": "ho"}]}}
    await scene.client.patch(resource, "conf", changed, scene.namespace)
    await scene.hub.until(lambda: says("ho"))

    async def rolled() -> bool:
        entry = (await scene.addon(one))["status"]["configReferences"][0]
        hashes = [entry[f]["specHash"] for f in ("desiredConfig", "lastAppliedConfig")]
        return hashes[0] != before["desiredConfig"]["specHash"] == hashes[1]

    await scene.hub.until(rolled)


async def test_a_hand_made_addon_is_adopted(scene: Scene) -> None:
    one = await scene.cluster()
    scene.hub.plugins.add(scene.name, Greeter(scene.name))
    await scene.hub.start()
    await scene.hub.create(ClusterManagementAddOn.RESOURCE, management_addon(scene.name))
    addon = {
        "apiVersion": ManagedClusterAddOn.RESOURCE.api_version,
        "kind": "ManagedClusterAddOn",
        "metadata": {"name": scene.name, "namespace": one},
        "spec": {},
    }
    await scene.client.create(ManagedClusterAddOn.RESOURCE, addon)
    await scene.hub.until(lambda: scene.work(one))
    assert (await scene.addon(one))["metadata"]["ownerReferences"][0]["name"] == scene.name


async def test_a_work_edited_by_hand_is_mended(scene: Scene) -> None:
    one = await scene.cluster()
    await scene.install(Greeter(scene.name))
    work = await scene.hub.until(lambda: scene.work(one))
    work["spec"]["workload"]["manifests"][-1]["data"]["text"] = "edited"

    async def edit() -> Json:
        current = await scene.work(one)
        current["spec"]["workload"]["manifests"][-1]["data"]["text"] = "edited"
        return await scene.client.update(ManifestWork.RESOURCE, current)

    await scene.hub.until(edit)

    async def mended() -> bool:
        current = await scene.work(one)
        return bool(current["spec"]["workload"]["manifests"][-1]["data"]["text"] == f"hello {one}")

    await scene.hub.until(mended)


async def test_requests_of_the_agent_are_approved_and_no_others(scene: Scene) -> None:
    one = await scene.cluster()
    await scene.install(Greeter(scene.name))
    await scene.until_condition(one, "RegistrationApplied", "SetPermissionApplied")
    labels = {
        "open-cluster-management.io/cluster-name": one,
        "open-cluster-management.io/addon-name": scene.name,
    }
    subject = (await scene.addon(one))["status"]["registrations"][0]["subject"]
    key = ec.generate_private_key(ec.SECP256R1())
    request = csr_to_create(key, f"addon-{one}-{scene.name}-", labels, subject["user"], subject["groups"])
    made = await scene.client.create(CSRS, request)  # by the administrator, who is not the cluster's agent
    await scene.hub.cluster()
    found = await scene.client.get(CSRS, made["metadata"]["name"])
    assert not (found.get("status") or {}).get("conditions")


async def test_a_restart_and_kills_in_between_leave_the_same_works(scene: Scene) -> None:
    one = await scene.cluster()
    await scene.install(Greeter(scene.name))
    for delay in (0.0, 0.02, 0.05, 0.1):
        await asyncio.sleep(delay)  # the moment of the kill
        await scene.hub.stop()
        await scene.hub.start()
    await scene.until_condition(one, "Available", "WorkNotApplied")
    before = (await scene.work(one))["metadata"]["resourceVersion"]
    await scene.hub.stop()
    await scene.hub.start()
    await scene.hub.cluster()
    assert (await scene.work(one))["metadata"]["resourceVersion"] == before


async def test_what_is_too_large_for_one_work_is_in_several_and_moves_as_little_as_can_be(
    scene: Scene,
) -> None:
    class Large:
        sizes: ClassVar[dict[str, int]] = {"a": 300, "b": 200, "c": 100}

        @hookimpl
        def addon_describe(self) -> AddonDescription:
            return AddonDescription(name=scene.name, health=NoProbe)

        @hookimpl
        def addon_manifests(self) -> list[Json]:
            return [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": name, "namespace": "n"},
                    "data": {"text": "x" * size * 1024},
                }
                for name, size in self.sizes.items()
            ]

    async def homes() -> dict[str, list[str]]:
        listed = await scene.client.list(ManifestWork.RESOURCE, one)
        return {
            work["metadata"]["name"].removeprefix(f"addon-{scene.name}-"): [
                manifest["metadata"]["name"] for manifest in work["spec"]["workload"]["manifests"]
            ]
            for work in listed["items"]
        }

    async def until_homes(wanted: dict[str, list[str]]) -> None:
        async def same() -> bool:
            found = await homes()
            assert found == wanted, found
            return True

        await scene.hub.until(same)

    async def poke() -> None:
        annotation = {"metadata": {"annotations": {"poke": uuid.uuid4().hex}}}
        await scene.client.patch(ManagedClusterAddOn.RESOURCE, scene.name, annotation, one)

    one = await scene.cluster()
    await scene.install(Large)
    await until_homes({"deploy-0": ["a"], "deploy-1": ["b", "c"]})  # 400 KiB are a work's fill
    Large.sizes = {"a": 300, "b": 200, "c": 100, "d": 90}
    await poke()
    await until_homes({"deploy-0": ["a", "d"], "deploy-1": ["b", "c"]})
    Large.sizes = {"b": 200, "c": 100}
    await poke()
    await until_homes({"deploy-1": ["b", "c"]})  # nothing moves; a work without objects goes
