"""The agent's controllers on an API server; what a kubelet and the cache's agent write is written here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from addon_framework.api.core import CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, PODS, SERVICES
from addon_framework.api.meta import Resource
from addon_framework.kube import Client, Manager, NotFound
from addon_framework.testing import eventually
from addons.inference_deployer.agent.endpoints import EndpointController
from addons.inference_deployer.agent.enginehosts import ALWAYS, LAUNCHER, NEVER, SERVING, EngineHostController
from addons.inference_deployer.controller.payload import payload
from addons.inference_deployer.engines.host import HOST_DIR, host_key, host_nodes
from addons.inference_deployer.engines.vllm import IMAGE, VLLMEngine
from addons.inference_deployer.kinds import DATALOADS, DATASETS, INFERENCEENDPOINTS, TIMELINE_ANNOTATION
from addons.inference_deployer.launcherfiles import launcher_files

Json = dict[str, Any]


class Spoke:
    """One endpoint's objects, and the agent's controllers."""

    def __init__(self, client: Client, namespace: str, mode: str = SERVING) -> None:
        self.client, self.namespace = client, namespace
        # The agent looks at all namespaces: tests tell their hosts apart by the image.
        self.image = IMAGE if mode == ALWAYS else f"engine/{namespace}"
        self._manager = Manager(client, name="test")
        self._manager.add(EndpointController(namespace))
        self._manager.add(EngineHostController(mode, namespace, "inference-deployer-agent"))
        self._task = asyncio.create_task(self._manager.run())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def apply_work(self, name: str = "demo") -> None:
        """As the work agent does."""
        deployment = {
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "model": {"name": "llama", "source": "s3://m/x"},
                "engine": {"image": self.image},
                "replicas": 1,
            },
        }
        for obj in payload(deployment, VLLMEngine()):
            await self.client.apply(obj, field_manager="work-agent")

    async def set_status(self, resource: Resource, name: str, **status: Any) -> None:
        await self.client.patch(resource, name, {"status": status}, self.namespace, subresource="status")

    async def pod(self, name: str, node: str, **status: Any) -> None:
        """As the Deployment's controller, the scheduler and the kubelet do it."""
        deployment = await self.client.get(DEPLOYMENTS, "demo", self.namespace)
        template = deployment["spec"]["template"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": name, "namespace": self.namespace},
            "spec": {**template["spec"], "nodeName": node, "serviceAccountName": "default"},
        }
        await self.client.create(PODS, pod)
        if status:
            await self.set_status(PODS, name, **status)

    async def endpoint(self, until: Any) -> Json:
        """The endpoint's status, once it is as wanted."""

        async def probe() -> Json | None:
            endpoint = await self.client.get(INFERENCEENDPOINTS, "demo", self.namespace)
            status = endpoint.get("status") or {}
            return status if until(status) else None

        found: Json = await eventually(probe)
        return found

    async def host(self) -> Json | None:
        try:
            return await self.client.get(DAEMONSETS, f"engine-host-{host_key(self.image)}", self.namespace)
        except NotFound:
            return None


@pytest.fixture
async def spoke(client: Client, crds_installed: None, namespace: str) -> AsyncIterator[Spoke]:
    it = Spoke(client, namespace)
    yield it
    await it.stop()


def conditions(ready: bool) -> list[Json]:
    now = "2026-01-01T00:00:01Z"
    return [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": now},
        {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": now},
    ]


async def test_an_endpoint_on_its_way_to_ready(spoke: Spoke):
    await spoke.apply_work()
    first = await spoke.endpoint(lambda s: s.get("phase") == "Loading")
    assert first["dataPhase"] == "Pending"
    cached = {"cachedPercentage": "4%"}
    await spoke.set_status(DATASETS, "demo", phase="Bound", conditions=[], cacheStates=cached)
    infos = {"startTime": "1767225600.5", "finishTime": "1767225604.0"}
    await spoke.set_status(DATALOADS, "demo", phase="Complete", duration="4s", conditions=[], infos=infos)
    await spoke.pod("demo-1", "n1", conditions=conditions(ready=False))
    await spoke.endpoint(lambda s: s.get("phase") == "Starting" and s.get("cachedPercentage") == "4%")
    marks = {"mode": "cold", "process_start": 1767225601.5, "weights_seconds": 0.2, "serving": 1767225607.25}
    annotation = {"metadata": {"annotations": {TIMELINE_ANNOTATION: json.dumps(marks)}}}
    await spoke.client.patch(PODS, "demo-1", annotation, spoke.namespace)
    ingress = {"ingress": [{"ip": "192.0.2.9"}]}
    await spoke.set_status(SERVICES, "demo", loadBalancer=ingress)
    await spoke.set_status(PODS, "demo-1", conditions=conditions(ready=True))
    generation = (await spoke.client.get(DEPLOYMENTS, "demo", spoke.namespace))["metadata"]["generation"]
    counts = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
    await spoke.set_status(DEPLOYMENTS, "demo", observedGeneration=generation, **counts)
    status = await spoke.endpoint(lambda s: s.get("phase") == "Ready" and "ready" in s.get("timeline", ""))
    assert status["endpoint"] == "http://192.0.2.9:8000"
    assert status["readyReplicas"] == 1
    entry = json.loads(status["timeline"])[0]
    assert (entry["mode"], entry["dataLoadStart"], entry["ready"]) == ("cold", 1767225600.5, 1767225607.25)


async def test_a_host_comes_with_the_first_ready_replica_and_goes_with_the_last_deployment(spoke: Spoke):
    await spoke.apply_work()
    await spoke.pod("demo-1", "n1", conditions=conditions(ready=False))
    await spoke.endpoint(lambda s: "demo-1" in s.get("timeline", ""))
    assert await spoke.host() is None
    await spoke.set_status(PODS, "demo-1", conditions=conditions(ready=True))
    host = await eventually(spoke.host)
    assert host_nodes(host) == ["n1"]
    assert host["spec"]["updateStrategy"] == {"type": "OnDelete"}
    await spoke.endpoint(lambda s: s.get("engineHost") == "Starting")
    counts = {
        "desiredNumberScheduled": 1,
        "numberReady": 1,
        "currentNumberScheduled": 1,
        "numberMisscheduled": 0,
    }
    name = host["metadata"]["name"]
    await spoke.set_status(DAEMONSETS, name, observedGeneration=host["metadata"]["generation"], **counts)
    await spoke.endpoint(lambda s: s.get("engineHost") == "Ready")
    pod = host["spec"]["template"]["spec"]
    assert pod["volumes"][1]["hostPath"]["path"] == HOST_DIR
    config = await spoke.client.get(CONFIGMAPS, LAUNCHER, spoke.namespace)
    assert config["data"] == launcher_files()

    await spoke.pod("demo-2", "n2", conditions=conditions(ready=True))

    async def on_both() -> bool:
        return host_nodes(await spoke.host() or {}) == ["n1", "n2"]

    await eventually(on_both)
    for name in ("demo-1", "demo-2"):  # neither a pod that goes nor one that fails takes the host away
        await spoke.client.delete(PODS, name, spoke.namespace, grace_period=0)
    await spoke.endpoint(lambda s: "demo-2" not in s.get("timeline", ""))
    assert await on_both()
    await spoke.client.delete(DEPLOYMENTS, "demo", spoke.namespace)

    async def gone() -> bool:
        return await spoke.host() is None

    await eventually(gone)


@pytest.mark.parametrize(("mode", "kept"), [(ALWAYS, True), (NEVER, False)])
async def test_a_host_always_or_never(
    client: Client, crds_installed: None, namespace: str, mode: str, kept: bool
):
    spoke = Spoke(client, namespace, mode)
    try:
        if kept:
            host = await eventually(spoke.host)
            assert host_nodes(host) == []
        await spoke.apply_work()
        await spoke.pod("demo-1", "n1", conditions=conditions(ready=True))
        await spoke.endpoint(lambda s: "demo-1" in s.get("timeline", ""))
        assert (await spoke.host() is not None) is kept
    finally:
        await spoke.stop()
