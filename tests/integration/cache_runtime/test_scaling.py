"""Fewer workers: the node that has no worker any more is cleaned, but not under a pod that reads there."""

from __future__ import annotations

import asyncio
import hashlib

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import EVENTS, NODES, PODS
from addon_framework.api.data import LocalRuntime
from addon_framework.testing import EmbeddedApiServer, eventually
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet
from tests.integration.node.cluster import PREFIX, NodeProcess

LOCAL = LocalRuntime.RESOURCE


async def test_a_node_that_leaves_a_cache_is_cleaned_when_nobody_reads_there(
    api_server: EmbeddedApiServer,
    more_nodes: list[NodeProcess],
    fleet: Fleet,
    node: NodeProcess,
    model: dict[str, bytes],
) -> None:
    hosts = {each.name: each for each in (node, *more_nodes)}
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama", replicas=3))
    await fleet.phase(DATASETS, "llama", "Bound")
    await fleet.create(fleet.load("llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")
    by_worker = {
        name: (await fleet.client.get(PODS, name, fleet.namespace))["spec"]["nodeName"]
        for name in ("llama-worker-0", "llama-worker-1", "llama-worker-2")
    }
    stays, reads, leaves = by_worker.values()
    where = {
        name: each.host / f"var/lib/boundaryless/cache/{fleet.namespace}/llama"
        for name, each in hosts.items()
    }
    assert all((path / "data/config.json").exists() for path in where.values())
    reader = fleet.reader("llama", "sleep 600")
    reader["spec"]["nodeSelector"] = {"kubernetes.io/hostname": reads}
    await fleet.create(reader)
    await fleet.until(PODS, "reader-llama", lambda p: (p.get("status") or {}).get("phase") == "Running")

    scale = ("scale", "localruntime/llama", "--replicas=1", "--namespace", fleet.namespace)
    kubectl = await asyncio.create_subprocess_exec(
        str(PREFIX / "kubectl"), "--kubeconfig", str(api_server.kubeconfig), *scale
    )
    assert await kubectl.wait() == 0
    runtime = await fleet.until(LOCAL, "llama", lambda r: "NodesInUse" in str(r.get("status")))
    scaled = get_condition(runtime["status"]["conditions"], "WorkersScaledIn")
    assert scaled is not None
    assert scaled["message"] == f"files are kept on node {reads} while pods reader-llama use it"
    await eventually(lambda: not where[leaves].exists())
    label = f"{fleet.namespace}-llama"
    await fleet.until(NODES, leaves, lambda n: label not in str(n["metadata"]["labels"]))
    assert (where[reads] / "data/config.json").exists()
    assert label in str((await fleet.client.get(NODES, reads))["metadata"]["labels"])

    await fleet.delete(PODS, "reader-llama")
    await eventually(lambda: not where[reads].exists())
    await fleet.until(NODES, reads, lambda n: label not in str(n["metadata"]["labels"]))
    assert (where[stays] / "data/config.json").exists()
    kept = (await fleet.client.get(NODES, stays))["metadata"]["labels"]
    assert (kept[f"fluid.io/s-{label}"], kept["fluid.io/dataset-num"]) == ("true", "1")
    await fleet.until(LOCAL, "llama", lambda r: "NodesInUse" not in str(r.get("status")))
    told = {(e["reason"], e["message"]) for e in (await fleet.client.list(EVENTS, fleet.namespace))["items"]}
    assert ("WorkersScaledIn", scaled["message"]) in told
    await fleet.create(fleet.reader("llama", "md5sum < /models/config.json"))  # wherever its volume lets it
    assert (await fleet.output("reader-llama")).split()[0] == hashlib.md5(model["config.json"]).hexdigest()
    assert (await fleet.client.get(PODS, "reader-llama", fleet.namespace))["spec"]["nodeName"] == stays

    await fleet.client.patch(LOCAL, "llama", {"spec": {"replicas": 2}}, fleet.namespace, subresource="scale")
    await fleet.until(LOCAL, "llama", lambda r: r["status"].get("workerNumberReady") == 2)
    again = await fleet.client.list(NODES, label_selector=f"fluid.io/s-{label}=true")
    assert len(again["items"]) == 2
