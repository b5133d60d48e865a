"""What the agents of all clusters send to the hub: status, leases, reports of works. One process for all."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from typing import Any

from addon_framework.api.cluster import AddOnPlacementScore, ManagedCluster
from addon_framework.api.core import LEASES
from addon_framework.api.meta import Json
from addon_framework.api.names import CLUSTER_LEASE, CONDITION_AVAILABLE, CONDITION_JOINED
from addon_framework.api.work import ManifestWork
from addon_framework.cli.connect import loop_that_serves
from addon_framework.kube import ApiError, Client, Informer, Key, key_of
from addon_framework.kube.queue import WorkQueue

from .objects import SCORE, cluster_name, score, score_status

LEASE_SECONDS = 60
WORKERS = 16
WORK = ManifestWork.RESOURCE


async def all_of(calls: Iterable[Callable[[], Awaitable[Any]]], at_once: int = 32) -> None:
    """All calls, some at once."""
    left = iter(calls)

    async def work() -> None:
        for call in left:
            await call()

    await asyncio.gather(*(work() for _ in range(at_once)))


def run_agents(kubeconfig: str, clusters: int, joined: Event, wrote: Any) -> None:
    """The process. `joined` is set when every cluster has said that it is there; `wrote` counts from then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the bench ends us

    async def run() -> None:
        async with Client.from_kubeconfig(kubeconfig, user_agent="agents") as client:
            await all_of([lambda n=n: join(client, n) for n in range(clusters)])
            joined.set()
            await asyncio.gather(renew(client, clusters, wrote), report(client, wrote))

    with asyncio.Runner(loop_factory=loop_that_serves()) as runner:  # what they take, the hub has not
        runner.run(run())


async def join(client: Client, number: int) -> None:
    """A cluster's first status and its first score."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    live = await client.get(ManagedCluster.RESOURCE, cluster_name(number))
    conditions = [
        *((live.get("status") or {}).get("conditions") or []),
        *(
            {"type": kind, "status": "True", "reason": "Bench", "message": "", "lastTransitionTime": now}
            for kind in (CONDITION_JOINED, CONDITION_AVAILABLE)
        ),
    ]
    size = {"cpu": str(8 + number % 64), "memory": f"{32 + number % 512}Gi"}
    status = {
        "allocatable": size,
        "capacity": size,
        "version": {"kubernetes": "v1.31.2"},
        "conditions": list({condition["type"]: condition for condition in conditions}.values()),
    }
    name = cluster_name(number)
    await client.patch(ManagedCluster.RESOURCE, name, {"status": status}, subresource="status")
    await client.create(AddOnPlacementScore.RESOURCE, score(number))
    scored = {"status": score_status(number % 90)}
    await client.patch(AddOnPlacementScore.RESOURCE, SCORE, scored, name, subresource="status")


async def renew(client: Client, clusters: int, wrote: Any) -> None:
    """Every lease once a minute, evenly."""
    loop = asyncio.get_running_loop()
    start, number = loop.time(), 0
    async with asyncio.TaskGroup() as group:
        while True:
            await asyncio.sleep(max(0.0, start + number * LEASE_SECONDS / clusters - loop.time()))
            group.create_task(_renew(client, cluster_name(number % clusters), wrote))
            number += 1


async def _renew(client: Client, name: str, wrote: Any) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    try:
        await client.patch(LEASES, CLUSTER_LEASE, {"spec": {"renewTime": now}}, name)
        wrote.value += 1
    except ApiError as error:
        print(f"lease of {name} not renewed: {error}", flush=True)


async def report(client: Client, wrote: Any) -> None:
    """Every generation of every work as applied and available."""
    queue: WorkQueue[Key] = WorkQueue()
    works: Informer[Json] = Informer(client, WORK)

    def changed(old: Json | None, new: Json | None) -> None:
        if new is not None:
            queue.add(key_of(new))

    async def work() -> None:
        while True:
            key = await queue.get()
            live = works.get(key)
            if live is not None and not _is_reported(live):
                try:
                    body = {"status": work_status(live)}
                    await client.patch(WORK, key.name, body, key.namespace, subresource="status")
                    wrote.value += 1
                except ApiError as error:
                    print(f"work {key} not reported: {error}", flush=True)
            queue.done(key)

    works.on_event(changed)
    await asyncio.gather(works.run(), *(work() for _ in range(WORKERS)))


def _is_reported(work: Json) -> bool:
    conditions = (work.get("status") or {}).get("conditions") or []
    return any(c.get("observedGeneration") == work["metadata"]["generation"] for c in conditions)


def work_status(work: Json) -> Json:
    """As an agent fills it when everything went well."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    generation = work["metadata"]["generation"]

    def conditions(**extra: Any) -> list[Json]:
        said = {"status": "True", "message": "", "lastTransitionTime": now, **extra}
        return [{"type": kind, "reason": kind, **said} for kind in ("Applied", "Available")]

    manifests = []
    for ordinal, manifest in enumerate(work["spec"]["workload"]["manifests"]):
        group, _, version = manifest["apiVersion"].rpartition("/")
        meta = {
            "ordinal": ordinal,
            "group": group,
            "version": version,
            "kind": manifest["kind"],
            "resource": manifest["kind"].lower() + "s",
            "name": manifest["metadata"]["name"],
            "namespace": manifest["metadata"].get("namespace", ""),
        }
        entry: Json = {"resourceMeta": meta, "conditions": conditions()}
        if manifest["kind"] == "Deployment":
            values = [
                {"name": name, "fieldValue": {"type": "Integer", "integer": 1}}
                for name in ("ReadyReplicas", "Replicas", "AvailableReplicas")
            ]
            entry["statusFeedback"] = {"values": values}
        manifests.append(entry)
    return {
        "conditions": conditions(observedGeneration=generation),
        "resourceStatus": {"manifests": manifests},
    }
