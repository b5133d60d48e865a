"""A cluster with a node, an S3 server with a model, and the cache agent with the rights it has in earnest."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
import structlog

from addon_framework.api.core import NAMESPACES, NODES, SERVICEACCOUNTS
from addon_framework.api.meta import Json
from addon_framework.kube import AlreadyExists, Client, ClientConfig, NotFound, wait_for
from addon_framework.local.fleet.images import images
from addon_framework.local.node.config import Image
from addon_framework.plugins import AgentContext
from addon_framework.testing import EmbeddedApiServer, eventually
from addon_framework.testing.servers import free_port
from addons.cache_runtime.admission.names import CONFIGURATION, MUTATING, VALIDATING
from addons.cache_runtime.admission.server import Address
from addons.cache_runtime.agent.run import run_agent
from addons.cache_runtime.plugin import NAME, CacheRuntime
from runtimes.interface import Backend
from tests.integration.cache_runtime.fleet import Fleet
from tests.integration.cache_runtime.objectstore import ObjectStore
from tests.integration.node.cluster import NodeProcess

INSTALL_NAMESPACE = "open-cluster-management-agent-addon"
MODEL_MB = 24


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 server."""
    store = ObjectStore(tmp_path_factory.mktemp("store"))
    store.start()
    yield store
    store.stop()


@pytest.fixture(scope="session")
def model(store: ObjectStore) -> dict[str, bytes]:
    """Files below models/llama, by their path there."""
    random_ = random.Random(7)
    files = {
        "config.json": random_.randbytes(1000),
        "model-1.safetensors": random_.randbytes(MODEL_MB // 2 * 1_000_000),
        "model-2.safetensors": random_.randbytes(MODEL_MB // 2 * 1_000_000 + 17),
        "sub dir/ä+b.txt": b"names are not always simple",
        "empty": b"",
    }
    client = store.client()
    for path, content in files.items():
        client.put_object(Bucket="models", Key=f"llama/{path}", Body=content)
    return files


@pytest.fixture(scope="module")
def more_images() -> dict[str, Image]:
    """What a module's pods run besides what every fleet knows."""
    return {}


@pytest.fixture(scope="module")  # not longer: its workload controllers would answer in other tests, too
def node(
    api_server: EmbeddedApiServer | None,
    tmp_path_factory: pytest.TempPathFactory,
    more_images: dict[str, Image],
) -> Iterator[NodeProcess]:
    """A node whose pods are processes."""
    if not isinstance(api_server, EmbeddedApiServer):
        pytest.skip("needs the embedded fleet")
    node = NodeProcess(api_server, tmp_path_factory.mktemp("cache-node"), "cache-node", "127.2.9.0/24")
    config = json.loads((node.directory / "node.json").read_text())
    config["images"] = msgspec.to_builtins(images() | more_images)
    (node.directory / "node.json").write_text(json.dumps(config))
    node.start()
    yield node
    node.end()
    node.remove()
    os.system(f"umount -l {node.host} 2>/dev/null")


@pytest.fixture
async def more_nodes(
    client: Client, node: NodeProcess, api_server: EmbeddedApiServer, tmp_path: Path
) -> AsyncIterator[list[NodeProcess]]:
    """Two beside the one that every test has, with its images."""
    made = []
    for number in (1, 2):
        name = f"cache-node-{number}"
        more = NodeProcess(api_server, tmp_path / name, name, f"127.2.{20 + number}.0/24")
        config = json.loads(
            (node.directory / "node.json")
            .read_text()
            .replace("127.2.9.0/24", f"127.2.{20 + number}.0/24")
            .replace(str(node.directory), str(more.directory))
            .replace(str(node.secret), str(more.secret))
        )
        (more.directory / "node.json").write_text(json.dumps(config | {"controllers": False}))
        more.start()
        made.append(more)
    yield made
    for more in made:
        more.end()
        await client.delete(NODES, more.name)  # else the next test's pods may be sent there
        more.remove()
        await asyncio.to_thread(os.system, f"umount -l {more.host} 2>/dev/null")


@pytest.fixture
def webhooks() -> Address | None:
    """Where the agent's webhooks listen. Without them controllers say what they would have said."""
    return None


@pytest.fixture
def backends() -> Sequence[Backend] | None:
    """Those that are installed, unless a test brings its own."""
    return None


@pytest.fixture
def metrics() -> tuple[str, int] | None:
    """Where Prometheus would ask the agent."""
    return None


@pytest.fixture
async def fleet(
    client: Client,
    node: NodeProcess,
    store: ObjectStore,
    namespace: str,
    crds_installed: None,
    webhooks: Address | None,
    metrics: tuple[str, int] | None,
    backends: Sequence[Backend] | None,
) -> AsyncIterator[Fleet]:
    """Everything, with the agent running."""
    await wait_for(
        client,
        NODES,
        node.name,
        until=lambda obj: obj is not None and bool((obj.get("status") or {}).get("conditions")),
        timeout=90,
    )
    async with await agent_client(client) as spoke:
        context = AgentContext(
            addon_name=NAME,
            cluster_name="cluster1",
            install_namespace=INSTALL_NAMESPACE,
            hub=client,  # one server plays both; the hub's part is only the Secret in the cluster namespace
            spoke=spoke,
            log=structlog.stdlib.get_logger(),
        )
        fleet = Fleet(
            client,
            node.host,
            store,
            namespace,
            lambda: run_agent(context, backends=backends, webhooks=webhooks, metrics=metrics),
        )
        fleet.start_agent()
        try:
            yield fleet
        finally:
            await fleet.clean()
            await fleet.stop_agent()
            for resource in (MUTATING, VALIDATING):
                with contextlib.suppress(NotFound):
                    await client.delete(resource, CONFIGURATION)


async def agent_client(client: Client) -> Client:
    """A client with the rights of the add-on's own service account, and no others."""
    cluster: Json = {"metadata": {"name": "cluster1"}}
    addon: Json = {"metadata": {"name": NAME, "namespace": "cluster1"}}
    values = {"cluster_name": "cluster1", "install_namespace": INSTALL_NAMESPACE}
    for obj in CacheRuntime().addon_manifests(cluster=cluster, addon=addon, values=values):
        if obj["kind"] not in ("CustomResourceDefinition", "Deployment"):
            await client.apply(obj, field_manager="tests")
    for name in ("cluster1", INSTALL_NAMESPACE):
        try:
            await client.create(NAMESPACES, {"metadata": {"name": name}})
        except AlreadyExists:
            pass
        await eventually(lambda n=name: client.get(SERVICEACCOUNTS, "default", n), swallow=NotFound)
    path = SERVICEACCOUNTS.path(INSTALL_NAMESPACE, f"{NAME}-agent", "token")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await client.request("POST", path, body=request))["status"]["token"]
    return Client(ClientConfig(server=client.server, ca=client.config.ca, token=lambda: str(token)))


@contextlib.asynccontextmanager
async def agent_alone(client: Client) -> AsyncIterator[None]:
    """The agent with its own rights and its webhooks, against an API server that may have no nodes."""
    async with await agent_client(client) as spoke:
        context = AgentContext(
            addon_name=NAME,
            cluster_name="cluster1",
            install_namespace=INSTALL_NAMESPACE,
            hub=None,
            spoke=spoke,
            log=structlog.stdlib.get_logger(),
        )
        webhooks = Address("127.0.0.1", "127.0.0.1", port=free_port())
        task = asyncio.create_task(run_agent(context, webhooks=webhooks))
        try:
            await wait_for(client, VALIDATING, CONFIGURATION, until=lambda obj: obj is not None, timeout=90)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.delete(VALIDATING, CONFIGURATION)


@pytest.fixture
def host_files(node: NodeProcess) -> Path:
    """What hostPath "/" is on the node."""
    return node.host


@pytest.fixture(autouse=True)
async def _no_task_left_behind() -> AsyncIterator[None]:
    """An agent that was stopped leaves no follower or watch."""
    before = asyncio.all_tasks()
    yield
    await eventually(lambda: not asyncio.all_tasks() - before - {asyncio.current_task()})


@pytest.fixture
def hub_kubeconfig(kubeconfig: Path) -> bytes:
    """The agent's identity on the hub."""
    return kubeconfig.read_bytes()
