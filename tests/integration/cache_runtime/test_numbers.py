"""What is told in numbers, of a cluster that works and of one that does not."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from addon_framework.api.core import PODS
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from addon_framework.testing.servers import free_port
from tests.integration.cache_runtime.faultyproxy import Fault, faulty
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, RUNTIMES, Fleet


@pytest.fixture
def metrics() -> tuple[str, int]:
    return "127.0.0.1", free_port()


def scrape(address: tuple[str, int]) -> dict[tuple[str, str], float]:
    """Values by metric and Dataset."""
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return {
        (sample.name, sample.labels.get("dataset", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def not_ready(dataset: Json, status: str) -> Json:
    """The condition NotReady if it is so."""
    found = (c for c in dataset["status"]["conditions"] if (c["type"], c["status"]) == ("NotReady", status))
    return next(found, {})


async def test_numbers_beside_the_strings_and_for_prometheus(
    fleet: Fleet, model: dict[str, bytes], metrics: tuple[str, int]
) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
    load = await fleet.phase(DATALOADS, "llama", "Complete")
    total = sum(map(len, model.values()))
    wanted = {
        "sourceBytes": total,
        "sourceFiles": len(model),
        "cachedBytes": total,
        "capacityBytes": 1 << 30,
    }
    dataset = await fleet.until(
        DATASETS, "llama", lambda d: wanted.items() <= (d["status"].get("numbers") or {}).items()
    )
    runtime = await fleet.client.get(RUNTIMES["local"], "llama", fleet.namespace)
    for obj in (dataset, runtime, load):
        assert obj["status"]["observedGeneration"] == obj["metadata"]["generation"]
    assert load["status"]["infos"]["originBytes"] == str(total)

    title = f"{fleet.namespace}/llama"
    seen = await asyncio.to_thread(scrape, metrics)
    assert seen["dataset_cached_bytes", title] == total
    assert seen["dataset_ufs_total_size", title] == total
    assert seen["dataset_ufs_file_num", title] == len(model)
    assert seen["dataset_ready", title] == 1
    assert seen["capacity_used_rate", title] == pytest.approx(100 * total / (1 << 30))
    assert seen["dataset_origin_bytes_total", title] == total
    assert seen["dataset_operation_seconds_count", ""] == 1
    assert seen["dataset_bind_seconds_count", ""] == 1


async def test_a_source_that_goes_away_is_named_until_it_is_back(
    fleet: Fleet, model: dict[str, bytes]
) -> None:
    await fleet.secret()
    with faulty(fleet.store.endpoint) as proxy:
        down = [True]
        proxy.rule = lambda asked: (
            Fault(status=500, code="InternalError") if down[0] and asked.range else None
        )
        dataset = fleet.dataset("llama")
        dataset["spec"]["mounts"][0]["options"] = {"endpoint": proxy.endpoint}
        await fleet.create(dataset, fleet.runtime("local", "llama"), fleet.load("llama"))
        load = await fleet.until(
            DATALOADS, "llama", lambda d: "trying again" in str((d.get("status") or {}).get("infos"))
        )
        message = load["status"]["infos"]["message"]
        assert f"s3://models/llama at {proxy.endpoint}: InternalError" in message
        assert "on node cache-node" in message
        down[0] = False
        complete = await fleet.phase(DATALOADS, "llama", "Complete")
        assert "message" not in complete["status"]["infos"]


async def test_a_worker_that_cannot_live_is_named_with_its_node(
    fleet: Fleet, model: dict[str, bytes], host_files: Path
) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"))
    await fleet.phase(DATASETS, "llama", "Bound")
    data = host_files / f"var/lib/boundaryless/cache/{fleet.namespace}/llama/data"
    await eventually(data.is_dir)
    data.rmdir()
    data.write_text("in the way")
    await fleet.client.delete(PODS, "llama-worker-0", fleet.namespace)
    where = "pod llama-worker-0 on node cache-node is not ready: container cache"
    await fleet.until(DATASETS, "llama", lambda d: where in not_ready(d, "True").get("message", ""))
    data.unlink()
    healed = await fleet.until(
        DATASETS, "llama", lambda d: not_ready(d, "False") and d["status"]["phase"] == "Bound"
    )
    assert healed["status"]["observedGeneration"] == healed["metadata"]["generation"]
