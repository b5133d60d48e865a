"""`fleetadm dataset` against a hub: what it makes, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from addon_framework.api.data import JuiceFSRuntime
from addon_framework.cli.connect import Failure, Where
from addon_framework.kube import Client, ClientConfig, NotFound
from addons.cache_runtime.hub import actions, payload
from tests.integration.cache_runtime.test_fleet_dataset import DATALOADS, Scene, scene

__all__ = ["scene"]


@dataclass(frozen=True)
class Here(Where):
    """The API server of the tests."""

    config: ClientConfig = field(kw_only=True)

    def client(self, context: str | None = None) -> Client:
        return Client(self.config)


async def test_create_takes_over_nothing_that_is_there(scene: Scene) -> None:
    await scene.clusters(1)
    await scene.client.create(JuiceFSRuntime.RESOURCE, payload.runtime(scene.metadata(), "juicefs"))
    said = {"name": "llama", "source": "s3://m/llama", "clusters": "", "placement": "p", "secret": ""}
    more = {"s3_endpoint": "", "quota": "", "no_load": False}
    where = Here(Path(), config=scene.client.config)

    async def create(runtime: str) -> None:
        options = {**said, **more, "runtime": runtime}
        await actions.create(where, namespace=scene.namespace, wait=False, timeout=1, **options)

    with pytest.raises(Failure, match=f"JuiceFSRuntime {scene.namespace}/llama exists"):
        await create("juicefs")
    with pytest.raises(NotFound):
        await scene.get()
    await create("local")
    load = await scene.client.get(DATALOADS, "llama", scene.namespace)
    assert load["metadata"]["ownerReferences"][0]["uid"] == (await scene.get())["metadata"]["uid"]
