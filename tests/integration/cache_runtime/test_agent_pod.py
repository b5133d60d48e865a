"""The agent as it is shipped: a Deployment of the agent image with its own service account."""

from __future__ import annotations

import asyncio
import base64
import urllib.request

import pytest

from addon_framework.api.core import DEPLOYMENTS, JOBS, LEASES, PODS, SECRETS
from addon_framework.api.meta import Json
from addon_framework.hub.addons.values import decorate
from addon_framework.local.fleet.images import images
from addon_framework.local.node.config import Image
from addons.cache_runtime.agent.names import METRICS_PORT
from addons.cache_runtime.plugin import NAME, CacheRuntime
from tests.integration.cache_runtime.conftest import INSTALL_NAMESPACE
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet

MIRROR = "registry.example/mirror"
MESH = "registry.example/mesh"


@pytest.fixture(scope="module")
def more_images() -> dict[str, Image]:
    """The agent's comes from a mirror here, and a mesh puts a container of its own into every pod."""
    return dict.fromkeys((f"{MIRROR}/agent", MESH), images()["ghcr.io/boundaryless/agent"])


async def test_the_shipped_agent_binds_and_loads(
    fleet: Fleet, hub_kubeconfig: bytes, model: dict[str, bytes]
) -> None:
    await fleet.stop_agent()
    data = {"kubeconfig": base64.b64encode(hub_kubeconfig).decode()}
    secret: Json = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{NAME}-hub-kubeconfig", "namespace": INSTALL_NAMESPACE},
        "data": data,
    }
    await fleet.client.apply(secret, field_manager="tests")
    values = {"cluster_name": "cluster1", "install_namespace": INSTALL_NAMESPACE}
    config: Json = {"spec": {"registries": [{"source": "ghcr.io/boundaryless", "mirror": MIRROR}]}}
    manifests = CacheRuntime().addon_manifests(cluster={}, addon={}, values=values)
    [deployment] = decorate([obj for obj in manifests if obj["kind"] == "Deployment"], [config], name=NAME)
    put = {"name": "mesh", "image": MESH, "command": ["sleep", "infinity"]}
    deployment["spec"]["template"]["spec"]["containers"].insert(0, put)
    await fleet.client.apply(deployment, field_manager="tests")
    try:
        await fleet.secret()
        await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
        await fleet.phase(DATALOADS, "llama", "Complete")
        await fleet.until(DATASETS, "llama", lambda d: (d["status"].get("numbers") or {}).get("cachedBytes"))
        [job] = (await fleet.client.list(JOBS, fleet.namespace))["items"]
        [container] = job["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"{MIRROR}/agent"  # whatever the agent's pods run comes from there, too
        lease = await fleet.client.get(LEASES, NAME, INSTALL_NAMESPACE)
        assert lease["spec"]["renewTime"]
        text = await asyncio.to_thread(scrape, await agent_ip(fleet))
        assert f'dataset_cached_bytes{{dataset="{fleet.namespace}/llama"}}' in text
    finally:
        name = deployment["metadata"]["name"]
        await fleet.client.delete(DEPLOYMENTS, name, INSTALL_NAMESPACE)
        await fleet.client.delete(SECRETS, f"{NAME}-hub-kubeconfig", INSTALL_NAMESPACE)
        fleet.start_agent()


async def agent_ip(fleet: Fleet) -> str:
    """Where the Service for metrics leads."""
    pods = await fleet.client.list(PODS, INSTALL_NAMESPACE, label_selector=f"app={NAME}-agent")
    return str(pods["items"][0]["status"]["podIP"])


def scrape(host: str) -> str:
    with urllib.request.urlopen(f"http://{host}:{METRICS_PORT}/metrics", timeout=60) as answer:
        return str(answer.read().decode())
