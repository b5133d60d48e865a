"""A Dataset is backed up, deleted and begun anew."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from addon_framework.api.core import EVENTS
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.integration.cache_runtime.fleet import BACKUPS, DATALOADS, DATASETS, RUNTIMES, Fleet
from tests.integration.cache_runtime.test_operations import bound

PLACE = "var/lib/backups"


@pytest.fixture
def place(fleet: Fleet) -> Path:
    """A directory of the node, as this machine sees it."""
    return fleet.host / PLACE / fleet.namespace


def restored(fleet: Fleet, name: str, *, node: str = "cache-node") -> Json:
    dataset = fleet.dataset(name)
    location = {"path": f"local:///{PLACE}/{fleet.namespace}", "nodeName": node}
    dataset["spec"]["dataRestoreLocation"] = location
    return dataset


def condition(dataset: Json) -> Json:
    conditions = (dataset.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == "Restored"), {})


async def test_a_dataset_begins_where_the_one_before_it_ended(
    fleet: Fleet, model: dict[str, bytes], place: Path
) -> None:
    await bound(fleet)
    await fleet.create(fleet.load("llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")
    before = await fleet.until(
        DATASETS, "llama", lambda d: d["status"]["cacheStates"].get("cachedPercentage") == "100.0%"
    )
    backup = fleet.backup("b", f"local:///{PLACE}/{fleet.namespace}", dataset="llama")
    backup["metadata"]["annotations"] = {"data.boundaryless.io/contents": "true"}
    backup["spec"]["runAs"] = {"uid": 1234, "gid": 4321, "user": "u", "group": "g"}
    await fleet.create(backup)
    done = await fleet.phase(BACKUPS, "b", "Complete")
    assert done["status"]["infos"]["BackupLocationPath"] == f"local:///{PLACE}/{fleet.namespace}"
    assert done["status"]["infos"]["BackupLocationNodeName"] == "cache-node"
    described = place / f"llama-{fleet.namespace}.yaml"
    assert f"ufstotal: {before['status']['ufsTotal']}\n" in described.read_text()
    assert (described.stat().st_uid, described.stat().st_gid) == (1234, 4321)

    await fleet.delete(DATASETS, "llama")
    await fleet.gone(DATASETS, "llama")
    await asyncio.to_thread(fleet.store.stop)  # nothing can be listed or read
    try:
        await fleet.create(restored(fleet, "llama"), fleet.runtime("local", "llama"))
        after = await fleet.until(
            DATASETS,
            "llama",
            lambda d: ((d.get("status") or {}).get("cacheStates") or {}).get("cachedPercentage") == "100.0%",
        )
        for field in ("ufsTotal", "fileNum"):
            assert after["status"][field] == before["status"][field]
        assert condition(after)["status"] == "True"
        assert "5 of them need not be read again" in condition(after)["message"]
        await fleet.phase(DATASETS, "llama", "Bound")
        data = fleet.host / f"var/lib/boundaryless/cache/{fleet.namespace}/llama/data"
        assert {path: (data / path).read_bytes() for path in model} == model
    finally:
        await asyncio.to_thread(fleet.store.start)
    await fleet.create(fleet.load("again", dataset="llama"))
    complete = await fleet.phase(DATALOADS, "again", "Complete")
    assert "originBytes" not in complete["status"]["infos"], "nothing was read from the source"


async def test_the_numbers_alone_and_a_backup_that_cannot_be_read(
    fleet: Fleet, model: dict[str, bytes], place: Path
) -> None:
    await bound(fleet)
    await fleet.until(DATASETS, "llama", lambda d: d["status"].get("fileNum") == str(len(model)))
    await fleet.create(fleet.backup("b", f"local:///{PLACE}/{fleet.namespace}", dataset="llama"))
    await fleet.phase(BACKUPS, "b", "Complete")
    await fleet.create(restored(fleet, "other"), fleet.runtime("local", "other"))
    there = await fleet.until(DATASETS, "other", lambda d: condition(d).get("status") == "True")
    assert there["status"]["fileNum"] == str(len(model))

    shutil.rmtree(place)
    await fleet.create(restored(fleet, "third"), fleet.runtime("local", "third"))
    third = await fleet.until(DATASETS, "third", lambda d: condition(d).get("status") == "False")
    assert f"local:///{PLACE}/{fleet.namespace} has no backup, where third-" in condition(third)["message"]
    await fleet.until(DATASETS, "third", lambda d: d["status"].get("fileNum") == str(len(model)))
    await fleet.create(restored(fleet, "far", node="elsewhere"), fleet.runtime("local", "far"))
    far = await fleet.until(DATASETS, "far", lambda d: condition(d).get("status") == "False")
    assert f"no node has local:///{PLACE}/{fleet.namespace}" in condition(far)["message"]


async def test_what_has_nothing_to_keep_says_so(fleet: Fleet, model: dict[str, bytes]) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("thin", "llama"))
    await fleet.create(
        fleet.backup("b", "local:///backup", dataset="llama"), fleet.backup("s3", "s3://x", dataset="llama")
    )
    failed = await fleet.phase(BACKUPS, "b", "Failed")
    assert failed["status"]["conditions"][0]["reason"] == "DataOperationNotSupport"
    assert (await fleet.phase(BACKUPS, "s3", "Failed"))["status"]["conditions"][0][
        "reason"
    ] == "PathNotSupported"

    async def told() -> bool:
        events = (await fleet.client.list(EVENTS, fleet.namespace))["items"]
        return any(e["reason"] == "DataOperationNotSupport" for e in events)

    await eventually(told)
    dataset = restored(fleet, "thin")
    await fleet.create(dataset, fleet.runtime("thin", "thin"))
    wrong = await fleet.phase(DATASETS, "thin", "Failed")
    assert "spec.dataRestoreLocation: a ThinRuntime has nothing" in str(wrong["status"]["conditions"])
    await fleet.delete(RUNTIMES["thin"], "thin")
