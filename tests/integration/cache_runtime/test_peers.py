"""Nodes of a cluster fetch from each other: three that load at once cost the origin one read of each byte."""

from __future__ import annotations

import random

import pytest

from addon_framework.api.data import LocalRuntime
from addon_framework.testing import eventually
from tests.integration.cache_runtime.faultyproxy import Fault, faulty
from tests.integration.cache_runtime.fleet import DATALOADS, Fleet
from tests.integration.cache_runtime.objectstore import ObjectStore
from tests.integration.node.cluster import NodeProcess

SIZE = 64 << 20


@pytest.fixture
def weights(store: ObjectStore) -> bytes:
    content = random.Random(11).randbytes(SIZE)
    store.client().put_object(Bucket="models", Key="shared/weights", Body=content)
    return content


async def test_nodes_that_load_at_once_read_the_origin_once(
    more_nodes: list[NodeProcess], fleet: Fleet, node: NodeProcess, weights: bytes
) -> None:
    await fleet.secret(token="what nodes show each other")
    with faulty(fleet.store.endpoint) as proxy:
        proxy.rule = lambda asked: Fault(rate=20_000_000)
        dataset = fleet.dataset("shared", source="s3://models/shared")
        dataset["spec"]["mounts"][0]["options"]["endpoint"] = proxy.endpoint
        runtime = fleet.runtime(
            "local", "shared", replicas=3, peers={"tokenSecret": {"name": "keys", "key": "token"}}
        )
        await fleet.create(dataset, runtime)
        await fleet.until(
            LocalRuntime.RESOURCE,
            "shared",
            lambda runtime: (runtime.get("status") or {}).get("workerNumberReady") == 3,
        )
        await fleet.create(fleet.load("shared"))
        load = await fleet.phase(DATALOADS, "shared", "Complete")
        infos = load["status"]["infos"]
        assert len(infos["nodes"].split(",")) == 3
        assert "originBytes" in infos, infos
        # Once, but for what a node takes over that got nothing for long on a busy machine; alone they read 3.
        assert proxy.sent <= 1.5 * SIZE + (1 << 20)  # and listings
        assert int(infos["originBytes"]) <= 1.5 * SIZE
        assert int(infos["originBytes"]) + int(infos["peerBytes"]) == 3 * SIZE
    for each in (node, *more_nodes):
        path = each.host / f"var/lib/boundaryless/cache/{fleet.namespace}/shared/data/weights"
        await eventually(path.exists)
        assert path.read_bytes() == weights
