"""Keeps the PlacementExplanation of each placement: after the decision, and not too often."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from addon_framework.api.meta import Json
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.api.placement import PlacementExplanation
from addon_framework.api.time import now_rfc3339
from addon_framework.hub.placement.explanation import essence, explanation_status
from addon_framework.hub.placement.model import Schedule
from addon_framework.hub.placement.status import owner_of
from addon_framework.kube import ApiError, Client, Key, NotFound

log = structlog.get_logger(__name__)
EXPLANATIONS = PlacementExplanation.RESOURCE
APART = timedelta(seconds=10)  # while a fleet comes up, a decision may change with every cluster


class Explainer:
    """Writes what there is to write once the decision stands. All that it remembers can be lost."""

    def __init__(self, client: Client, now: Callable[[], datetime]) -> None:
        self._client, self._now = client, now
        self._due: set[Key] = set()
        self._written: dict[Key, tuple[datetime, tuple[object, ...]]] = {}

    def changed(self, key: Key) -> None:
        """The schedule of a placement is another."""
        self._due.add(key)

    def forget(self, key: Key) -> None:
        """The placement is gone, and its explanation with it."""
        self._due.discard(key)
        self._written.pop(key, None)

    async def settle(self, placement: Json, result: Schedule, cluster_sets: list[str]) -> float | None:
        """Explain what has changed; seconds to wait where that was done a moment ago.

        Never raises for a hub that does not take it: a decision must not wait for its explanation.
        """
        metadata, now = placement["metadata"], self._now()
        key = Key(metadata["namespace"], metadata["name"])
        if key not in self._due:
            return None
        if key in self._written and (left := self._written[key][0] + APART - now) > timedelta(0):
            return left.total_seconds()
        self._due.discard(key)
        decided, generation = now_rfc3339(now), metadata.get("generation", 0)
        status = explanation_status(result, cluster_sets, generation, decided)
        try:
            if await self._present(key) != (present := essence(status)):
                await self._write(key, placement, status)
                self._written[key] = now, present
        except NotFound:
            self._written.pop(key, None)  # the kind is not installed, or the namespace is going
        except ApiError as error:
            log.debug("explanation not written", placement=str(key), reason=error.message)
            self._due.add(key)
            return APART.total_seconds()
        return None

    async def _present(self, key: Key) -> tuple[object, ...] | None:
        """What the hub says now; asked once, and after that it is what was written."""
        if key not in self._written:
            try:
                live = await self._client.get(EXPLANATIONS, key.name, key.namespace)
            except NotFound:
                return None
            self._written[key] = self._now() - APART, essence(live.get("status") or {})
        return self._written[key][1]

    async def _write(self, key: Key, placement: Json, status: Json) -> None:
        metadata = {
            "labels": {PLACEMENT_LABEL: key.name},
            "ownerReferences": [owner_of(placement)],
        }
        try:
            body = {"metadata": metadata, "status": status}
            await self._client.patch(EXPLANATIONS, key.name, body, key.namespace)
        except NotFound:
            made = {
                "apiVersion": EXPLANATIONS.api_version,
                "kind": EXPLANATIONS.kind,
                "metadata": {"name": key.name, "namespace": key.namespace, **metadata},
                "status": status,
            }
            await self._client.create(EXPLANATIONS, made)
