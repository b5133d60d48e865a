"""The scorer's agent between two API servers, with no more rights than its manifests give it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import AddOnPlacementScore
from addon_framework.api.core import CRDS, NODES, PODS, SERVICEACCOUNTS
from addon_framework.api.meta import Json, Resource
from addon_framework.api.time import parse_time
from addon_framework.kube import Client, ClientConfig, Informer, Manager, NotFound, apply_crds
from addon_framework.plugins import AgentContext, Plugins
from addon_framework.testing import EmbeddedApiServer, eventually
from addons.resource_scorer.agent import SCORE_NAME, ScoreController, device_resources
from addons.resource_scorer.plugin import OWNER_ENV, ResourceScorer
from addons.resource_scorer.publish import Publisher
from addons.resource_scorer.scores import settings_from

SCORES = AddOnPlacementScore.RESOURCE
RBAC = {"apiVersion": "rbac.authorization.k8s.io/v1"}
INSTALL_NAMESPACE = "scorer-agents"


@pytest.fixture
async def spoke(spoke_server: EmbeddedApiServer) -> AsyncIterator[Client]:
    async with Client.from_kubeconfig(spoke_server.kubeconfig) as client:
        yield client
        for resource in (PODS, NODES):
            for obj in (await client.list(resource))["items"]:
                metadata = obj["metadata"]
                await client.delete(resource, metadata["name"], metadata.get("namespace"), grace_period=0)


class Scene:
    """A cluster namespace on the hub, nodes and pods on the spoke, and an agent between them."""

    def __init__(self, hub: Client, spoke: Client, cluster: str) -> None:
        self.hub, self.spoke, self.cluster = hub, spoke, cluster
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    async def node(self, name: str, **allocatable: str) -> None:
        await self.spoke.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        conditions = [{"type": "Ready", "status": "True", "reason": "Test"}]
        status = {
            "allocatable": _named(allocatable),
            "capacity": _named(allocatable),
            "conditions": conditions,
        }
        await self.spoke.patch(NODES, name, {"status": status}, subresource="status")

    async def pod(self, name: str, **requests: str) -> None:
        resources = {"requests": _named(requests), "limits": _named(requests)}
        container = {"name": "main", "image": "busybox", "resources": resources}
        metadata = {"name": name, "namespace": "default"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
        await eventually(lambda: self.spoke.get(SERVICEACCOUNTS, "default", "default"), swallow=NotFound)
        await self.spoke.create(PODS, pod)

    async def bind(self, pod: str, node: str) -> None:
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod, "namespace": "default"},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self.spoke.request("POST", PODS.path("default", pod, "binding"), body=binding)

    async def object(self) -> Json:
        return await self.hub.get(SCORES, SCORE_NAME, self.cluster)

    async def scores(self) -> dict[str, int]:
        status = (await self.object()).get("status") or {}
        return {entry["name"]: entry["value"] for entry in status.get("scores") or []}

    async def until(self, **wanted: int) -> None:
        async def there() -> bool:
            scores = await self.scores()
            assert {name: scores.get(name) for name in wanted} == wanted
            return True

        await eventually(there, swallow=NotFound)

    @asynccontextmanager
    async def agent(self, **variables: str) -> AsyncIterator[None]:
        publisher = Publisher(self.hub, self.cluster, clock=lambda: self.now)
        devices = await device_resources(self.spoke)
        controller = ScoreController(self.spoke, publisher, settings_from(variables), devices=devices)
        manager = Manager(self.hub, name="scorer")
        manager.add(controller)
        async with _running(manager.run()):
            yield

    @asynccontextmanager
    async def writes(self) -> AsyncIterator[list[int]]:
        """The GPU scores of the cluster as they are written, one entry a write."""
        seen: list[int] = []

        def take(old: Json | None, new: Json | None) -> None:
            scores = (((new or {}).get("status") or {}).get("scores")) or []
            seen.extend(entry["value"] for entry in scores if entry["name"] == "gpuAvailable")

        informer: Informer[Json] = Informer(self.hub, SCORES, namespace=self.cluster)
        async with _running(informer.run()):
            await informer.synced()
            informer.on_event(take)
            seen.clear()
            yield seen


def _named(quantities: dict[str, str]) -> dict[str, str]:
    return {name.replace("gpu", "nvidia.com/gpu"): value for name, value in quantities.items()}


@asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        assert not task.done() or task.exception() is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def scene(client: Client, crds_installed: None, namespace: str, spoke: Client) -> Scene:
    return Scene(client, spoke, namespace)


def gpu(count: int) -> int:
    return settings_from({}).families["gpu"].score(count)


async def test_scores_appear_and_follow_the_pods(scene: Scene) -> None:
    await scene.node("n0", cpu="8", memory="16Gi", gpu="4")
    await scene.node("n1", cpu="4", memory="8Gi", gpu="1")
    async with scene.agent():
        await scene.until(gpuAvailable=gpu(5), gpuNodeAvailable=gpu(4), tpuAvailable=-100)
        await scene.pod("engine", gpu="1", cpu="1")
        await scene.bind("engine", "n0")
        await scene.until(gpuAvailable=gpu(4), gpuClusterAvailable=gpu(4), gpuNodeAvailable=gpu(3))

        await scene.spoke.patch(NODES, "n1", {"spec": {"unschedulable": True}})
        await scene.until(gpuAvailable=gpu(3))
        done = {"status": {"phase": "Succeeded"}}
        await scene.spoke.patch(PODS, "engine", done, "default", subresource="status")
        await scene.until(gpuAvailable=gpu(4))
        await scene.spoke.delete(NODES, "n0")
        await scene.until(gpuAvailable=-100, cpuAvailable=-100)


async def test_written_only_when_a_score_changes_or_half_its_validity_is_over(scene: Scene) -> None:
    await scene.node("n0", cpu="8", gpu="4")
    async with scene.writes() as writes, scene.agent(validSeconds="100"):
        await eventually(lambda: writes == [gpu(4)])
        await scene.pod("small", cpu="10m")  # too little to change a score
        await scene.bind("small", "n0")
        await scene.spoke.patch(NODES, "n0", {"metadata": {"labels": {"a": "b"}}})
        await scene.pod("engine", gpu="1")
        await scene.bind("engine", "n0")
        await eventually(lambda: writes == [gpu(4), gpu(3)])
    before = await scene.object()
    assert parse_time(before["status"]["validUntil"]) == scene.now + timedelta(seconds=100)

    scene.now += timedelta(seconds=49)
    async with scene.writes() as writes, scene.agent(validSeconds="100"):  # a restart writes nothing
        await scene.node("n1", gpu="1")
        await eventually(lambda: writes == [gpu(4)])

    scene.now += timedelta(seconds=51)
    async with scene.writes() as writes, scene.agent(validSeconds="100"):
        await eventually(lambda: writes == [gpu(4)])
    renewed = await scene.object()
    assert parse_time(renewed["status"]["validUntil"]) == scene.now + timedelta(seconds=100)


async def test_devices_of_claims_and_what_is_used(scene: Scene) -> None:
    """Where a cluster has them. Here their kinds are CRDs, since the embedded server has no built-in ones."""
    kinds = [
        ("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", "Cluster"),
        ("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", "Namespaced"),
        ("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", "Cluster"),
    ]
    slices, claims, metrics = (Resource(*kind[:4], namespaced=kind[4] == "Namespaced") for kind in kinds)
    crds = [_loose_crd(*kind) for kind in kinds]
    await apply_crds(scene.spoke, crds, field_manager="test")
    await scene.node("n0", cpu="4", memory="8Gi")
    usage = {"usage": {"cpu": "3", "memory": "2Gi"}}
    await scene.spoke.create(metrics, _obj(metrics, "n0") | usage)
    pool = {"name": "n0", "generation": 1, "resourceSliceCount": 1}
    devices = [{"name": "gpu-0"}, {"name": "gpu-1"}]
    spec = {"driver": "gpu.nvidia.com", "pool": pool, "nodeName": "n0", "devices": devices}
    await scene.spoke.create(slices, _obj(slices, "n0") | {"spec": spec})
    try:
        async with scene.agent():
            await scene.until(gpuAvailable=gpu(2), cpuUsed=50, cpuNodeUsed=50, memClusterUsed=-50)
            result = {"driver": "gpu.nvidia.com", "pool": "n0", "device": "gpu-1", "request": "gpu"}
            status = {"allocation": {"devices": {"results": [result]}}}
            claim = _obj(claims, "engine", "default") | {"spec": {}, "status": status}
            await scene.spoke.create(claims, claim)
            await scene.until(gpuAvailable=gpu(1), gpuNodeAvailable=gpu(1))
            await scene.spoke.delete(claims, "engine", "default")
            await scene.until(gpuAvailable=gpu(2))
    finally:
        for crd in crds:
            await scene.spoke.delete(CRDS, crd["metadata"]["name"])


def _obj(resource: Resource, name: str, namespace: str | None = None) -> Json:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def _loose_crd(group: str, version: str, plural: str, kind: str, scope: str) -> Json:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": CRDS.api_version,
        "kind": CRDS.kind,
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes"},
        },
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


async def test_a_score_that_someone_deletes_or_edits_comes_back(scene: Scene) -> None:
    await scene.node("n0", gpu="2")
    async with scene.agent():
        await scene.until(gpuAvailable=gpu(2))
        await scene.hub.delete(SCORES, SCORE_NAME, scene.cluster)
        await scene.until(gpuAvailable=gpu(2))
        wrong = {"status": {"scores": [{"name": "gpuAvailable", "value": 99}]}}
        await scene.hub.patch(SCORES, SCORE_NAME, wrong, scene.cluster, subresource="status")
        await scene.until(gpuAvailable=gpu(2))


async def test_the_agent_with_the_rights_it_asks_for_and_scores_that_go_with_the_add_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Plugins().add("resource-scorer", ResourceScorer)
    resource = ManagedClusterAddOn.RESOURCE
    addon = _meta(resource.api_version, resource.kind, "resource-scorer", scene.cluster)
    addon = await scene.hub.create(resource, addon)
    values = {"install_namespace": INSTALL_NAMESPACE, "cluster_name": scene.cluster}
    manifests = plugin.call("addon_manifests", cluster={}, addon=addon, values=values)
    for obj in manifests:
        await scene.spoke.apply(obj, field_manager="test")
    await scene.hub.create(SERVICEACCOUNTS, _meta("v1", "ServiceAccount", "scorer", scene.cluster))
    rules = plugin.call("addon_hub_permissions", cluster_name=scene.cluster)
    role = _meta(RBAC["apiVersion"], "Role", "scorer", scene.cluster) | {"rules": rules}
    await scene.hub.apply(role, field_manager="test")
    subject = {"kind": "ServiceAccount", "name": "scorer", "namespace": scene.cluster}
    binding = _meta(RBAC["apiVersion"], "RoleBinding", "scorer", scene.cluster) | {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "scorer"},
        "subjects": [subject],
    }
    await scene.hub.apply(binding, field_manager="test")
    await scene.node("n0", gpu="4")

    monkeypatch.setenv(OWNER_ENV, addon["metadata"]["uid"])
    async with (
        await _as_account(scene.hub, scene.cluster, "scorer") as hub,
        await _as_account(scene.spoke, INSTALL_NAMESPACE, "resource-scorer-agent") as spoke,
    ):
        context = AgentContext(
            addon_name="resource-scorer",
            cluster_name=scene.cluster,
            install_namespace=INSTALL_NAMESPACE,
            hub=hub,
            spoke=spoke,
            log=structlog.get_logger(),
        )
        async with _running(plugin.call("addon_agent", context=context)):
            await scene.until(gpuAvailable=gpu(4))
    await scene.hub.delete(resource, "resource-scorer", scene.cluster)
    await eventually(lambda: _gone(scene))


async def _gone(scene: Scene) -> bool:
    return not (await scene.hub.list(SCORES, scene.cluster))["items"]


def _meta(api_version: str, kind: str, name: str, namespace: str) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}


async def _as_account(client: Client, namespace: str, name: str) -> Client:
    """A client that is a service account, as in its pod."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await client.request("POST", SERVICEACCOUNTS.path(namespace, name, "token"), body=request)
    token = answer["status"]["token"]
    config = ClientConfig(server=client.server, ca=client.config.ca, token=lambda: str(token))
    return Client(config)
