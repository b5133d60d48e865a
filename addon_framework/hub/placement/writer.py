"""Writes PlacementDecisions: in parallel where it can, in an order that loses no cluster where it must."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from addon_framework.api.cluster import PlacementDecision
from addon_framework.api.meta import Json
from addon_framework.hub.placement.decisions import DecisionView, clusters_of, write_order
from addon_framework.hub.placement.groups import Slice
from addon_framework.hub.placement.model import Schedule
from addon_framework.hub.placement.status import decision_object, decision_status, score_text
from addon_framework.kube import AlreadyExists, Client, Key, NotFound
from addon_framework.kube.apply import covers


class Note(NamedTuple):
    """Something to record as an event of the placement."""

    reason: str
    message: str
    warning: bool = False


class DecisionWriter:
    """Makes the decisions of one placement what its schedule says."""

    def __init__(self, client: Client, view: DecisionView, placement: Json) -> None:
        self._client = client
        self._view = view
        self._placement = placement
        self._key = Key(placement["metadata"]["namespace"], placement["metadata"]["name"])
        self._where = f"with placement {self._key.name} in namespace {self._key.namespace}"
        self.notes: list[Note] = []

    async def write(self, parts: Sequence[Slice], result: Schedule) -> None:
        """Create, fill and delete PlacementDecisions; `notes` then tells what was done."""
        live = self._view.objects(self._key)
        missing = [part for part in parts if part.name not in live]
        live.update(
            zip((p.name for p in missing), await asyncio.gather(*map(self._create, missing)), strict=True)
        )
        warning = "; ".join(result.warnings)
        present = {name: clusters_of(decision) for name, decision in live.items()}
        # Decisions that only gain clusters come first and together; nobody misses anything meanwhile.
        gaining = [part for part in parts if set(present[part.name]) <= set(part.clusters)]
        await asyncio.gather(*(self._fill(part, live[part.name], result, warning) for part in gaining))
        present.update({part.name: part.clusters for part in gaining})
        for part in write_order([part for part in parts if part not in gaining], present):
            if part.name not in live:  # holds what is on its way between two others, until all is written
                live[part.name] = await self._create(part)
            await self._fill(part, live[part.name], result, warning)
        stale = sorted(live.keys() - {part.name for part in parts})
        await asyncio.gather(*map(self._delete, stale))
        if self.notes and result.totals:
            self.notes.append(Note("ScoreUpdate", score_text(result)))

    async def _create(self, part: Slice) -> Json:
        desired = decision_object(self._placement, part)
        try:
            made = await self._client.create(PlacementDecision.RESOURCE, desired)
        except AlreadyExists:  # the cache is behind
            return await self._client.get(PlacementDecision.RESOURCE, part.name, self._key.namespace)
        self.notes.append(Note("DecisionCreate", f"Decision {part.name} is created {self._where}"))
        return made

    async def _fill(self, part: Slice, live: Json, result: Schedule, warning: str) -> None:
        desired = decision_object(self._placement, part)
        if not covers(live, desired):
            metadata = {name: desired["metadata"][name] for name in ("labels", "ownerReferences")}
            live = await self._patch(part.name, live, {"metadata": metadata})
        if not _says(live, part, result):
            status = decision_status(part, result)
            live = await self._patch(part.name, live, {"status": status}, subresource="status")
            text = f"Decision {part.name} is updated {self._where}" + (f": {warning}" if warning else "")
            self.notes.append(Note("DecisionUpdate", text, bool(warning)))
        self._view.put(live)

    async def _patch(self, name: str, live: Json, body: Json, *, subresource: str | None = None) -> Json:
        body.setdefault("metadata", {})["uid"] = live["metadata"]["uid"]
        resource, namespace = PlacementDecision.RESOURCE, self._key.namespace
        try:
            return await self._client.patch(resource, name, body, namespace, subresource=subresource)
        except NotFound:
            self._view.drop(Key(namespace, name))  # somebody deleted it; the next look makes it anew
            raise

    async def _delete(self, name: str) -> None:
        try:
            await self._client.delete(PlacementDecision.RESOURCE, name, self._key.namespace)
        except NotFound:
            pass
        else:
            self.notes.append(Note("DecisionDelete", f"Decision {name} is deleted {self._where}"))
        self._view.drop(Key(self._key.namespace, name))


def _says(live: Json, part: Slice, result: Schedule) -> bool:
    """Whether a decision holds these clusters, in this order and with their scores. Reasons may be older."""
    if clusters_of(live) != part.clusters or "decisions" not in (live.get("status") or {}):
        return False
    if not result.by_score:
        return True
    decisions = live["status"]["decisions"]
    return all(d.get("score", 0) == result.totals[d["clusterName"]] for d in decisions)
