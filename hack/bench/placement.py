"""How fast a placement decides: from its creation, from a score's change, on 1,000 and on 5,000 clusters.

The hub manager's placement controller in this process, the embedded API server in another, over TLS. What
the scheduler alone takes, for a whole look and for one changed score, is measured without a server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from addon_framework.api.cluster import (
    AddOnPlacementScore,
    ManagedCluster,
    ManagedClusterSet,
    ManagedClusterSetBinding,
    Placement,
    PlacementDecision,
)
from addon_framework.api.core import NAMESPACES
from addon_framework.api.crd import load_crds
from addon_framework.api.meta import Json, Resource
from addon_framework.cli.connect import loop_that_serves
from addon_framework.hub.placement.controller import PlacementController
from addon_framework.hub.placement.model import Fleet
from addon_framework.hub.placement.scheduler import Scheduler
from addon_framework.kube import Client, Key, Manager
from addon_framework.kube.informer import Informer
from addon_framework.plugins import Plugins
from addon_framework.testing import eventually
from addon_framework.testing.servers import EmbeddedApiServer

SCORE, READERS, OTHERS, TAKERS = "usage", 5, 45, 5
# Name, unit, target of issue 3, whether more is better.
TARGETS = {
    "creation to decision": ("ms", 100.0, False),
    "creation to decision, all clusters chosen": ("ms", 100.0, False),
    "score change to decision": ("ms", 100.0, False),
    "placements looked at, of 50, by a score that 5 read": ("", 5.0, False),
    "whole look, scheduler alone": ("ms", 100.0, False),
    "one score, scheduler alone": ("ms", 1.0, False),
}


def obj(resource: Resource, name: str, namespace: str | None = None, **fields: Any) -> Json:
    """A wire object."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}


def cluster(number: int) -> Json:
    """A ManagedCluster as an agent fills it."""
    size = {"cpu": str(8 + number % 64), "memory": f"{32 + number % 512}Gi"}
    return {
        **obj(ManagedCluster.RESOURCE, f"c{number:05}"),
        "spec": {"hubAcceptsClient": True, "leaseDurationSeconds": 60},
        "status": {
            "allocatable": size,
            "capacity": size,
            "version": {"kubernetes": "v1.31.2"},
            "conditions": [
                {
                    "type": "ManagedClusterConditionAvailable",
                    "status": "True",
                    "reason": "Bench",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        },
    }


def spec(reads: str | None, wanted: int | None = 3) -> Json:
    """Three clusters, or all, by a score or by allocatable CPU."""
    by_score = {"type": "AddOn", "addOn": {"resourceName": reads, "scoreName": "gpu"}}
    coordinate = by_score if reads else {"type": "BuiltIn", "builtIn": "ResourceAllocatableCPU"}
    policy = {"mode": "Exact", "configurations": [{"scoreCoordinate": coordinate, "weight": 1}]}
    return {"prioritizerPolicy": policy} | ({} if wanted is None else {"numberOfClusters": wanted})


async def in_parts(calls: Iterable[Callable[[], Awaitable[Any]]], size: int = 32) -> None:
    """All calls, some at once."""
    left = iter(calls)

    async def work() -> None:
        for call in left:
            await call()

    await asyncio.gather(*(work() for _ in range(size)))


class Bench:
    """A fleet on a hub, and what its placements decide."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._decided: dict[str, dict[str, list[str]]] = {}
        self._changed = asyncio.Event()

    def on_decision(self, old: Json | None, new: Json | None) -> None:
        """An informer's event."""
        if new is not None:
            name, _, page = new["metadata"]["name"].rpartition("-decision-")
            decisions = (new.get("status") or {}).get("decisions") or []
            self._decided.setdefault(name, {})[page] = [d["clusterName"] for d in decisions]
            self._changed.set()

    async def until(self, name: str, holds: Callable[[list[str]], bool]) -> None:
        """A small decision is as wanted."""
        await self._until(lambda: holds([c for page in self._decided.get(name, {}).values() for c in page]))

    async def until_chosen(self, name: str, count: int) -> None:
        """A decision of any size names so many clusters; counting costs next to nothing."""
        await self._until(lambda: sum(map(len, self._decided.get(name, {}).values())) == count)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def fill(self, count: int) -> None:
        """CRDs, one set of all, clusters with their namespaces and scores."""
        crds = load_crds("hub")
        await in_parts([lambda c=crd: self.client.apply(c, field_manager="bench") for crd in crds])
        selector = {"clusterSelector": {"selectorType": "LabelSelector", "labelSelector": {}}}
        await eventually(
            lambda: self.client.create(
                ManagedClusterSet.RESOURCE, obj(ManagedClusterSet.RESOURCE, "all", spec=selector)
            ),
            timeout=30,
            swallow=Exception,
        )
        await self.client.create(NAMESPACES, obj(NAMESPACES, "bench"))
        bound = obj(ManagedClusterSetBinding.RESOURCE, "all", "bench", spec={"clusterSet": "all"})
        await self.client.create(ManagedClusterSetBinding.RESOURCE, bound)
        await in_parts([lambda n=n: self._add(n) for n in range(count)])

    async def _add(self, number: int) -> None:
        made = cluster(number)
        name, status = made["metadata"]["name"], made.pop("status")
        await self.client.create(NAMESPACES, obj(NAMESPACES, name))
        await self.client.create(ManagedCluster.RESOURCE, made)
        patch = {"status": status}
        await self.client.patch(ManagedCluster.RESOURCE, name, patch, subresource="status")
        await self.client.create(AddOnPlacementScore.RESOURCE, obj(AddOnPlacementScore.RESOURCE, SCORE, name))
        await self.score(number, number % 90)

    async def score(self, number: int, value: int) -> None:
        """One cluster's score."""
        status = {"scores": [{"name": "gpu", "value": value}]}
        await self.client.patch(
            AddOnPlacementScore.RESOURCE,
            SCORE,
            {"status": status},
            f"c{number:05}",
            subresource="status",
        )

    async def ask(self, name: str, reads: str | None, wanted: int | None = 3) -> None:
        """A placement."""
        asked = obj(Placement.RESOURCE, name, "bench", spec=spec(reads, wanted))
        await self.client.create(Placement.RESOURCE, asked)


class Counting(PlacementController):
    """Remembers which placements it has looked at."""

    def __init__(self) -> None:
        super().__init__(Plugins())
        self.seen: set[Key] = set()

    async def reconcile(self, key: Key) -> float | None:
        """As ever."""
        self.seen.add(key)
        return await super().reconcile(key)


async def on_hub(client: Client, clusters: int, repeats: int) -> dict[str, float]:
    """The numbers of one fleet on one hub."""
    bench = Bench(client)
    await bench.fill(clusters)
    controller = Counting()
    manager = Manager(client, name="bench")
    manager.add(controller)
    informer: Informer[Json] = Informer(client, PlacementDecision.RESOURCE, namespace="bench")
    informer.on_event(bench.on_decision)
    tasks = [asyncio.create_task(manager.run()), asyncio.create_task(informer.run())]
    try:
        await bench.ask("first", SCORE)
        await bench.until("first", lambda found: len(found) == 3)
        created = []
        for number in range(READERS - 1 + OTHERS):
            name = f"p{number:02}"
            start = time.perf_counter()
            await bench.ask(name, SCORE if number < READERS - 1 else None)
            await bench.until(name, lambda found: len(found) == 3)
            created.append(1000 * (time.perf_counter() - start))
        taken = []
        for number in range(TAKERS):
            await eventually(lambda: _idle(controller), timeout=30)
            start = time.perf_counter()
            await bench.ask(f"all{number}", None, None)
            await bench.until_chosen(f"all{number}", clusters)
            taken.append(1000 * (time.perf_counter() - start))
        changed, looks = [], []
        for number in range(repeats):
            await eventually(lambda: _idle(controller), timeout=30)
            controller.seen.clear()
            target = (7 * number + 11) % clusters
            start = time.perf_counter()
            await bench.score(target, 100)
            await bench.until("first", lambda found, t=target: f"c{t:05}" in found)
            changed.append(1000 * (time.perf_counter() - start))
            await bench.until("p00", lambda found, t=target: f"c{t:05}" in found)
            await eventually(lambda: _idle(controller), timeout=30)
            looks.append(len(controller.seen))
            await bench.score(target, -50)
            await bench.until("first", lambda found, t=target: f"c{t:05}" not in found)
        return {
            "creation to decision": statistics.median(created),
            "creation to decision, all clusters chosen": statistics.median(taken),
            "score change to decision": statistics.median(changed),
            "placements looked at, of 50, by a score that 5 read": statistics.median(looks),
        }
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


async def _idle(controller: PlacementController) -> bool:
    return controller.queue.idle


def alone(clusters: int, repeats: int) -> dict[str, float]:
    """What the scheduler takes without a hub."""
    fleet = [cluster(number) for number in range(clusters)]
    names = [c["metadata"]["name"] for c in fleet]

    def score(value: int) -> Json:
        return {"status": {"scores": [{"name": "gpu", "value": value}]}}

    scores = {(name, SCORE): score(number % 90) for number, name in enumerate(names)}
    asked = {"metadata": {"name": "p", "namespace": "bench"}, "spec": spec(SCORE)}
    whole, one = [], []
    scheduler = Scheduler(asked, Fleet(fleet, scores=scores))
    now = Fleet([]).now
    for _ in range(repeats):
        start = time.perf_counter()
        scheduler = Scheduler(asked, Fleet(fleet, scores=scores))
        whole.append(1000 * (time.perf_counter() - start))
    for number in range(20 * repeats):
        key = names[(7 * number + 11) % clusters], SCORE
        start = time.perf_counter()
        scheduler.update({key: score(100 - number % 2)}, frozenset(), now)
        one.append(1000 * (time.perf_counter() - start))
    return {
        "whole look, scheduler alone": statistics.median(whole),
        "one score, scheduler alone": statistics.median(one),
    }


def measure(clusters: int, repeats: int) -> dict[str, float]:
    """All numbers of one size."""
    with tempfile.TemporaryDirectory(prefix="bench-placement-") as directory:
        server = EmbeddedApiServer(Path(directory))
        server.start()
        try:

            async def run() -> dict[str, float]:
                async with Client.from_kubeconfig(server.kubeconfig) as client:
                    return await on_hub(client, clusters, repeats)

            with asyncio.Runner(loop_factory=loop_that_serves()) as runner:  # as the hub manager has it
                return {**runner.run(run()), **alone(clusters, repeats)}
        finally:
            server.stop()


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="200 and 1,000 clusters, fewer repeats")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    sizes = (200, 1000) if options.quick else (1000, 5000)
    found = {size: measure(size, 10 if options.quick else 30) for size in sizes}
    small, large = (found[size] for size in sizes)
    ratios = {f"{name}, {sizes[0]} clusters: target": TARGETS[name][1] / small[name] for name in TARGETS}
    ratios |= {f"{name}: {sizes[1]} over {sizes[0]} clusters": large[name] / small[name] for name in TARGETS}
    ratios |= {
        f"one score over a whole look, {size} clusters": numbers["one score, scheduler alone"]
        / numbers["whole look, scheduler alone"]
        for size, numbers in found.items()
    }
    table = Table("", "target", *(f"{size:,} clusters" for size in sizes), "growth")
    for name, (unit, target, _) in TARGETS.items():
        growth = f"{large[name] / small[name]:.2f}x"
        table.add_row(name, f"≤ {target:g} {unit}", f"{small[name]:.3g}", f"{large[name]:.3g}", growth)
    Console().print(table)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    result = {"clusters": {str(size): numbers for size, numbers in found.items()}, "ratios": ratios}
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
