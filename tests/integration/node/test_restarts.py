"""What survives: the node process and the API server are killed, stopped, and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from addon_framework.api.core import LEASES, PODS
from addon_framework.api.meta import Json
from addon_framework.kube import Client, NotFound
from addon_framework.local.node.volumes import memory_directory
from addon_framework.testing import EmbeddedApiServer, eventually

from .cluster import Cluster, NodeProcess, descendants_mentioning, ready
from .conftest import make_cluster


@pytest_asyncio.fixture
async def own(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster that may be broken."""
    (tmp_path / "server").mkdir()
    server = EmbeddedApiServer(tmp_path / "server", service_cidr="127.79.0.0/24")
    server.start()
    node = NodeProcess(server, tmp_path / "node", "node2", "127.80.0.0/24")
    node.start()
    try:
        async with Client.from_kubeconfig(server.kubeconfig) as client:
            yield await make_cluster(server, node, client)
    finally:
        if node.process is not None:
            node.end()
        server.stop()
        node.remove()


def leftovers(cluster: Cluster) -> list[str]:
    """Processes, mounts and directories in memory of the node."""
    state = str(cluster.node.state)
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if state in line]
    memory = [str(path) for path in [memory_directory(cluster.node.state)] if path.exists()]
    return [*map(str, descendants_mentioning(f"{state}/pods")), *mounts, *memory]


async def start_pods(cluster: Cluster) -> list[Json]:
    shm = {
        "container": {"volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}]},
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
    }
    await cluster.pod("stays", "echo run; sleep 1000", **shm)
    await cluster.pod("once", "sleep 1000", restartPolicy="Never")
    await cluster.pod("done", "echo finished", restartPolicy="Never")
    await cluster.ended("done")
    return [await cluster.running("stays"), await cluster.running("once")]


async def test_sigterm_leaves_nothing_and_a_start_brings_pods_back(own: Cluster) -> None:
    before, _ = await start_pods(own)
    if os.geteuid() == 0:
        await own.pod(
            "mounts",
            "mkdir -p /mnt/m; mount -t tmpfs none /mnt/m && echo mounted; sleep 1000",
            container={
                "securityContext": {"privileged": True},
                "volumeMounts": [{"name": "v", "mountPath": "/mnt", "mountPropagation": "Bidirectional"}],
            },
            volumes=[{"name": "v", "hostPath": {"path": "/v"}}],
        )
        await eventually((own.node.host / "v/m").is_mount)
    assert leftovers(own)
    assert own.node.end(signal.SIGTERM) == 0
    assert leftovers(own) == []
    own.node.start()
    pod = await own.wait(PODS, "stays", lambda p: ready(p) and _restarts(p) == 1)
    assert pod["metadata"]["uid"] == before["metadata"]["uid"]
    assert await own.logs("stays") == "run\n"
    assert await own.logs("done") == "finished\n"


async def test_kill_9_takes_the_pods_along_and_a_start_brings_them_back(own: Cluster) -> None:
    await start_pods(own)
    assert own.node.end(signal.SIGKILL) == -signal.SIGKILL
    await eventually(lambda: not descendants_mentioning(f"{own.node.state}/pods"))
    own.node.start()
    pod = await own.wait(PODS, "stays", lambda p: ready(p) and _restarts(p) == 1)
    state = pod["status"]["containerStatuses"][0]
    assert state["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    once = await own.ended("once")
    assert once["status"]["phase"] == "Failed"
    assert own.node.end() == 0
    assert leftovers(own) == []


async def test_a_restart_of_the_api_server_does_not_touch_pods(own: Cluster) -> None:
    before, _ = await start_pods(own)
    own.server.kill()
    own.server.start()
    await own.pod("after", "sleep 1000")
    await own.running("after")
    pod = await own.client.get(PODS, "stays", own.namespace)
    assert _restarts(pod) == 0
    assert _started(pod) == _started(before)
    assert "Traceback" not in own.node.log()


async def test_pods_that_were_deleted_while_the_node_was_away_go(own: Cluster) -> None:
    await start_pods(own)
    own.node.end(signal.SIGKILL)
    await own.client.delete(PODS, "stays", own.namespace)
    own.node.start()
    await own.gone(PODS, "stays")


async def test_the_lease_is_renewed(own: Cluster) -> None:
    lease = await eventually(
        lambda: own.client.get(LEASES, own.node.name, "kube-node-lease"), swallow=NotFound
    )
    assert lease["spec"]["holderIdentity"] == own.node.name
    own.node.end()
    own.node.start()

    async def renewed() -> bool:
        now = await own.client.get(LEASES, own.node.name, "kube-node-lease")
        return bool(now["spec"]["renewTime"] > lease["spec"]["renewTime"])

    await eventually(renewed)


def _restarts(pod: Json) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def _started(pod: Json) -> str:
    return str(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"])
