"""A Dataset for the fleet and an InferenceDeployment of one name: whoever was there first has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.data import Dataset
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.api.work import ManifestWork
from addon_framework.kube import Client
from addons.cache_runtime.hub.plugin import FleetDatasets
from addons.inference_deployer.kinds import INFERENCEDEPLOYMENTS, placement_name
from addons.inference_deployer.plugin import InferenceDeployer
from tests.integration.hub.conftest import Hub, running
from tests.integration.hub.objects import Json
from tests.integration.inference_deployer.test_hub_inference import Scene

DATASETS, WORKS = Dataset.RESOURCE, ManifestWork.RESOURCE


@pytest.fixture
async def hub(client: Client, crds_installed: None) -> AsyncIterator[Hub]:
    """Both send what they have to clusters."""
    async with running(client) as it:
        it.plugins.add("inference-deployer", InferenceDeployer)
        it.plugins.add("fleet-datasets", FleetDatasets)
        await it.start()
        yield it


@pytest.fixture
async def scene(hub: Hub, namespace: str) -> Any:
    it = Scene(hub, namespace)
    yield it
    for resource in (INFERENCEDEPLOYMENTS, DATASETS):
        for obj in (await hub.client.list(resource, namespace))["items"]:
            await hub.client.delete(resource, obj["metadata"]["name"], namespace)

    async def gone() -> bool:
        return not (await hub.client.list(DATASETS, namespace))["items"]

    await hub.until(gone)


async def dataset(scene: Scene) -> Json:
    return await scene.client.create(
        DATASETS,
        {
            "apiVersion": DATASETS.api_version,
            "kind": "Dataset",
            "metadata": {
                "name": "demo",
                "namespace": scene.namespace,
                "labels": {PLACEMENT_LABEL: placement_name("demo")},
            },
            "spec": {"mounts": [{"mountPoint": "s3://m/y", "name": "model"}]},
        },
    )


async def refused(scene: Scene) -> str:
    """What the Dataset says."""

    async def probe() -> str:
        said = get_condition(await scene.client.get(DATASETS, "demo", scene.namespace), "Ready")
        return said["message"] if said is not None and said["reason"] == "NameTaken" else ""

    return await scene.hub.until(probe)


async def later(obj: Json) -> bool:
    """Whether what is created now is seen to be younger."""
    return datetime.now(UTC) >= datetime.fromisoformat(obj["metadata"]["creationTimestamp"]) + timedelta(
        seconds=1
    )


async def test_a_model_does_not_take_a_datasets_name(scene: Scene):
    (cluster,) = await scene.clusters(1)
    await dataset(scene)
    await scene.create()
    message = (await scene.condition("Ready", "NameTaken"))["message"]
    assert f"Dataset {scene.namespace}/demo of the hub brings a Dataset of this name" in message
    assert await scene.works() == []
    await scene.client.delete(DATASETS, "demo", scene.namespace)
    assert (await scene.work(cluster))["metadata"]["namespace"] == cluster


async def test_a_dataset_does_not_take_a_models_name(scene: Scene):
    (cluster,) = await scene.clusters(1)
    model = await scene.create()
    before = await scene.work(cluster)
    await scene.hub.until(lambda: later(model))
    await dataset(scene)
    assert f"InferenceDeployment {scene.namespace}/demo of the hub" in await refused(scene)
    works = (await scene.client.list(WORKS, cluster))["items"]
    assert [w["metadata"]["name"] for w in works if "dataset" in w["metadata"]["name"]] == []
    assert (await scene.work(cluster))["metadata"]["generation"] == before["metadata"]["generation"]
