"""Runs the cases against a hub, whoever's placement controller runs there."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from addon_framework.api.cluster import (
    AddOnPlacementScore,
    ManagedCluster,
    ManagedClusterSet,
    ManagedClusterSetBinding,
    Placement,
    PlacementDecision,
)
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import NAMESPACES
from addon_framework.api.meta import Resource
from addon_framework.kube import AlreadyExists, ApiError, Client, NotFound
from addon_framework.kube.informer import Informer
from tests.parity.case import GROUP, Case, Objects, Step

Json = dict[str, Any]
DECIDED, SETTLED = 15.0, 0.7  # seconds to a decision, and without any change of it
_AVAILABLE = "ManagedClusterConditionAvailable"


class NotRun(Exception):
    """This hub cannot be brought into the state that the case needs."""


@dataclass
class Found:
    """What a hub decided, in the words of a case."""

    groups: list[tuple[str, list[str]]] = field(default_factory=list)
    reason: str = ""
    misconfigured: bool = False
    faults: list[str] = field(default_factory=list)

    def agrees(self, expect: Json) -> bool:
        """With a case's `expect`."""
        wanted = expect["groups"], expect["reason"], expect["misconfigured"]
        return (self.groups, self.reason, self.misconfigured) == wanted and not self.faults


class Runner:
    """One case on one hub: makes what it needs under names of its own, and deletes it."""

    def __init__(self, client: Client, case: Case) -> None:
        mark = f"parity-{secrets.token_hex(3)}"
        self._client, self._case, self._prefix = client, case, f"{mark}-"
        self._objects = Objects(mark, self._prefix)
        self._namespace = mark
        self._made: list[tuple[Resource, str, str | None]] = []
        self._changed = asyncio.Event()
        self._placements: Informer[Json] = Informer(client, Placement.RESOURCE, namespace=mark)
        self._decisions: Informer[Json] = Informer(client, PlacementDecision.RESOURCE, namespace=mark)

    async def run(self) -> str:
        """ "" when the hub decides as the case says, otherwise what differs. Raises NotRun."""
        watching = []
        try:
            await self._create(NAMESPACES, _namespace(self._namespace))
            for informer in (self._placements, self._decisions):
                informer.on_event(lambda old, new: self._changed.set())
                watching.append(asyncio.create_task(informer.run()))
            for name, raw in self._case.sets.items():
                await self._create(ManagedClusterSet.RESOURCE, self._objects.cluster_set(name, raw))
            for name in self._case.bindings:
                await self._create(ManagedClusterSetBinding.RESOURCE, self._objects.binding(name))
            for number, step in enumerate(self._case.steps):
                await self._bring(step, self._case.steps[number - 1] if number else None)
                if difference := await self._decide(step, first=number == 0):
                    return f"step {number + 1}: {difference}"
            return ""
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await self._clean()

    async def _bring(self, step: Step, before: Step | None) -> None:
        """The hub into the state of a step."""
        now = datetime.now(UTC)
        was = before.clusters if before else {}
        for name in was.keys() - step.clusters.keys():
            await self._client.delete(ManagedCluster.RESOURCE, self._prefix + name)
        changed = [name for name, raw in step.clusters.items() if was.get(name) != raw]
        for start in range(0, len(changed), 16):
            part = changed[start : start + 16]
            await asyncio.gather(*(self._cluster(n, step.clusters[n], now, new=n not in was) for n in part))
        for score in self._objects.scores(step, now):
            await self._score(score)
        if before is None:
            for number, spec in enumerate(self._case.others):
                name = f"other{number}"
                await self._create(Placement.RESOURCE, self._objects.placement(name, spec))
                await self._until(lambda name=name: bool(self._found(name).groups), 0)

    async def _cluster(self, name: str, raw: Json, now: datetime, *, new: bool) -> None:
        obj = self._objects.cluster(name, raw, now)
        status = obj.pop("status")
        if new:
            await self._create(NAMESPACES, _namespace(obj["metadata"]["name"]))
            await self._create_cluster(obj, raw)
        else:
            patch = {
                "metadata": {"labels": obj["metadata"]["labels"]},
                "spec": {"taints": obj["spec"]["taints"]},
            }
            await self._client.patch(ManagedCluster.RESOURCE, obj["metadata"]["name"], patch)
        available = {
            "type": _AVAILABLE,
            "status": "True",
            "reason": "Parity",
            "message": "no agent: made by a test",
            "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        body = {"status": {**status, "conditions": [available]}}
        await self._client.patch(ManagedCluster.RESOURCE, obj["metadata"]["name"], body, subresource="status")
        await self._untainted(obj)

    async def _create_cluster(self, obj: Json, raw: Json) -> None:
        try:
            await self._create(ManagedCluster.RESOURCE, obj)
        except ApiError as error:
            if "TimeAdded" not in error.message:
                raise
            # OCM's webhook sets the time itself, so a taint cannot be older than it is.
            if any(taint.get("age") for taint in raw.get("taints", ())):
                raise NotRun("the hub's webhook does not let a taint be older than it is") from None
            for taint in obj["spec"]["taints"]:
                del taint["timeAdded"]
            await self._create(ManagedCluster.RESOURCE, obj)

    async def _untainted(self, obj: Json) -> None:
        """The hub's own taints on a cluster that was not available at first are gone."""
        name, wanted = obj["metadata"]["name"], {t["key"] for t in obj["spec"]["taints"]}
        clusters: Informer[Json] = Informer(
            self._client, ManagedCluster.RESOURCE, field_selector=f"metadata.name={name}"
        )
        changed = asyncio.Event()
        clusters.on_event(lambda old, new: changed.set())
        task = asyncio.create_task(clusters.run())
        try:
            async with asyncio.timeout(DECIDED):
                await clusters.synced()
                while any(t["key"] not in wanted for c in clusters for t in c["spec"].get("taints") or ()):
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            raise NotRun(f"the hub keeps taints of its own on cluster {name}") from None
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _score(self, score: Json) -> None:
        status = score.pop("status")
        metadata = score["metadata"]
        try:
            await self._create(AddOnPlacementScore.RESOURCE, score)
        except AlreadyExists:
            pass
        await self._client.patch(
            AddOnPlacementScore.RESOURCE,
            metadata["name"],
            {"status": status},
            metadata["namespace"],
            subresource="status",
        )

    async def _decide(self, step: Step, *, first: bool) -> str:
        obj = self._objects.placement("p", step.spec)
        if not first:
            await self._client.patch(Placement.RESOURCE, "p", {"spec": obj["spec"]}, self._namespace)
            return await self._compare(step)
        difference = ""
        for _ in range(2):
            # A controller whose caches were behind may have been steady about it: it gets a second look.
            await self._create(Placement.RESOURCE, obj)
            difference = await self._compare(step)
            if not difference:
                break
            await self._client.delete(Placement.RESOURCE, "p", self._namespace)
            for decision in self._of("p"):
                await self._gone(PlacementDecision.RESOURCE, decision["metadata"]["name"], self._namespace)
            await self._until(lambda: not self._of("p"), 0)
        return difference

    async def _compare(self, step: Step) -> str:
        if await self._until(lambda: self._found("p").agrees(step.expect), SETTLED):
            return ""
        found = self._found("p")
        return f"expected {step.expect}, found {found}"

    async def _until(self, holds: Any, settled: float) -> bool:
        """Whether it holds, and goes on holding while nothing happens for a while."""
        deadline = asyncio.get_running_loop().time() + DECIDED
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            self._changed.clear()
            wait = settled if holds() else left
            if not wait:
                return True
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                if holds():
                    return True
        return False

    def _of(self, placement: str) -> list[Json]:
        """A placement's decisions in the order of their numbers."""
        label = f"{GROUP}/placement"
        mine = [
            d for d in self._decisions.items() if (d["metadata"].get("labels") or {}).get(label) == placement
        ]
        return sorted(mine, key=lambda d: int(re.sub(r".*-", "", d["metadata"]["name"])))

    def _found(self, placement: str) -> Found:
        found, last = Found(), None
        for number, decision in enumerate(self._of(placement)):
            labels, name = decision["metadata"]["labels"], decision["metadata"]["name"]
            index = labels.get(f"{GROUP}/decision-group-index")
            members = [
                d["clusterName"].removeprefix(self._prefix)
                for d in (decision.get("status") or {}).get("decisions") or []
            ]
            if index != last:
                found.groups.append((labels.get(f"{GROUP}/decision-group-name", ""), []))
                last = index
            found.groups[-1][1].extend(members)
            if name != f"{placement}-decision-{number + 1}" or len(members) > 100:
                found.faults.append(f"{name} holds {len(members)}")
        obj = next((p for p in self._placements if p["metadata"]["name"] == placement), {"status": {}})
        satisfied = get_condition(obj, "PlacementSatisfied") or {}
        misconfigured = get_condition(obj, "PlacementMisconfigured") or {}
        found.reason = satisfied.get("reason", "")
        found.misconfigured = misconfigured.get("status") == "True"
        selected = sum(len(members) for _, members in found.groups)
        if (obj.get("status") or {}).get(
            "numberOfSelectedClusters", 0
        ) != selected and not found.misconfigured:
            found.faults.append("numberOfSelectedClusters is another")
        return found

    async def _create(self, resource: Resource, obj: Json) -> None:
        metadata = obj["metadata"]
        try:
            await self._client.create(resource, obj)
        except AlreadyExists:
            if resource is not NAMESPACES:  # the hub makes a cluster's namespace too
                raise
        self._made.append((resource, metadata["name"], metadata.get("namespace")))

    async def _clean(self) -> None:
        """Whatever was made, the last first."""
        for resources in ((Placement,), (AddOnPlacementScore,), (ManagedCluster,), (None,)):
            wanted = {kind.RESOURCE for kind in resources if kind is not None}
            part = [entry for entry in self._made if entry[0] in wanted or not wanted]
            for start in range(0, len(part), 16):
                await asyncio.gather(*(self._gone(*entry) for entry in part[start : start + 16]))
            self._made = [entry for entry in self._made if entry not in part]

    async def _gone(self, resource: Resource, name: str, namespace: str | None) -> None:
        try:
            await self._client.delete(resource, name, namespace)
        except NotFound:
            pass


def _namespace(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def run_all(client: Client, cases: Iterable[Case], *, at_once: int = 6) -> dict[str, str | None]:
    """Each case's difference: "" for none, None for a case that could not be run here."""
    results: dict[str, str | None] = {}
    limit = asyncio.Semaphore(at_once)

    async def one(case: Case) -> None:
        async with limit:
            try:
                results[case.name] = await Runner(client, case).run()
            except NotRun:
                results[case.name] = None

    cases = list(cases)
    await asyncio.gather(*(one(case) for case in cases if not case.others))
    for case in cases:  # these count decisions all over the hub
        if case.others:
            await one(case)
    return {case.name: results[case.name] for case in cases}
