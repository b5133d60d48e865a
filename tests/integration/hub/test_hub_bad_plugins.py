"""Plug-ins that hang, raise, or return nonsense, beside a good one: its add-on never notices."""

from __future__ import annotations

import threading
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.conditions import get_condition
from addon_framework.api.work import ManifestWork
from addon_framework.plugins import AddonDescription, NoProbe, Probe, Work, hookimpl
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, applied, management_addon


def config_map() -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}}


class Configurable:
    """An add-on whose hooks do what the test says."""

    def __init__(self, name: str, make: Callable[[], Any] = lambda: [config_map()], **fields: Any) -> None:
        self.name, self.make = name, make
        self.fields = {"health": NoProbe, **fields}

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=self.name, **self.fields)

    @hookimpl
    def addon_manifests(self) -> Any:
        return self.make()


class Yard:
    """Add-ons by hand on one cluster."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.mark = hub, uuid.uuid4().hex[:8]
        self.go = threading.Event()
        self.cluster = ""

    def add(self, name: str, make: Callable[[], Any] = lambda: [config_map()], **fields: Any) -> Configurable:
        plugin = Configurable(f"{name}-{self.mark}", make, **fields)
        self.hub.plugins.add(plugin.name, plugin)
        return plugin

    async def start(self) -> None:
        await self.hub.start()
        self.cluster = await self.hub.cluster()
        for plugin in self.hub.plugins:
            await self.hub.create(ClusterManagementAddOn.RESOURCE, management_addon(plugin.name))
            resource = ManagedClusterAddOn.RESOURCE
            metadata = {"name": plugin.name, "namespace": self.cluster}
            addon = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
            await self.hub.client.create(resource, {**addon, "spec": {}})

    async def shipped(self, name: str) -> Json:
        work = f"addon-{name}-{self.mark}-deploy-0"
        found: Json = await self.hub.until(
            lambda: self.hub.client.get(ManifestWork.RESOURCE, work, self.cluster)
        )
        return found

    async def applied(self, name: str) -> None:
        """What a work agent writes."""
        work = await self.shipped(name)
        conditions = applied(work)
        await self.hub.client.patch(
            ManifestWork.RESOURCE,
            work["metadata"]["name"],
            {"status": {"conditions": conditions}},
            self.cluster,
            subresource="status",
        )

    async def until_condition(self, name: str, kind: str, reason: str, text: str = "") -> None:
        async def check() -> bool:
            addon = await self.hub.client.get(
                ManagedClusterAddOn.RESOURCE, f"{name}-{self.mark}", self.cluster
            )
            found = get_condition(addon, kind)
            assert found is not None, (name, kind, addon)
            assert found["reason"] == reason, found
            assert text in found["message"], found
            return True

        await self.hub.until(check)


@pytest.fixture
async def yard(quiet_hub: Hub) -> AsyncIterator[Yard]:
    it = Yard(quiet_hub)
    yield it
    it.go.set()


async def test_a_hook_that_hangs_holds_up_its_own_addon_only(yard: Yard) -> None:
    hanging = yard.add("hanging", lambda: yard.go.wait(60), hook_timeout=1.0)
    yard.add("good")
    await yard.start()
    await yard.applied("good")
    await yard.until_condition("good", "Available", "WorkApplied")
    text = "addon_manifests has not returned within 1 s; it is left alone"
    await yard.until_condition("hanging", "ManifestApplied", "ManifestWorkApplyFailed", text)
    await yard.until_condition("hanging", "Degraded", "ManifestsNotMade", text)
    hanging.make = lambda: [config_map()]
    yard.go.set()
    poke = {"metadata": {"annotations": {"poke": "1"}}}
    await yard.hub.client.patch(ManagedClusterAddOn.RESOURCE, hanging.name, poke, yard.cluster)
    await yard.applied("hanging")
    await yard.until_condition("hanging", "ManifestApplied", "AddonManifestApplied")
    await yard.until_condition("hanging", "Degraded", "AsExpected")


async def test_whatever_is_raised_or_returned_is_told_where_it_belongs(yard: Yard) -> None:
    def leaves() -> Any:
        raise SystemExit(3)

    metadata = {"name": "d", "namespace": "n"}
    pod = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": metadata}
    cases: dict[str, tuple[Callable[[], Any], str]] = {
        "leaves": (leaves, "failed in addon_manifests: SystemExit: 3"),
        "text": (lambda: "manifests", "addon_manifests returned a str, not a list of objects"),
        "numbers": (lambda: [1], "manifest 0 is a int, not an object"),
        "unnamed": (
            lambda: [{**config_map(), "metadata": []}],
            "manifest 0 (ConfigMap) has no metadata.name",
        ),
        "labels": (
            lambda: [{**config_map(), "metadata": {**metadata, "labels": ["a"]}}],
            "metadata.labels is not an object",
        ),
        "pods": (
            lambda: [{**pod, "spec": "one replica"}],
            "a manifest has a field of a type that Kubernetes has not",
        ),
        "twice": (lambda: [config_map()] * 2, "ConfigMap n/m is rendered twice"),
        "large": (
            lambda: [{**config_map(), "data": {"a": "x" * 600_000}}],
            "a ManifestWork holds at most 409600: split the object",
        ),
    }
    for name, (make, _) in cases.items():
        yard.add(name, make)
    yard.add("health", health="fine")
    yard.add("good")
    await yard.start()
    await yard.applied("good")
    await yard.until_condition("good", "Available", "WorkApplied")
    for name, (_, text) in cases.items():
        await yard.until_condition(name, "ManifestApplied", "ManifestWorkApplyFailed", text)
    await yard.until_condition(
        "health", "ManifestApplied", "ManifestWorkApplyFailed", "health is a str, not Lease, Workload"
    )


async def test_a_health_check_that_hangs_or_speaks_nonsense_is_only_its_own_addons(yard: Yard) -> None:
    probe = Probe("configmaps", "m", "n")

    def hangs(_: Any) -> str:
        yard.go.wait(60)
        return ""

    yard.add("sick", health=Work([], hangs), hook_timeout=1.0)
    yard.add("mad", health=Work([], lambda _: 42))  # type: ignore[arg-type,return-value]
    yard.add("probed", health=Work([probe]))
    yard.add("good")
    await yard.start()
    for name in ("sick", "mad", "good", "probed"):
        await yard.applied(name)
    await yard.until_condition("good", "Available", "WorkApplied")
    await yard.until_condition("mad", "Available", "ProbeUnavailable", "42")
    await yard.until_condition("probed", "Available", "NoProbeResult")
    await yard.until_condition("sick", "Available", "NoProbeResult", "the health check has not returned")
