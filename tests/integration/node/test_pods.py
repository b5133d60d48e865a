"""Pods on the real thing: an API server, a node, processes."""

from __future__ import annotations

import asyncio
import time

from addon_framework.api.core import PODS

from .cluster import Cluster


async def test_a_pod_runs_within_a_moment(cluster: Cluster) -> None:
    await cluster.pod("warm", "sleep 1000")
    await cluster.running("warm")
    began = time.monotonic()
    await cluster.pod("fast", "sleep 1000")
    await cluster.running("fast")
    assert time.monotonic() - began < 1.0
    print("seconds to Running:", time.monotonic() - began)


async def test_exit_code_and_log(cluster: Cluster) -> None:
    await cluster.pod("fails", "echo out; echo err >&2; exit 3", restartPolicy="Never")
    pod = await cluster.ended("fails")
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert sorted((await cluster.logs("fails")).split()) == ["err", "out"]
