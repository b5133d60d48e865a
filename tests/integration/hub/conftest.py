"""A hub manager in the test's own loop, and the objects that a spoke's agents would write."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import NAMESPACES
from addon_framework.hub.detect import detect
from addon_framework.hub.install import install
from addon_framework.hub.run import run_hub
from addon_framework.kube import Client, NotFound
from addon_framework.plugins import Plugins
from addon_framework.testing import eventually
from tests.integration.hub.objects import Json


class Hub:
    """The hub under test: its client, its plug-ins, and a way to stop and start its manager."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.plugins = Plugins()
        self._task: asyncio.Task[None] | None = None
        self._clusters: list[str] = []
        self._others: list[tuple[Any, str]] = []

    @property
    def running(self) -> bool:
        """Whether a manager runs."""
        return self._task is not None

    async def start(self, controllers: list[str] | None = None) -> None:
        """Run the manager, as a process would."""
        self._task = asyncio.create_task(
            run_hub(self.client, controllers, plugins=self.plugins, handle_signals=False)
        )

    async def stop(self) -> None:
        """End it without warning, like a kill: whatever it was writing stays half done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def cluster(self, *, accepted: bool = True, available: bool = True, **labels: str) -> str:
        """A ManagedCluster with a name of its own, as its agent makes it; settled when this returns."""
        name = f"c{uuid.uuid4().hex[:8]}"
        self._clusters.append(name)
        metadata: Json = {"name": name, "labels": labels}
        obj = {
            "apiVersion": ManagedCluster.RESOURCE.api_version,
            "kind": "ManagedCluster",
            "metadata": metadata,
            "spec": {"hubAcceptsClient": accepted},
        }
        await self.client.create(ManagedCluster.RESOURCE, obj)
        if accepted and available:
            await self.until(lambda: self.client.get(NAMESPACES, name))
            await self.available(name)
            await self.until(lambda: self._untainted(name))
        return name

    async def available(self, name: str, status: str = "True") -> None:
        """Write the condition that the registration agent writes."""

        async def write() -> Json:
            cluster = await self.client.get(ManagedCluster.RESOURCE, name)
            conditions = (cluster.get("status") or {}).get("conditions") or []
            conditions = [c for c in conditions if c["type"] != "ManagedClusterConditionAvailable"]
            conditions.append(
                {
                    "type": "ManagedClusterConditionAvailable",
                    "status": status,
                    "reason": "Test",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            )
            cluster.setdefault("status", {})["conditions"] = conditions
            return await self.client.update(ManagedCluster.RESOURCE, cluster, subresource="status")

        await self.until(write)

    async def create(self, resource: Any, obj: Json, namespace: str | None = None) -> Json:
        """Create a cluster-scoped object that is deleted after the test."""
        made = await self.client.create(resource, obj, namespace)
        if namespace is None:
            self._others.append((resource, made["metadata"]["name"]))
        return made

    async def until(self, probe: Callable[[], Awaitable[Any]], timeout: float = 90) -> Any:
        """Wait until the probe answers with something true and does not raise.

        kube-controller-manager takes up to 30 s to see that there is a new kind to collect.
        """
        return await eventually(probe, timeout=timeout, swallow=Exception)

    async def clean(self) -> None:
        """Delete what was made, with the manager still there to let it go."""
        for resource, name in [*self._others, *((ManagedCluster.RESOURCE, c) for c in self._clusters)]:
            try:
                await self.client.delete(resource, name)
            except NotFound:
                continue
        await self.until(self._gone)

    async def _untainted(self, name: str) -> bool:
        cluster = await self.client.get(ManagedCluster.RESOURCE, name)
        return not cluster["spec"].get("taints")

    async def _gone(self) -> bool:
        listed = await self.client.list(ManagedCluster.RESOURCE)
        return not {c["metadata"]["name"] for c in listed["items"]} & set(self._clusters)


async def led_by_nobody(client: Client) -> None:
    """Skips where somebody else's controllers run: it would be those that are tested. Both: tests/interop."""
    if led := await detect(client):
        pytest.skip(f"others lead on this hub: {', '.join(led)}")


@asynccontextmanager
async def running(client: Client) -> AsyncIterator[Hub]:
    await led_by_nobody(client)
    hub = Hub(client)
    await install(client)
    try:
        yield hub
    finally:
        await hub.stop()
        hub.plugins = Plugins()
        await hub.start()  # whatever a test did to its manager, its clusters are let go
        try:
            await hub.clean()
        finally:
            await hub.stop()


@pytest.fixture
async def hub(client: Client, crds_installed: None) -> AsyncIterator[Hub]:
    """A hub whose manager runs with no plug-ins."""
    async with running(client) as it:
        await it.start()
        yield it


@pytest.fixture
async def quiet_hub(client: Client, crds_installed: None) -> AsyncIterator[Hub]:
    """A hub whose manager the test starts itself."""
    async with running(client) as it:
        yield it
