"""A Dataset on a hub, its Placement and clusters, and what their agents would say."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from addon_framework.api.cluster import ManagedClusterSetBinding, Placement
from addon_framework.api.data import DataLoad, DataMigrate, Dataset
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.api.work import ManifestWork
from addon_framework.kube import Client, Manager, NotFound
from addons.cache_runtime.hub import elsewhere, payload
from addons.cache_runtime.hub.controller import FleetDatasetController
from addons.cache_runtime.hub.holding import ADDONS, AGENT, HoldingController
from tests.integration.hub.conftest import Hub, running
from tests.integration.hub.objects import binding, labelled, placement

DATASETS, DATALOADS, WORKS = Dataset.RESOURCE, DataLoad.RESOURCE, ManifestWork.RESOURCE
MIGRATES = DataMigrate.RESOURCE


class Scene:
    """A namespace whose Placement `p` sees the clusters of this test only."""

    def __init__(self, hub: Hub, namespace: str) -> None:
        self.hub, self.client, self.namespace = hub, hub.client, namespace
        self.label = uuid.uuid4().hex[:8]
        self.work = f"dataset-{namespace}.llama"

    async def clusters(self, count: int) -> list[str]:
        await self.client.create(ManagedClusterSetBinding.RESOURCE, binding(self.namespace))
        names = sorted([await self.hub.cluster(scene=self.label) for _ in range(count)])
        for name in names:
            await self.agent(name)
        chosen = placement(self.namespace, predicates=labelled("scene", self.label))
        await self.client.create(Placement.RESOURCE, chosen)
        return names

    async def agent(self, cluster: str) -> None:
        """The add-on that caches, enabled on a cluster."""
        metadata = {"name": AGENT, "namespace": cluster}
        addon = {"apiVersion": ADDONS.api_version, "kind": ADDONS.kind, "metadata": metadata, "spec": {}}
        await self.client.create(ADDONS, addon)

    async def without_agent(self, cluster: str) -> bool:
        """Whether the add-on is gone from a cluster."""
        try:
            await self.client.get(ADDONS, AGENT, cluster)
        except NotFound:
            return True
        return False

    async def is_gone(self) -> bool:
        """Whether there is no Dataset any more."""
        try:
            await self.get()
        except NotFound:
            return True
        return False

    def metadata(self, name: str = "llama", **labels: str) -> Json:
        return {"name": name, "namespace": self.namespace, "labels": labels}

    async def secret(self, value: str = "one", name: str = "keys") -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key in payload.CREDENTIAL_KEYS}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": self.metadata(name), "data": data}
        await self.client.apply(secret, field_manager="tests")

    async def create(self) -> None:
        metadata = self.metadata(**{"cluster.open-cluster-management.io/placement": "p"})
        await self.client.create(DATASETS, payload.dataset(metadata, "s3://m/llama", {}, "keys"))
        await self.client.create(DATALOADS, payload.data_load(self.metadata(), "llama"))

    async def sends(self, cluster: str, loads: list[str]) -> bool:
        """Whether these are the DataLoads of a cluster's work."""
        work = await self.of(WORKS, cluster, "")
        manifests = work["spec"]["workload"]["manifests"] if work is not None else []
        return [m["metadata"]["name"] for m in manifests if m["kind"] == "DataLoad"] == loads

    async def get(self) -> Json:
        return await self.client.get(DATASETS, "llama", self.namespace)

    async def of(self, resource: Any, cluster: str, suffix: str = "-credentials") -> Json | None:
        try:
            return await self.client.get(resource, self.work + suffix, cluster)
        except NotFound:
            return None

    async def report(self, cluster: str, **values: Any) -> None:
        """A Dataset that is bound, and loaded."""
        await self.hub.until(lambda: self.of(WORKS, cluster, ""))
        load = {"phase": "Complete", "originBytes": "7"}
        said = {("Dataset", "llama"): {"phase": "Bound", **values}, ("DataLoad", "llama"): load}
        await self.says(cluster, said)

    async def says(self, cluster: str, said: dict[tuple[str, str], Json], refused: str = "") -> None:
        """What the work agent of a cluster writes, of objects by kind and name, the first perhaps refused."""
        manifests = [
            {
                "resourceMeta": {"kind": kind, "name": name, "namespace": self.namespace},
                "statusFeedback": {
                    "values": [
                        {
                            "name": field,
                            "fieldValue": {"type": "Integer", "integer": value}
                            if isinstance(value, int)
                            else {"type": "String", "string": value},
                        }
                        for field, value in fields.items()
                    ]
                },
                "conditions": [],
            }
            for (kind, name), fields in said.items()
        ]
        if refused:
            manifests[0]["conditions"] = [
                {
                    "type": "Applied",
                    "status": "False",
                    "reason": "AppliedManifestFailed",
                    "message": refused,
                    "lastTransitionTime": now_rfc3339(),
                }
            ]
        status = {"resourceStatus": {"manifests": manifests}}
        await self.client.patch(WORKS, self.work, {"status": status}, cluster, subresource="status")

    async def until(self, check: Any) -> Json:
        async def probe() -> Json | None:
            dataset = await self.get()
            return dataset if check(dataset.get("status") or {}) else None

        found: Json = await self.hub.until(probe)
        return found


@asynccontextmanager
async def at_work(client: Client, namespace: str, manager: Manager) -> AsyncIterator[Scene]:
    """A hub, and a manager beside its own."""
    async with running(client) as hub:
        await hub.start()
        task = asyncio.create_task(manager.run())
        try:
            yield Scene(hub, namespace)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def scene(client: Client, crds_installed: None, namespace: str) -> AsyncIterator[Scene]:
    """A hub with the controller."""
    manager = Manager(client, name="fleet-datasets")
    manager.add(FleetDatasetController())
    manager.add(HoldingController())
    for each in elsewhere.controllers():
        manager.add(each)
    async with at_work(client, namespace, manager) as it:
        yield it
        with contextlib.suppress(NotFound):
            await client.delete(DATASETS, "llama", namespace)
        await it.hub.until(it.is_gone)
