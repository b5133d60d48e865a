"""Every backend from nothing to a pod that reads the model, and back to nothing, with real parts."""

from __future__ import annotations

import hashlib
import os

import pytest

from addon_framework.api.core import PERSISTENTVOLUMES, PODS
from addon_framework.api.meta import Json
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
BACKENDS = [
    pytest.param("local", {}, True, id="local"),
    pytest.param("juicefs", {}, True, id="juicefs", marks=needs_root),
    pytest.param("thin", {"profileName": "s3fs"}, False, id="s3fs", marks=needs_root),
    pytest.param("thin", {"profileName": "rclone"}, False, id="rclone", marks=needs_root),
]
SUMS = "cd /models && find . -type f | sort | xargs -d '\\n' md5sum"


@pytest.mark.parametrize(("kind", "spec", "loads"), BACKENDS)
async def test_a_pod_reads_the_model(
    fleet: Fleet, model: dict[str, bytes], kind: str, spec: Json, loads: bool
) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime(kind, "llama", **spec))
    if loads:
        await fleet.create(fleet.load("llama"))

    dataset = await fleet.phase(DATASETS, "llama", "Bound")
    volume = await fleet.client.get(PERSISTENTVOLUMES, f"{fleet.namespace}-llama")
    assert volume["metadata"]["labels"][f"fluid.io/s-{fleet.namespace}-llama"] == "true"
    assert volume["spec"]["claimRef"]["name"] == "llama"
    assert dataset["status"]["runtimes"][0]["type"] == kind
    total = sum(map(len, model.values()))
    if loads:
        load = await fleet.phase(DATALOADS, "llama", "Complete")
        infos = load["status"]["infos"]
        assert infos["bytes"] == infos["totalBytes"] == str(total)
        assert infos["files"] == infos["totalFiles"] == str(len(model))
        assert float(infos["startTime"]) <= float(infos["finishTime"])
        assert infos.get("unverifiedFiles") == (str(len(model)) if kind == "juicefs" else None)
        await fleet.until(
            DATASETS, "llama", lambda d: d["status"]["cacheStates"].get("cachedPercentage") == "100.0%"
        )
    measured = await fleet.until(DATASETS, "llama", lambda d: d["status"].get("fileNum") == str(len(model)))
    assert measured["status"]["ufsTotal"] == f"{total / 2**20:.2f}MiB"

    await fleet.create(fleet.reader("llama", SUMS))
    output = await fleet.output("reader-llama")
    seen = {line[34:].removeprefix("./"): line[:32] for line in output.splitlines()}
    assert seen == {path: hashlib.md5(content).hexdigest() for path, content in model.items()}
    await fleet.delete(PODS, "reader-llama")

    await fleet.ends(kind, "llama")
