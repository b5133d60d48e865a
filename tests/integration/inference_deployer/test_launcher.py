"""The launcher with a real vLLM and API server: cold beside a load, warm from a host, stopped, killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from addon_framework.api.core import PODS, ROLEBINDINGS, ROLES, SERVICEACCOUNTS
from addon_framework.kube import Client
from addon_framework.testing import eventually
from addon_framework.testing.servers import free_port
from addons.inference_deployer.controller.payload import payload
from addons.inference_deployer.engines.vllm import VLLMEngine
from addons.inference_deployer.kinds import DATALOADS, TIMELINE_ANNOTATION
from addons.inference_deployer.launcherfiles import launcher_files
from addons.inference_deployer.testmodel import make_model

ENGINE = Path(__file__).parents[3] / ".engine"
pytestmark = [
    pytest.mark.skipif(not (ENGINE / ".ready").exists(), reason="no vLLM: run make setup"),
    pytest.mark.timeout(240),
]
OPTIONS = ("--dtype=bfloat16", "--max-model-len=256", "--max-num-seqs=2", "--enforce-eager")


class Node:
    """Starts launchers as a kubelet would, with a pod's identity, and ends them."""

    def __init__(self, client: Client, namespace: str, directory: Path) -> None:
        self.client, self.namespace, self.directory = client, namespace, directory
        self.model, self.socket = directory / "model", directory / "host" / "host.sock"
        self.processes: list[asyncio.subprocess.Process] = []
        self.sockets = tempfile.mkdtemp()  # a path that is short enough for one
        launcher = directory / "launcher"
        launcher.mkdir()
        for name, text in launcher_files().items():
            (launcher / name).write_text(text)

    async def prepare(self) -> None:
        """The objects that a launcher sees, with exactly the rights that the payload gives it."""
        make_model(self.model, size_mb=10, shards=2)
        deployment = {
            "metadata": {"name": "demo", "namespace": self.namespace},
            "spec": {"model": {"name": "llama", "source": "s3://m/x"}},
        }
        for obj in payload(deployment, VLLMEngine()):
            if obj["kind"] in ("ServiceAccount", "Role", "RoleBinding", "DataLoad"):
                await self.client.apply(obj, field_manager="test")
        assert await self.client.get(ROLES, "demo-engine", self.namespace)
        assert await self.client.get(ROLEBINDINGS, "demo-engine", self.namespace)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        path = SERVICEACCOUNTS.path(self.namespace, "demo-engine", "token")
        token = await self.client.request("POST", path, body=request)
        account = self.directory / "account"
        account.mkdir()
        (account / "token").write_text(token["status"]["token"])
        (account / "ca.crt").write_bytes(self.client.config.ca or b"")

    async def pod(self, name: str) -> None:
        container = {"name": "engine", "image": "vllm/vllm-openai"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"containers": [container], "serviceAccountName": "demo-engine"},
        }
        await self.client.create(PODS, pod)

    async def start(
        self, *arguments: str, pod: str = "", environment: Mapping[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        host, _, port = self.client.server.removeprefix("https://").rpartition(":")
        every = {
            **os.environ,
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_HOST_IP": "127.0.0.1",
            "TMPDIR": self.sockets,  # in a pod /tmp is its own
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "SERVICE_ACCOUNT_DIR": str(self.directory / "account"),
            "POD_NAMESPACE": self.namespace,
            "WAIT_FOR_DATALOAD": f"{self.namespace}/demo",
            "ENGINE_HOST_SOCKET": str(self.socket),
            **({"POD_NAME": pod} if pod else {}),
            **(environment or {}),
        }
        process = await asyncio.create_subprocess_exec(
            str(ENGINE / "bin" / "python3"), str(self.directory / "launcher"), *arguments, env=every
        )
        self.processes.append(process)
        return process

    async def launch(
        self,
        pod: str,
        port: int,
        options: Sequence[str] = OPTIONS,
        environment: Mapping[str, str] | None = None,
    ) -> asyncio.subprocess.Process:
        await self.pod(pod)
        arguments = ["--model", str(self.model), "--served-model-name", "llama", "--port", str(port)]
        arguments += ["--host", "127.0.0.1", *options]
        return await self.start("--", *arguments, pod=pod, environment=environment)

    async def mark(self, pod: str, name: str, timeout: float = 120) -> dict[str, Any]:
        """All marks of a pod, once one of them is there."""

        async def probe() -> dict[str, Any] | None:
            obj = await self.client.get(PODS, pod, self.namespace)
            text = (obj["metadata"].get("annotations") or {}).get(TIMELINE_ANNOTATION, "{}")
            marks: dict[str, Any] = json.loads(text)
            return marks if name in marks else None

        found: dict[str, Any] = await eventually(probe, timeout=timeout)
        return found

    async def load(self, phase: str, version: str = "") -> None:
        status: dict[str, Any] = {"phase": phase, "duration": "1s", "conditions": []}
        if version:
            status["infos"] = {"version": version}
        await self.client.patch(DATALOADS, "demo", {"status": status}, self.namespace, subresource="status")

    async def stop(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
async def node(client: Client, crds_installed: None, namespace: str, tmp_path: Path) -> AsyncIterator[Node]:
    it = Node(client, namespace, tmp_path)
    await it.prepare()
    yield it
    await it.stop()
    shutil.rmtree(it.sockets)


async def answer(port: int) -> str:
    body = {"model": "llama", "prompt": "hello", "max_tokens": 4, "temperature": 0}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/v1/completions", json=body) as response,
    ):
        response.raise_for_status()
        text: str = (await response.json())["choices"][0]["text"]
        return text


async def ended(process: asyncio.subprocess.Process) -> int:
    return await asyncio.wait_for(process.wait(), 25)  # before a kubelet would kill it


def alive(directory: Path) -> int:
    """Processes of launchers, engines and hosts of this test."""
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found += str(directory / "launcher").encode() in (entry / "cmdline").read_bytes()
            except OSError:
                continue
    return found


async def test_cold_beside_the_load_then_warm_from_a_host(node: Node):
    port = free_port()
    cold = await node.launch("cold", port)
    imported = await node.mark("cold", "imported")
    assert "data_ready" not in imported  # the import does not wait for the data ...
    assert "weights_start" not in imported  # ... but the weights do
    await node.load("Complete")
    marks = await node.mark("cold", "serving")
    steps = ["process_start", "imported", "data_ready", "weights_start", "weights_loaded", "serving"]
    assert sorted(steps, key=lambda step: marks[step]) == steps
    assert marks["mode"] == "cold"
    took = marks["serving"] - marks["process_start"]
    text = await answer(port)
    assert text

    host = await node.start("--mode", "host")
    # The host's lock is there before its import is done: a launcher that comes now waits for it.
    await eventually(node.socket.with_name("host.sock.lock").exists)
    port_warm = free_port()
    warm = await node.launch("warm", port_warm)
    marks = await node.mark("warm", "serving")
    assert marks["mode"] == "warm"
    assert await answer(port_warm) == text
    assert marks["serving"] - marks["imported"] < took

    warm.send_signal(signal.SIGTERM)
    assert await ended(warm) == 0
    cold.send_signal(signal.SIGTERM)
    assert await ended(cold) == 0

    orphan = await node.launch("orphan", free_port())
    await node.mark("orphan", "serving")
    host.kill()  # what it forked goes with it, and the launcher says so to the kubelet
    assert await ended(orphan) == 1
    await eventually(lambda: alive(node.directory) == 0)


@pytest.mark.timeout(600)  # a minute on two idle cores
async def test_what_one_replica_compiles_the_next_one_runs(node: Node):
    await node.load("Complete")
    carried = node.directory / "compiled"
    carried.mkdir()
    options = [option for option in OPTIONS if option != "--enforce-eager"]

    async def replica(name: str) -> tuple[dict[str, Any], str]:
        port = free_port()
        process = await node.launch(name, port, options, {"COMPILED": str(carried)})
        marks, text = await node.mark(name, "compiled", timeout=240), await answer(port)
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
        return marks, text

    first, text = await replica("first")
    assert (first["mode"], first["compiled"]) == ("cold", "none")
    archive = list(carried.iterdir())
    assert len(archive) == 1
    with tarfile.open(archive[0]) as tar:
        assert any(name.endswith(".so") for name in tar.getnames())

    await node.start("--mode", "host")
    await eventually(node.socket.with_name("host.sock.lock").exists)
    second, same = await replica("second")  # by the host, which sees none of the replica's directories
    assert (second["mode"], second["compiled"]) == ("warm", "all")
    assert same == text
    assert list(carried.iterdir()) == archive
    assert not [name for name in os.listdir(node.sockets) if name.startswith("compiled-")]


@pytest.fixture
def away(node: Node) -> list[Path]:
    """All shards of the model but the first, which are not there yet."""
    _, *others = sorted(node.model.glob("*.safetensors"))
    for path in others:
        path.rename(node.directory / path.name)
    assert others
    return others


async def test_weights_are_read_while_others_are_on_their_way(node: Node, away: list[Path]):
    port = free_port()
    await node.load("Executing", "a")
    await node.launch("early", port)
    marks = await node.mark("early", "weights_start")
    assert "data_ready" not in marks
    for path in away:
        (node.directory / path.name).rename(path)
    await node.load("Complete", "a")
    marks = await node.mark("early", "serving")
    assert marks["weights_start"] < marks["data_ready"] < marks["weights_loaded"]
    assert 0 <= marks["weights_waited"] < marks["weights_seconds"]
    text = await answer(port)
    port = free_port()
    await node.launch("late", port)
    assert "weights_waited" not in await node.mark("late", "serving")
    assert await answer(port) == text


async def test_weights_of_two_versions_are_never_served(node: Node, away: list[Path]):
    await node.load("Executing", "a")
    process = await node.launch("mixed", free_port())
    await node.mark("mixed", "weights_start")
    for path in away:
        (node.directory / path.name).rename(path)
    await node.load("Complete", "b")
    await ended(process)
    pod = await node.client.get(PODS, "mixed", node.namespace)
    assert "weights_loaded" not in pod["metadata"]["annotations"][TIMELINE_ANNOTATION]


async def test_stopped_while_it_waits_for_the_data(node: Node):
    process = await node.launch("early", free_port())
    await node.mark("early", "process_start")
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == 128 + signal.SIGTERM
    await eventually(lambda: alive(node.directory) == 0)
