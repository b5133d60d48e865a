from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from addon_framework.api.core import NAMESPACES, SERVICEACCOUNTS
from addon_framework.kube import Client, NotFound
from addon_framework.testing import EmbeddedApiServer, eventually

from .cluster import Cluster, NodeProcess


@pytest.fixture(scope="session")
def node_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedApiServer]:
    """An embedded API server, whatever the other tests run against: the node is embedded, too."""
    server = EmbeddedApiServer(tmp_path_factory.mktemp("server"), service_cidr="127.77.0.0/24")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def node_process(
    node_server: EmbeddedApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    node = NodeProcess(node_server, tmp_path_factory.mktemp("node"), "node1", "127.78.0.0/24")
    node.start()
    yield node
    code = node.end()
    node.remove()
    assert code == 0, node.log()[-3000:]
    assert "Traceback" not in node.log()


async def make_cluster(server: EmbeddedApiServer, node: NodeProcess, client: Client) -> Cluster:
    """A fresh namespace of a cluster."""
    name = f"test-{secrets.token_hex(4)}"
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await eventually(lambda: client.get(SERVICEACCOUNTS, "default", name), swallow=NotFound)
    cluster = Cluster(client, server, node, name)
    await cluster.node_ready()
    return cluster


@pytest_asyncio.fixture
async def cluster(node_server: EmbeddedApiServer, node_process: NodeProcess) -> AsyncIterator[Cluster]:
    async with Client.from_kubeconfig(node_server.kubeconfig) as client:
        made = await make_cluster(node_server, node_process, client)
        yield made
        await client.delete(NAMESPACES, made.namespace)
        await made.gone_namespace()
