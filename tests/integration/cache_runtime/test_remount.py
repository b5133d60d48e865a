"""A FUSE client that dies is mounted again under the pods that use it, and they do not restart."""

from __future__ import annotations

import os

import pytest

from addon_framework.api.core import EVENTS, PODS
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.integration.cache_runtime.clients import (
    FILES,
    Reader,
    came_back,
    client_pod,
    lives,
    reading,
    survives_kills,
)
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")


async def started(fleet: Fleet, kind: str, spec: Json) -> Reader:
    """A bound Dataset, and a pod that reads it."""
    for path, content in FILES.items():
        fleet.store.client().put_object(Bucket="models", Key=f"deep/{path}", Body=content)
    await fleet.secret()
    await fleet.create(
        fleet.dataset("llama", source="s3://models/deep"), fleet.runtime(kind, "llama", **spec)
    )
    if kind == "juicefs":
        await fleet.create(fleet.load("llama"))
        await fleet.phase(DATALOADS, "llama", "Complete")
    await fleet.phase(DATASETS, "llama", "Bound")
    return await reading(fleet, "llama")


@pytest.mark.parametrize(
    ("kind", "spec", "program"),
    [
        pytest.param("thin", {"profileName": "s3fs"}, "s3fs", id="s3fs"),
        pytest.param("thin", {"profileName": "rclone"}, "rclone", id="rclone"),
        pytest.param("juicefs", {}, "juicefs", id="juicefs"),
    ],
)
async def test_a_killed_client_comes_back_under_its_users(
    fleet: Fleet, kind: str, spec: Json, program: str
) -> None:
    reader = await started(fleet, kind, spec)
    await survives_kills(fleet, reader, "llama", program)

    async def told() -> bool:
        events = (await fleet.client.list(EVENTS, fleet.namespace))["items"]
        return any(
            e["reason"] == "FuseRecoverSucceed" and e["involvedObject"]["name"] == "llama" for e in events
        )

    await eventually(told)


async def test_a_deleted_client_pod_comes_back_under_its_users(fleet: Fleet) -> None:
    reader = await started(fleet, "thin", {"profileName": "s3fs"})
    before = await client_pod(fleet)
    await fleet.delete(PODS, before["metadata"]["name"])
    await eventually(lambda: came_back(fleet, lives(before)))
    await reader.mark()
    await eventually(reader.reads)
    assert await reader.restarts() == 0
