"""kubectl against a running cluster, as people use it."""

from __future__ import annotations

import asyncio

from addon_framework.api.core import PODS

from .cluster import PREFIX, Cluster


async def test_wait_describe_get(cluster: Cluster) -> None:
    await cluster.pod("shell", "echo hello; sleep 1000")
    assert "condition met" in await cluster.kubectl("wait", "pod/shell", "--for=condition=Ready")
    described = await cluster.kubectl("describe", "pod", "shell")
    assert "Successfully assigned" in described
    assert "Started container main" in described
    shown = await cluster.kubectl("get", "pods,nodes", "-o", "wide")
    assert "1/1" in shown
    assert "Ready" in shown
    assert "hello" in await cluster.kubectl("logs", "shell")
    await cluster.kubectl("delete", "pod", "shell", "--wait")


async def test_whoever_stops_following_a_log_is_no_fault_of_the_node(cluster: Cluster) -> None:
    await cluster.pod("talks", "while :; do echo words; sleep 0.02; done")
    await cluster.running("talks")
    follower = await asyncio.create_subprocess_exec(
        str(PREFIX / "kubectl"),
        *("--kubeconfig", str(cluster.server.kubeconfig), "--namespace", cluster.namespace),
        *("logs", "-f", "talks"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert follower.stdout is not None
    assert await follower.stdout.readline() == b"words\n"
    follower.kill()
    await follower.wait()
    for _ in range(3):  # by then it has written to nobody, more than once
        assert "words" in await cluster.kubectl("exec", "talks", "--", "echo", "words")
    await cluster.client.delete(PODS, "talks", cluster.namespace)
    await cluster.gone(PODS, "talks")
    assert "Traceback" not in cluster.node.log()


async def test_logs_are_followed_to_the_end(cluster: Cluster) -> None:
    script = "for n in 1 2 3; do echo line $n; sleep 0.2; done"
    await cluster.pod("talks", script, restartPolicy="Never")
    await cluster.kubectl("wait", "pod/talks", "--for=jsonpath={.status.phase}=Running")
    process = await asyncio.create_subprocess_exec(
        str(PREFIX / "kubectl"),
        "--kubeconfig",
        str(cluster.server.kubeconfig),
        "--namespace",
        cluster.namespace,
        "logs",
        "-f",
        "talks",
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    assert output.decode() == "line 1\nline 2\nline 3\n"
    assert await cluster.kubectl("logs", "talks", "--tail=1") == "line 3\n"


async def test_rollout_status_and_undo(cluster: Cluster) -> None:
    await cluster.kubectl("create", "deployment", "demo", "--image=busybox", "--", "sleep", "1000")
    assert "successfully rolled out" in await cluster.kubectl("rollout", "status", "deployment/demo")
    await cluster.kubectl("set", "env", "deployment/demo", "A=B")
    assert "successfully rolled out" in await cluster.kubectl("rollout", "status", "deployment/demo")
    await cluster.kubectl("rollout", "undo", "deployment/demo")
    assert "successfully rolled out" in await cluster.kubectl("rollout", "status", "deployment/demo")
    history = await cluster.kubectl("rollout", "history", "deployment/demo")
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["2", "3"]
    await cluster.kubectl("scale", "deployment/demo", "--replicas=2")
    await cluster.kubectl("wait", "deployment/demo", "--for=jsonpath={.status.readyReplicas}=2")
    described = await cluster.kubectl("describe", "deployment", "demo")
    assert "Scaled up replica set" in described
