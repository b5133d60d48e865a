"""What fields lead to in a cluster: owners of files, metadata of volumes."""

from __future__ import annotations

import os

import pytest

from addon_framework.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from addon_framework.api.meta import Json
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet

USER: Json = {"uid": 4321, "gid": 8765, "user": "reader", "group": "readers"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_a_copy_is_its_owners_and_its_volume_has_the_metadata_that_is_asked_for(
    fleet: Fleet, model: dict[str, bytes]
) -> None:
    await fleet.secret()
    dataset, runtime = fleet.dataset("llama"), fleet.runtime("local", "llama")
    dataset["spec"]["owner"] = USER
    listed = '[{"selector": {"kind": "PersistentVolume"}, "labels": {"team": "a"}}]'
    runtime["metadata"]["annotations"] = {"data.fluid.io/metadataList": listed}
    await fleet.create(dataset, runtime, fleet.load("llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")
    await fleet.phase(DATASETS, "llama", "Bound")

    await fleet.create(fleet.reader("llama", "cd /models && find . ! -path './.*' -exec stat -c %u:%g {} +"))
    owners = (await fleet.output("reader-llama")).split()
    assert len(owners) >= len(model)
    assert set(owners) == {"4321:8765"}
    await fleet.delete(PODS, "reader-llama")

    volume = await fleet.client.get(PERSISTENTVOLUMES, f"{fleet.namespace}-llama")
    assert volume["metadata"]["labels"]["team"] == "a"
    claim = await fleet.client.get(PERSISTENTVOLUMECLAIMS, "llama", fleet.namespace)
    assert "team" not in claim["metadata"]["labels"]
