"""Commands in pods, by our own client."""

from __future__ import annotations

import pytest

from addon_framework.kube import ApiError, NotFound
from addon_framework.kube.execute import ExecuteError, execute

from .cluster import Cluster


async def test_a_command_says_what_it_printed_or_how_it_failed(cluster: Cluster) -> None:
    await cluster.pod("p", "sleep 1000")
    await cluster.running("p")

    async def sh(script: str, timeout: float = 90) -> str:
        command = ["sh", "-c", script]
        return await execute(cluster.client, cluster.namespace, "p", "main", command, timeout=timeout)

    assert await sh("echo 'a b'; echo $((1 + 1)); echo aside >&2") == "a b\n2\n"
    assert len(await sh("head -c 300000 /dev/zero | tr '\\0' x")) == 300_000
    with pytest.raises(ExecuteError, match=r"in p/main: so it goes$"):
        await sh("echo so it goes >&2; exit 3")
    with pytest.raises(ExecuteError, match="longer than 1 s"):
        await sh("sleep 100", timeout=1)
    with pytest.raises(NotFound, match='pods "other" not found'):
        await execute(cluster.client, cluster.namespace, "other", "main", ["true"], timeout=90)
    with pytest.raises(ApiError, match="container aside is not valid for pod p"):
        await execute(cluster.client, cluster.namespace, "p", "aside", ["true"], timeout=90)
