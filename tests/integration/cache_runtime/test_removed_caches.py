"""A cache directory that is removed under the pods that read it, which do not restart."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import EVENTS, JOBS, PODS
from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.testing import eventually
from addons.cache_runtime.agent import rebinding
from tests.integration.cache_runtime.clients import FILES, Reader, reading
from tests.integration.cache_runtime.conftest import INSTALL_NAMESPACE
from tests.integration.cache_runtime.disks import remove
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


async def loaded(fleet: Fleet, runtime: str) -> None:
    """A Dataset with a load that is complete."""
    for path, content in FILES.items():
        fleet.store.client().put_object(Bucket="models", Key=f"deep/{path}", Body=content)
    await fleet.secret()
    await fleet.create(fleet.dataset("llama", source="s3://models/deep"), fleet.runtime(runtime, "llama"))
    await fleet.create(fleet.load("llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")


@pytest.fixture
async def reader(fleet: Fleet) -> Reader:
    """Of a loaded Dataset, since more than a second."""
    await loaded(fleet, "local")
    await fleet.until(DATASETS, "llama", lambda d: (d["status"].get("numbers") or {}).get("cachedBytes"))
    found = await reading(fleet, "llama")
    began = parse_time((await state(fleet))["startedAt"]).timestamp()
    await eventually(lambda: time.time() > began + 2)
    return found


async def state(fleet: Fleet) -> Json:
    """Of the reader's container."""
    pod = await fleet.client.get(PODS, "reader-llama", fleet.namespace)
    found: Json = pod["status"]["containerStatuses"][0]["state"]["running"]
    return found


async def jobs(fleet: Fleet) -> list[Json]:
    selector = f"data.boundaryless.io/role=rebind,data.boundaryless.io/dataset-namespace={fleet.namespace}"
    found: list[Json] = (await fleet.client.list(JOBS, INSTALL_NAMESPACE, label_selector=selector))["items"]
    return found


async def lost(fleet: Fleet, status: str, words: str) -> None:
    """Waits for the condition."""

    def said(dataset: Json) -> bool:
        found = get_condition(dataset, "MountsLost") or {}
        return found.get("status") == status and words in found["message"]

    await fleet.until(DATASETS, "llama", said)


@pytest.mark.parametrize("part", [".", "data"])
async def test_a_cache_that_is_removed_comes_back_under_its_users(
    fleet: Fleet, reader: Reader, host_files: Path, part: str
) -> None:
    assert await jobs(fleet) == []
    await reader.mark()
    remove(host_files / f"var/lib/boundaryless/cache/{fleet.namespace}/llama" / part)
    await lost(fleet, "False", "all pods have the cache")
    await reader.mark()
    await eventually(reader.reads)
    assert await reader.restarts() == 0
    events = (await fleet.client.list(EVENTS, fleet.namespace))["items"]
    said = {each["reason"]: each["message"] for each in events if each["involvedObject"]["kind"] == "Dataset"}
    assert "Cache recover /" in said["FuseRecoverSucceed"]
    assert "pods reader-llama had the directory that was removed" in said["MountsLost"]
    assert len(await jobs(fleet)) == 1, "it has to be known that these pods have been seen to"
    await fleet.delete(PODS, "reader-llama")

    async def gone() -> bool:
        return await jobs(fleet) == []

    await eventually(gone)


async def test_pods_that_cannot_be_shown_the_new_one_are_named_until_they_restart(
    fleet: Fleet, reader: Reader, host_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebinding, "_SECONDS", 5)
    fleet.store.client().delete_object(Bucket="models", Key="deep/deep/b.txt")  # what its subPath names
    remove(host_files / f"var/lib/boundaryless/cache/{fleet.namespace}/llama")
    await lost(fleet, "True", "on node cache-node pods reader-llama have the removed directory until they")
    await lost(fleet, "True", "(DeadlineExceeded ")
    await fleet.delete(PODS, "reader-llama")
    await lost(fleet, "False", "all pods have the cache")


async def test_a_copy_of_juicefs_that_is_removed_is_made_and_loaded_anew_under_its_users(
    fleet: Fleet, host_files: Path
) -> None:
    await loaded(fleet, "juicefs")
    await fleet.phase(DATASETS, "llama", "Bound")
    reader = await reading(fleet, "llama")
    remove(host_files / f"var/lib/boundaryless/cache/{fleet.namespace}/llama")

    def restored(dataset: Json) -> bool:
        return (get_condition(dataset, "CacheLost") or {}).get("status") == "False"

    await fleet.until(DATASETS, "llama", restored)
    await eventually(reader.reads)
    assert await reader.restarts() == 0
    events = (await fleet.client.list(EVENTS, fleet.namespace))["items"]
    (said,) = [each["message"] for each in events if each["reason"] == "CacheLost"]
    assert "on node cache-node the cache was removed" in said
    assert "DataLoad llama loads it again" in said
    await fleet.delete(PODS, "reader-llama")
    await fleet.ends("juicefs", "llama")
