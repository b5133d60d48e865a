"""What nobody on the hub takes says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.data import DataBackup, DataLoad, Dataset
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.kube import Client, Manager, wait_for
from addons.cache_runtime.hub import payload, strays

DATASETS, DATALOADS, BACKUPS = Dataset.RESOURCE, DataLoad.RESOURCE, DataBackup.RESOURCE


@pytest.fixture
async def hub(client: Client, crds_installed: None) -> AsyncIterator[Client]:
    """With the controllers, which do not wait for an agent."""
    manager = Manager(client, name="strays")
    for each in strays.controllers(patience=0):
        manager.add(each)
    task = asyncio.create_task(manager.run())
    yield client
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def dataset(namespace: str, **metadata: object) -> Json:
    return payload.dataset({"name": "llama", "namespace": namespace, **metadata}, "s3://m/llama", {})


def said(op: Json) -> str:
    return str(((op.get("status") or {}).get("infos") or {}).get("message", ""))


async def until(
    hub: Client, resource: Resource, name: str, namespace: str, check: Callable[[Json], bool]
) -> Json:
    found = await wait_for(
        hub, resource, name, namespace, until=lambda obj: obj is not None and check(obj), timeout=60
    )
    assert found is not None
    return found


async def test_a_dataset_without_a_placement_and_its_operations_say_what_they_lack(
    hub: Client, namespace: str
) -> None:
    await hub.create(DATALOADS, payload.data_load({"name": "l", "namespace": namespace}, "llama"))
    backup: Json = {
        "apiVersion": BACKUPS.api_version,
        "kind": BACKUPS.kind,
        "metadata": {"name": "b", "namespace": namespace},
        "spec": {"dataset": "llama", "backupPath": "local:///b"},
    }
    await hub.create(BACKUPS, backup)
    for resource, name in ((DATALOADS, "l"), (BACKUPS, "b")):
        op = await until(hub, resource, name, namespace, lambda op: "does not exist yet" in said(op))
        assert op["status"]["phase"] == "Pending"
    await hub.create(DATASETS, dataset(namespace))
    found = await until(hub, DATASETS, "llama", namespace, lambda found: bool(found.get("status")))
    ready = get_condition(found, "Ready") or {}
    assert (ready["status"], ready["reason"]) == ("False", "NoPlacement")
    assert f"label the Dataset {PLACEMENT_LABEL}=NAME" in ready["message"]
    for resource, name in ((DATALOADS, "l"), (BACKUPS, "b")):
        await until(hub, resource, name, namespace, lambda op: "names no Placement" in said(op))


async def test_one_that_names_a_placement_is_left_to_others(hub: Client, namespace: str) -> None:
    await hub.create(DATASETS, dataset(namespace, labels={PLACEMENT_LABEL: "p"}))
    await hub.create(DATALOADS, payload.data_load({"name": "l", "namespace": namespace}, "llama"))
    stray = payload.dataset({"name": "stray", "namespace": namespace}, "s3://m/stray", {})
    await hub.create(DATASETS, stray)
    await until(hub, DATASETS, "stray", namespace, lambda found: bool(found.get("status")))
    assert not (await hub.get(DATASETS, "llama", namespace)).get("status")
    assert not said(await hub.get(DATALOADS, "l", namespace)).startswith("Dataset")
