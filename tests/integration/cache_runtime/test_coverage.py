"""A load covers every node of its cache: those that come late, those that join, those that come back."""

from __future__ import annotations

from addon_framework.api.core import JOBS, NODES
from addon_framework.api.data import LocalRuntime
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet
from tests.integration.node.cluster import NodeProcess

LOCAL = LocalRuntime.RESOURCE


async def test_nodes_that_join_a_cache_later_are_loaded_too(
    more_nodes: list[NodeProcess], fleet: Fleet, node: NodeProcess, model: dict[str, bytes]
) -> None:
    for each in more_nodes:
        await fleet.until(NODES, each.name, lambda n: (n.get("status") or {}).get("conditions"))
        await fleet.client.patch(NODES, each.name, {"spec": {"unschedulable": True}})
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama", replicas=2))
    await fleet.create(fleet.load("llama"))
    first = await fleet.phase(DATALOADS, "llama", "Complete")
    said = first["status"]["infos"]
    assert said["nodes"] == node.name
    assert said["notes"].startswith("not on 1 worker that no node takes: pod llama-worker-")
    job = await fleet.client.get(JOBS, "llama-loader-job", fleet.namespace)

    late = more_nodes[0]
    await fleet.client.patch(NODES, late.name, {"spec": {"unschedulable": False}})
    both = await fleet.until(DATALOADS, "llama", lambda load: is_loaded(load, node.name, late.name))
    assert "notes" not in both["status"]["infos"]
    here = late.host / f"var/lib/boundaryless/cache/{fleet.namespace}/llama/data/config.json"
    assert here.exists()
    jobs = (await fleet.client.list(JOBS, fleet.namespace))["items"]
    names = {each["metadata"]["name"]: each["metadata"]["uid"] for each in jobs}
    assert names["llama-loader-job"] == job["metadata"]["uid"], "what was done is not done again"
    assert len(names) == 2

    await fleet.client.patch(LOCAL, "llama", {"spec": {"replicas": 1}}, fleet.namespace)
    kept = (await fleet.until(DATALOADS, "llama", lambda load: "," not in nodes_of(load)))["status"]
    assert kept["phase"] == "Complete"
    left = late if kept["infos"]["nodes"] == node.name else node
    gone = left.host / f"var/lib/boundaryless/cache/{fleet.namespace}/llama"
    await eventually(lambda: not gone.exists())
    await fleet.client.patch(LOCAL, "llama", {"spec": {"replicas": 2}}, fleet.namespace)
    await fleet.until(DATALOADS, "llama", lambda load: is_loaded(load, node.name, late.name))
    assert (gone / "data/config.json").exists(), "it came back empty and was loaded again"
    await fleet.phase(DATASETS, "llama", "Bound")


def nodes_of(load: Json) -> str:
    return str(((load.get("status") or {}).get("infos") or {}).get("nodes", ""))


def is_loaded(load: Json, *nodes: str) -> bool:
    """On exactly these."""
    return load["status"]["phase"] == "Complete" and nodes_of(load) == ",".join(sorted(nodes))
