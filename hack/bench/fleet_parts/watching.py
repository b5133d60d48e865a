"""What of the add-ons can be seen on a hub, and when what was waited for is there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from addon_framework.api.addon import AddOnDeploymentConfig, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster, PlacementDecision
from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import LEASES, NAMESPACES
from addon_framework.api.meta import Json
from addon_framework.api.names import CLUSTER_NAME_LABEL, CONDITION_ACCEPTED
from addon_framework.api.work import ManifestWork
from addon_framework.kube import Client, Informer

from . import objects


class Tally:
    """One value for each cluster, and how many have which."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self.count: Counter[Any] = Counter()

    def set(self, cluster: str, value: Any) -> None:
        """None: it has none."""
        if (before := self._values.pop(cluster, None)) is not None:
            self.count[before] -= 1
        if value is not None:
            self._values[cluster] = value
            self.count[value] += 1


class Bench:
    """Watches a hub: registrations, decisions, and how far the add-on has got on each cluster."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.accepted, self.leased, self.installed = Tally(), Tally(), Tally()
        self.shipped, self.completed = Tally(), Tally()
        self.built_in, self.built_in_done = Tally(), Tally()
        self.decided: dict[str, list[str]] = {}
        self.events: Counter[str] = Counter()
        self.happened = asyncio.Event()
        self.check: Callable[[], None] = lambda: None  # raises when there is nothing left to wait for
        self._informers: list[Informer[Json]] = []

    def watch(self) -> list[asyncio.Task[None]]:
        """The tasks to cancel."""
        for resource, seen, selector in (
            (ManagedCluster.RESOURCE, self._cluster, None),
            (LEASES, self._lease, CLUSTER_NAME_LABEL),
            (PlacementDecision.RESOURCE, self._decision, None),
            (ManagedClusterAddOn.RESOURCE, self._addon, None),
            (ManifestWork.RESOURCE, self._work, None),
        ):
            informer: Informer[Json] = Informer(self.client, resource, label_selector=selector)
            informer.on_event(partial(self._seen, seen))
            self._informers.append(informer)
        return [asyncio.create_task(informer.run()) for informer in self._informers]

    def _seen(self, what: Callable[[Json | None, Json], None], old: Json | None, new: Json | None) -> None:
        if new is not None:
            what(old, new)
            self.happened.set()

    def _cluster(self, old: Json | None, new: Json) -> None:
        self.events["ManagedCluster"] += 1
        self.accepted.set(new["metadata"]["name"], is_true(new, CONDITION_ACCEPTED) or None)

    def _lease(self, old: Json | None, new: Json) -> None:
        if old is None:
            self.leased.set(new["metadata"]["namespace"], True)

    def _decision(self, old: Json | None, new: Json) -> None:
        decisions = (new.get("status") or {}).get("decisions") or []
        name = new["metadata"]["name"].removesuffix("-decision-1")
        self.decided[name] = [decision["clusterName"] for decision in decisions]

    def _addon(self, old: Json | None, new: Json) -> None:
        self.events["ManagedClusterAddOn"] += 1
        cluster = new["metadata"]["namespace"]
        progressing = get_condition(new, "Progressing")
        done = progressing is not None and progressing["reason"] == "Completed"
        if new["metadata"]["name"] == objects.BUILT_IN:
            self.built_in_done.set(cluster, done or None)
            return
        self.installed.set(cluster, True)
        applied = None
        if done:
            for reference in (new.get("status") or {}).get("configReferences") or []:
                if reference["resource"] == AddOnDeploymentConfig.RESOURCE.plural:
                    applied = (reference.get("lastAppliedConfig") or {}).get("specHash")
        self.completed.set(cluster, applied)

    def _work(self, old: Json | None, new: Json) -> None:
        generation = new["metadata"]["generation"]
        if old is None or old["metadata"]["generation"] != generation:  # the others are its agent's
            self.events["ManifestWork"] += 1
        if objects.BUILT_IN in new["metadata"]["name"]:
            self.built_in.set(new["metadata"]["namespace"], True)
            return
        manifests = new["spec"]["workload"]["manifests"]
        deployment = next(manifest for manifest in manifests if manifest["kind"] == "Deployment")
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        self.shipped.set(new["metadata"]["namespace"], container["args"][0].partition("=")[2])

    async def until(self, goals: dict[str, Callable[[], bool]], limit: float = 900) -> dict[str, float]:
        """When each goal was reached, in seconds from now; those that were not are not in it."""
        start, found = time.perf_counter(), dict[str, float]()
        while True:
            self.happened.clear()
            self.check()
            at = time.perf_counter() - start
            found |= {name: at for name, holds in goals.items() if name not in found and holds()}
            if len(found) == len(goals) or at > limit:
                return found
            try:
                await asyncio.wait_for(self.happened.wait(), 0.5)
            except TimeoutError:
                pass

    async def version(self) -> int:
        """The embedded server counts its writes in it."""
        listed = await self.client.request("GET", NAMESPACES.path(), params={"limit": "1"})
        return int(listed["metadata"]["resourceVersion"])
