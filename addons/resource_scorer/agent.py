"""The agent on a spoke: watches nodes, pods and devices, publishes an AddOnPlacementScore on the hub."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from addon_framework.api.core import NODES, PODS
from addon_framework.api.meta import Resource
from addon_framework.kube import ApiError, Client, Controller, Key, NotFound, Watch, key_of
from addons.resource_scorer.devices import GROUP, VERSIONS, Devices
from addons.resource_scorer.ledger import Ledger, milli
from addons.resource_scorer.publish import SCORES, Publisher
from addons.resource_scorer.scores import Settings
from addons.resource_scorer.views import Node, Pod

log = structlog.get_logger(__name__)
SCORE_NAME = "resource-usage-score"
HOLDING = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"  # pods that hold resources
NODE_METRICS = Resource("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", namespaced=False)


async def device_resources(spoke: Client) -> tuple[Resource, Resource] | None:
    """ResourceSlices and ResourceClaims as the cluster serves them; None when it does not."""
    for version in VERSIONS:
        try:
            found = [await spoke.resource_for(f"{GROUP}/{version}", kind) for kind in _DEVICE_KINDS]
        except NotFound:
            continue
        return found[0], found[1]
    return None


_DEVICE_KINDS = ("ResourceSlice", "ResourceClaim")


class ScoreController(Controller):
    """What a spoke has and uses -> one AddOnPlacementScore on the hub. Its own client is the hub's.

    Nodes, pods and devices make no keys by themselves: the ledger says which events matter.
    """

    name = "resource-scorer"

    def __init__(
        self,
        spoke: Client,
        publisher: Publisher,
        settings: Settings,
        *,
        devices: tuple[Resource, Resource] | None = None,
    ) -> None:
        self.spoke, self.publisher, self.settings = spoke, publisher, settings
        self._device_resources = devices
        self._key = Key(publisher.cluster, SCORE_NAME)
        self._ledger = Ledger({name: family.resources for name, family in settings.families.items()})
        self._devices = Devices(d for family in settings.families.values() for d in family.drivers)
        self._usage: dict[str, dict[str, int]] = {}
        self._measure_at = 0.0

    def watches(self) -> list[Watch]:
        """The score, and everything that it is made of."""
        return [
            Watch(SCORES, **self._own),
            Watch(NODES, client=self.spoke, model=Node, map=_no_keys),
            Watch(PODS, client=self.spoke, model=Pod, field_selector=HOLDING, map=_no_keys),
            *(Watch(resource, client=self.spoke, map=_no_keys) for resource in self._device_resources or ()),
        ]

    async def start(self) -> None:
        """Takes in what is there and from then on what changes."""
        nodes = self.cache(NODES, client=self.spoke, model=Node)
        nodes.on_event(lambda old, new: self._take(self._ledger.set_node, key_of(old or new).name, new))
        pods = self.cache(PODS, client=self.spoke, model=Pod, field_selector=HOLDING)
        pods.on_event(lambda old, new: self._take(self._ledger.set_pod, key_of(old or new), new))
        if self._device_resources is not None:
            slices, claims = (self.cache(each, client=self.spoke) for each in self._device_resources)
            slices.on_event(
                lambda old, new: self._settle(self._devices.set_slice(key_of(old or new).name, new))
            )
            claims.on_event(lambda old, new: self._settle(self._devices.set_claim(key_of(old or new), new)))
        self.queue.add(self._key)

    async def reconcile(self, key: Key) -> float | None:
        """Publishes when a score changed or its validity is half over; otherwise waits until it is."""
        live = self.cache(SCORES, **self._own).get(key)
        if live is None:
            await self.publisher.create(SCORE_NAME)
            return None  # the watch tells when it is there
        measured = await self._measure()
        scores = self.settings.scores(self._ledger.free(), self._ledger.used(self._usage))
        return min(measured, await self.publisher.publish(live, scores, self.settings.valid_seconds))

    async def _measure(self) -> float:
        """Asks the metrics API, which has no watch, what is in use; seconds until it is time again."""
        now = time.monotonic()
        if now < self._measure_at:
            return self._measure_at - now
        wait = self.settings.metrics_seconds
        try:
            listed = (await self.spoke.list(NODE_METRICS))["items"]
            self._usage = {node["metadata"]["name"]: milli(node.get("usage") or {}) for node in listed}
        except ApiError as error:  # not installed, or its server is away: what it said is no longer so
            if self._usage:
                log.warning("metrics API does not answer", reason=error.message)
            self._usage = {}
            wait = max(wait, self.settings.valid_seconds / 2)
        self._measure_at = now + wait
        return wait

    @property
    def _own(self) -> dict[str, Any]:
        namespace = self.publisher.cluster
        return {"namespace": namespace, "field_selector": f"metadata.name={SCORE_NAME}"}

    def _take(self, into: Callable[[Any, Any], bool], name: Any, obj: Any) -> None:
        if into(name, obj):
            self.queue.add(self._key)

    def _settle(self, nodes: Iterable[str]) -> None:
        for node in nodes:
            self._take(self._ledger.set_devices, node, self.settings.devices(self._devices.free_on(node)))


def _no_keys(_: Any) -> Iterable[Key]:
    return ()
