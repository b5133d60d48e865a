"""Limits that the kernel enforces; root only, and where control groups can be made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from addon_framework.local.node.cgroups import Cgroups

from .cluster import Cluster

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def limits(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("limits need root")
    groups = Cgroups.find(tmp_path)
    made = groups.make("probe", {"resources": {"limits": {"memory": "64Mi", "cpu": "1"}}})
    if made is None:
        pytest.skip("no control groups can be made here")
    made.remove()
    groups.remove()


def python(script: str, **limits: str) -> dict[str, object]:
    return {"image": "example.org/python:3", "args": ["-c", script], "resources": {"limits": limits}}


async def test_who_takes_too_much_memory_is_killed(cluster: Cluster) -> None:
    hungry = python("print('began', flush=True); x = b'x' * (200 << 20); print('ended')", memory="80Mi")
    await cluster.pod("hungry", container=hungry, restartPolicy="Never")
    ended = (await cluster.ended("hungry"))["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    assert await cluster.logs("hungry") == "began\n"
    modest = python("x = b'x' * (20 << 20); print('ended')", memory="80Mi")
    await cluster.pod("modest", container=modest, restartPolicy="Never")
    assert await cluster.output("modest") == "ended\n"


async def test_commands_count_as_the_container(cluster: Cluster) -> None:
    await cluster.pod("p", container=python("import time; time.sleep(1000)", memory="80Mi"))
    await cluster.running("p")
    script = "x = b'x' * (200 << 20)"
    with pytest.raises(AssertionError, match="137"):
        await cluster.kubectl("exec", "p", "--", "python", "-c", script)


async def test_cpu_is_throttled(cluster: Cluster) -> None:
    script = (
        "import time; start = time.monotonic()\n"
        "while time.process_time() < 0.3: pass\n"
        "print(round(time.monotonic() - start, 1))"
    )
    await cluster.pod("slow", container=python(script, cpu="100m"), restartPolicy="Never")
    assert float(await cluster.output("slow")) > 1.5
