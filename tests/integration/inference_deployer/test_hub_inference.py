"""InferenceDeployment to Placement, works, credentials and status, on a real API server."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from addon_framework.api.cluster import ManagedCluster, ManagedClusterSetBinding
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import ROLEBINDINGS, ROLES, SECRETS
from addon_framework.kube import Client, Invalid, Key, NotFound
from addon_framework.plugins import Plugins
from addons.inference_deployer.controller.payload import revision
from addons.inference_deployer.kinds import INFERENCEDEPLOYMENTS, MANIFESTWORKS, PLACEMENTS, work_name
from addons.inference_deployer.plugin import InferenceDeployer
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, binding, labelled


class Scene:
    """A namespace whose placements see the clusters of this test only."""

    def __init__(self, hub: Hub, namespace: str) -> None:
        self.hub, self.client, self.namespace = hub, hub.client, namespace
        self.label = uuid.uuid4().hex[:8]

    async def clusters(self, count: int) -> list[str]:
        await self.client.create(ManagedClusterSetBinding.RESOURCE, binding(self.namespace))
        return sorted([await self.hub.cluster(scene=self.label) for _ in range(count)])

    async def create(self, clusters: int = 1, name: str = "demo", **spec: Any) -> Json:
        choice = {"numberOfClusters": clusters, "predicates": labelled("scene", self.label)}
        body = {
            "apiVersion": INFERENCEDEPLOYMENTS.api_version,
            "kind": "InferenceDeployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"model": {"name": "llama", "source": "s3://m/x"}, "placement": choice, **spec},
        }
        return await self.client.create(INFERENCEDEPLOYMENTS, body)

    async def get(self, name: str = "demo") -> Json:
        return await self.client.get(INFERENCEDEPLOYMENTS, name, self.namespace)

    async def patch(self, spec: Json) -> None:
        await self.client.patch(INFERENCEDEPLOYMENTS, "demo", {"spec": spec}, self.namespace)

    async def work(self, cluster: str) -> Json:
        """The work in a cluster's namespace, as soon as it is there."""

        async def probe() -> Json:
            return await self.client.get(MANIFESTWORKS, work_name(self.namespace, "demo"), cluster)

        return await self.hub.until(lambda: swallow(probe))

    async def works(self) -> list[str]:
        listed = await self.client.list(MANIFESTWORKS)
        name = work_name(self.namespace, "demo")
        return sorted(w["metadata"]["namespace"] for w in listed["items"] if w["metadata"]["name"] == name)

    async def report(self, cluster: str, **values: Any) -> None:
        """What the work agent of a cluster writes: the feedback of the InferenceEndpoint."""
        work = await self.work(cluster)
        fields = [
            {
                "name": name,
                "fieldValue": {"type": "Integer", "integer": value}
                if isinstance(value, int)
                else {"type": "String", "string": value},
            }
            for name, value in values.items()
        ]
        manifest = {
            "resourceMeta": {"kind": "InferenceEndpoint", "name": "demo", "namespace": self.namespace},
            "statusFeedback": {"values": fields},
            "conditions": [],
        }
        status = {"resourceStatus": {"manifests": [manifest]}}
        await self.client.patch(
            MANIFESTWORKS, work["metadata"]["name"], {"status": status}, cluster, subresource="status"
        )

    async def report_ready(self, cluster: str, replicas: int = 1) -> None:
        values = {"phase": "Ready", "readyReplicas": replicas, "dataPhase": "Complete"}
        await self.report(cluster, **values, revision=revision(await self.get()))

    async def condition(self, kind: str, reason: str) -> Json:
        async def probe() -> Json | None:
            found = get_condition(await self.get(), kind)
            return found if found is not None and found["reason"] == reason else None

        found: Json = await self.hub.until(probe)
        return found


async def swallow(probe: Any) -> Json | None:
    try:
        return await probe()
    except NotFound:
        return None


@pytest.fixture
async def scene(hub: Hub, namespace: str) -> Any:
    it = Scene(hub, namespace)
    yield it
    for obj in (await hub.client.list(INFERENCEDEPLOYMENTS, namespace))["items"]:
        await hub.client.delete(INFERENCEDEPLOYMENTS, obj["metadata"]["name"], namespace)


async def test_from_a_spec_to_ready_and_gone_again(scene: Scene):
    (cluster,) = await scene.clusters(1)
    await scene.create()
    work = await scene.work(cluster)
    kinds = [m["kind"] for m in work["spec"]["workload"]["manifests"]]
    assert {"Dataset", "LocalRuntime", "DataLoad", "Deployment", "Service", "InferenceEndpoint"} <= set(kinds)
    placement = await scene.client.get(PLACEMENTS, "inference-demo", scene.namespace)
    assert placement["metadata"]["ownerReferences"][0]["kind"] == "InferenceDeployment"

    await scene.report_ready(cluster)
    await scene.condition("Ready", "AllReplicasReady")
    status = (await scene.get())["status"]
    assert (status["phase"], status["readyReplicas"]) == ("Ready", 1)
    assert status["clusters"][0]["name"] == cluster

    await scene.patch({"replicas": 2})
    await scene.condition("Ready", "ReplicasNotReady")
    await scene.report_ready(cluster, replicas=2)
    await scene.condition("Ready", "AllReplicasReady")

    await scene.client.delete(INFERENCEDEPLOYMENTS, "demo", scene.namespace)
    await scene.hub.until(lambda: gone(scene.get))
    assert await scene.works() == []
    await scene.hub.until(
        lambda: gone(lambda: scene.client.get(PLACEMENTS, "inference-demo", scene.namespace))
    )


async def gone(get: Any) -> bool:
    try:
        await get()
    except NotFound:
        return True
    return False


async def test_out_to_a_second_cluster_and_back(scene: Scene):
    clusters = await scene.clusters(2)
    await scene.create(clusters=2)
    for cluster in clusters:
        await scene.report_ready(cluster)
    await scene.condition("Ready", "AllReplicasReady")
    await scene.patch({"placement": {"numberOfClusters": 1}})

    async def one_left() -> bool:
        return len(await scene.works()) == 1

    await scene.hub.until(one_left)
    (left,) = await scene.works()

    async def only_that() -> bool:
        return [c["name"] for c in (await scene.get())["status"]["clusters"]] == [left]

    await scene.hub.until(only_that)


async def test_credentials_reach_the_chosen_cluster_beside_the_work(scene: Scene):
    (cluster,) = await scene.clusters(1)
    model = {"name": "llama", "source": "s3://m/x", "credentialsRef": {"name": "keys"}}
    await scene.create(model=model)
    missing = await scene.condition("Ready", "NoCredentials")
    assert missing["message"] == (
        f"spec.model.credentialsRef.name: there is no Secret {Key(scene.namespace, 'keys')}; create it"
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": scene.namespace},
        "stringData": {"accessKeyId": "id-of-the-user", "secretAccessKey": "tell-nobody"},
    }
    await scene.client.create(SECRETS, secret)
    work = await scene.work(cluster)
    name = f"{work_name(scene.namespace, 'demo')}-credentials"
    copy = await scene.client.get(SECRETS, name, cluster)
    source = await scene.client.get(SECRETS, "keys", scene.namespace)
    assert copy["data"] == source["data"]
    assert not any(value in json.dumps(work) for value in [*source["data"].values(), "tell-nobody"])
    assert (await scene.client.get(ROLES, name, cluster))["rules"][0]["resourceNames"] == [name]
    await scene.client.get(ROLEBINDINGS, name, cluster)

    await scene.client.patch(SECRETS, "keys", {"stringData": {"secretAccessKey": "new"}}, scene.namespace)

    async def renewed() -> bool:
        return (await scene.client.get(SECRETS, name, cluster))["data"]["secretAccessKey"] == "bmV3"

    await scene.hub.until(renewed)
    await scene.client.patch(ManagedCluster.RESOURCE, cluster, {"spec": {"hubAcceptsClient": False}})
    for resource in (SECRETS, ROLES, ROLEBINDINGS):
        await scene.hub.until(lambda r=resource: gone(lambda: scene.client.get(r, name, cluster)))
    await scene.client.patch(ManagedCluster.RESOURCE, cluster, {"spec": {"hubAcceptsClient": True}})
    await scene.hub.until(lambda: scene.client.get(ROLEBINDINGS, name, cluster))
    await scene.client.delete(INFERENCEDEPLOYMENTS, "demo", scene.namespace)
    for resource in (SECRETS, ROLES, ROLEBINDINGS):
        await scene.hub.until(lambda r=resource: gone(lambda: scene.client.get(r, name, cluster)))


async def test_what_cannot_be_done_is_said_and_what_runs_is_left(scene: Scene):
    (cluster,) = await scene.clusters(1)
    await scene.create()
    before = await scene.work(cluster)
    await scene.patch({"engine": {"name": "vlm"}})
    message = (await scene.condition("Ready", "InvalidSpec"))["message"]
    assert message.startswith("spec.engine.name: ")
    assert "vllm" in message
    await scene.patch({"engine": {"name": "vllm"}, "cache": {"runtime": "tape"}})

    async def runtime_named() -> bool:
        said = get_condition(await scene.get(), "Ready")
        return said is not None and said["message"].startswith("spec.cache.runtime: 'tape'")

    await scene.hub.until(runtime_named)
    after = await scene.work(cluster)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_nothing_is_written_when_nothing_changed(scene: Scene):
    (cluster,) = await scene.clusters(1)
    await scene.create()
    await scene.report_ready(cluster)
    await scene.condition("Ready", "AllReplicasReady")

    async def versions() -> list[str]:
        objects = [
            await scene.get(),
            await scene.work(cluster),
            await scene.client.get(PLACEMENTS, "inference-demo", scene.namespace),
        ]
        return [obj["metadata"]["resourceVersion"] for obj in objects]

    before = await versions()
    await scene.hub.stop()
    scene.hub.plugins = Plugins()
    scene.hub.plugins.add("inference-deployer", InferenceDeployer)
    await scene.hub.start()  # a fresh manager looks at everything once
    # Its second look, at another deployment, comes after its first look at ours.
    await scene.create(name="marker", engine={"name": "none"})

    async def marked() -> bool:
        return get_condition(await scene.get("marker"), "Ready") is not None

    await scene.hub.until(marked)
    assert await versions() == before


async def test_a_cluster_without_a_place_says_why(scene: Scene):
    await scene.create()
    said = await scene.condition("Ready", "NoManagedClusterSetBindings")
    assert "ManagedClusterSetBindings" in said["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": {"source": "s3://m/x"}}, "spec.model.name"),
        ({"model": {"name": "two words", "source": "s3://m/x"}}, "spec.model.name"),
        ({"model": {"name": "m", "source": "/just/a/path"}}, "spec.model.source"),
        ({"replicas": -1}, "spec.replicas"),
        ({"replicas": "two"}, "spec.replicas"),
        ({"engine": {"launcher": "magic"}}, "spec.engine.launcher"),
        ({"cache": {"quota": "much"}}, "spec.cache.quota"),
        ({"cache": {"bypass": "sometimes"}}, "spec.cache.bypass"),
        ({"engine": {"env": [{"value": "x"}]}}, "spec.engine.env[0].name"),
    ],
)
async def test_what_the_schema_can_refuse_is_refused_at_apply(
    client: Client, crds_installed: None, namespace: str, change: Json, field: str
):
    body = {
        "apiVersion": INFERENCEDEPLOYMENTS.api_version,
        "kind": "InferenceDeployment",
        "metadata": {"name": "demo", "namespace": namespace},
        "spec": {"model": {"name": "llama", "source": "s3://m/x"}, **change},
    }
    with pytest.raises(Invalid) as caught:
        await client.create(INFERENCEDEPLOYMENTS, body)
    assert field in caught.value.message


async def test_a_name_that_no_service_can_have_is_refused(
    client: Client, crds_installed: None, namespace: str
):
    body = {
        "apiVersion": INFERENCEDEPLOYMENTS.api_version,
        "kind": "InferenceDeployment",
        "metadata": {"name": "1st.model", "namespace": namespace},
        "spec": {"model": {"name": "llama", "source": "s3://m/x"}},
    }
    with pytest.raises(Invalid, match=r"metadata\.name must be at most 50"):
        await client.create(INFERENCEDEPLOYMENTS, body)
