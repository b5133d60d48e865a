"""`fleetadm dataset` against a hub: what it makes, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest

from addon_framework.api.data import JuiceFSRuntime
from addon_framework.api.meta import Json
from addon_framework.cli.connect import Failure, Where
from addon_framework.kube import Client, ClientConfig, NotFound
from addons.cache_runtime.cli import actions, migrating
from addons.cache_runtime.cli.migrating import MIGRATES
from addons.cache_runtime.hub import payload
from addons.cache_runtime.hub.runtimes import RUNTIMES
from tests.integration.cache_runtime.fleet_scene import DATALOADS, DATASETS, Scene, scene

__all__ = ["scene"]


@dataclass(frozen=True)
class Here(Where):
    """The API server of the tests."""

    config: ClientConfig = field(kw_only=True)

    def client(self, context: str | None = None) -> Client:
        return Client(self.config)


async def create(scene: Scene, **changed: str) -> None:
    said: dict[str, Any] = {"name": "llama", "source": "s3://m/llama", "clusters": "", "placement": "p"}
    said |= {
        "secret": "",
        "s3_endpoint": "",
        "options": {},
        "quota": "",
        "no_load": False,
        "runtime": "local",
    }
    where = Here(Path(), config=scene.client.config)
    await actions.create(where, namespace=scene.namespace, wait=False, timeout=1, **said | changed)


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
async def test_what_no_cluster_could_read_is_refused_at_once(scene: Scene, runtime: str) -> None:
    await scene.clusters(1)
    with pytest.raises(click.UsageError, match=r"nfs://there/is.* must be"):
        await create(scene, source="nfs://there/is", runtime=runtime)
    with pytest.raises(NotFound):
        await scene.get()


async def test_create_takes_over_nothing_that_is_there(scene: Scene) -> None:
    await scene.clusters(1)
    await scene.client.create(JuiceFSRuntime.RESOURCE, payload.runtime(scene.metadata(), "juicefs"))
    with pytest.raises(Failure, match=f"JuiceFSRuntime {scene.namespace}/llama exists"):
        await create(scene, runtime="juicefs")
    with pytest.raises(NotFound):
        await scene.get()
    await create(scene)
    load = await scene.client.get(DATALOADS, "llama", scene.namespace)
    assert load["metadata"]["ownerReferences"][0]["uid"] == (await scene.get())["metadata"]["uid"]


async def test_a_migration_has_the_options_that_are_given(scene: Scene) -> None:
    source: Json = {"mounts": [{"mountPoint": "s3://m/llama"}]}
    kept = {
        "kind": "Dataset",
        "metadata": scene.metadata(),
        "spec": source,
    }  # nobody's: no Placement is named
    await scene.client.create(DATASETS, kept)
    entries = [{"name": name, "phase": "Bound"} for name in ("a", "b")]
    bound: Json = {"conditions": [], "clusters": entries}
    await scene.client.patch(DATASETS, "llama", {"status": bound}, scene.namespace, subresource="status")
    said: dict[str, Any] = dict.fromkeys(("target", "source", "cluster", "secret", "s3_endpoint"), "")
    said |= {"name": "llama", "from_cluster": "a", "to_cluster": "b", "options": {"listing": "cache"}}
    where = Here(Path(), config=scene.client.config)
    await migrating.migrate(where, namespace=scene.namespace, wait=False, timeout=1, **said)
    (made,) = (await scene.client.list(MIGRATES, scene.namespace))["items"]
    assert made["spec"]["options"] == {"listing": "cache"}


async def test_waiting_says_what_was_reached_and_what_is_in_the_way(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    where = Here(Path(), config=scene.client.config)
    metadata = {**scene.metadata(), "finalizers": ["example.org/hold"]}
    source: Json = {"mounts": [{"mountPoint": "s3://m/llama"}]}
    await scene.client.create(DATASETS, {"kind": "Dataset", "metadata": metadata, "spec": source})
    entry = {"name": "a", "phase": "Bound"}
    status: Json = {"phase": "Bound", "conditions": [], "clusters": [entry]}
    await scene.client.patch(DATASETS, "llama", {"status": status}, scene.namespace, subresource="status")
    await actions._until_complete(scene.client, scene.namespace, "llama", [], timeout=30)
    assert f"Dataset {scene.namespace}/llama is bound on all its clusters" in capsys.readouterr().out
    status["clusters"] = [{**entry, "phase": "Leaving", "message": "in use by pods reader"}]
    await scene.client.patch(DATASETS, "llama", {"status": status}, scene.namespace, subresource="status")
    try:
        with pytest.raises(TimeoutError, match=r"not gone after .*: a: in use by pods reader"):
            await actions.delete(where, scene.namespace, "llama", wait=True, timeout=0.1)
    finally:
        await scene.client.patch(DATASETS, "llama", {"metadata": {"finalizers": None}}, scene.namespace)
