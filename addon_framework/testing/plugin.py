"""pytest fixtures for add-on authors: an API server to test against.

Which one: `BOUNDARYLESS_TEST_KUBECONFIG` names any cluster; `KUBEBUILDER_ASSETS` has the binaries of envtest
(kube-apiserver and etcd, and kube-controller-manager where tests shall see its controllers); otherwise it is
the embedded server, which needs the extra `local`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from addon_framework.api.core import NAMESPACES, SERVICEACCOUNTS
from addon_framework.api.crd import load_crds
from addon_framework.api.meta import Json
from addon_framework.kube import Client, NotFound, apply_crds, until_reached
from addon_framework.testing.conditions import eventually
from addon_framework.testing.servers import ApiServer, chosen_server


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer | None]:
    """The server of this test session; None when a kubeconfig names a cluster that runs already."""
    if os.environ.get("BOUNDARYLESS_TEST_KUBECONFIG"):
        yield None
        return
    server = chosen_server(tmp_path_factory.mktemp("api-server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kubeconfig(api_server: ApiServer | None) -> Path:
    """A kubeconfig with all rights."""
    if api_server is None:
        return Path(os.environ["BOUNDARYLESS_TEST_KUBECONFIG"])
    return api_server.kubeconfig


@pytest.fixture(scope="session")
def has_controllers(api_server: ApiServer | None) -> bool:
    """Whether garbage is collected, namespaces are emptied, requests are signed."""
    return api_server is None or api_server.has_controllers


@pytest_asyncio.fixture
async def client(kubeconfig: Path) -> AsyncIterator[Client]:
    """A client with all rights."""
    async with Client.from_kubeconfig(kubeconfig) as client:
        yield client


@pytest_asyncio.fixture
async def namespace(client: Client, has_controllers: bool) -> AsyncIterator[str]:
    """A fresh namespace, deleted afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    if has_controllers:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", name), swallow=NotFound)
    yield name
    await client.delete(NAMESPACES, name)


@pytest.fixture(scope="session")
def our_crds() -> list[Json]:
    """All our CRDs; reading them takes longer than asking whether they are there."""
    return load_crds("all")


@pytest_asyncio.fixture
async def crds_installed(client: Client, our_crds: list[Json]) -> None:
    """All of them, established. So many connections at once may be too many for a machine that is busy."""
    await until_reached(lambda: apply_crds(client, our_crds, field_manager="boundaryless-tests"), timeout=60)
