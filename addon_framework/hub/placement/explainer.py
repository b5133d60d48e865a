"""Keeps the PlacementExplanation of each placement: beside the decisions, and not too often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from addon_framework.api.meta import Json
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.api.placement import PlacementExplanation
from addon_framework.api.time import now_rfc3339
from addon_framework.hub.placement.explanation import essence, explanation_status, summary
from addon_framework.hub.placement.model import Schedule
from addon_framework.hub.placement.status import owner_of
from addon_framework.kube import Controller, Key, NotFound, Watch

EXPLANATIONS = PlacementExplanation.RESOURCE
QUIET = timedelta(seconds=1)  # without any decision: what is to be decided comes first
APART = timedelta(seconds=10)  # while a fleet comes up, a decision may change with every cluster


class Explainer(Controller):
    """Writes what there is to write once a decision stands. All that it remembers can be lost.

    It watches nothing: the placement controller says what has changed, and waits for none of it.
    """

    name = "placement-explanation"

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._pending: dict[Key, tuple[Json, Schedule, Sequence[str]]] = {}
        self._since: dict[Key, datetime] = {}
        self._last = datetime.min.replace(tzinfo=UTC)
        self._written: dict[Key, tuple[datetime, tuple[object, ...]]] = {}

    def watches(self) -> list[Watch]:
        """Nothing."""
        return []

    def changed(self, key: Key, placement: Json, result: Schedule, cluster_sets: Sequence[str]) -> None:
        """The schedule of a placement is another, or was made anew.

        The scores that count are those of the moment of the decision: afterwards Steady knows it too.
        """
        waiting = self._pending.get(key)
        if waiting is None or not _same(waiting[1], result):
            self._pending[key] = placement, result.snapshot(), cluster_sets
        self._last = self._now()
        self._since.setdefault(key, self._last)
        self.queue.add_after(key, QUIET.total_seconds())

    def forget(self, key: Key) -> None:
        """The placement is gone, and its explanation with it."""
        self._pending.pop(key, None)
        self._since.pop(key, None)
        self._written.pop(key, None)

    async def reconcile(self, key: Key) -> float | None:
        """Explain what has changed; seconds to wait where that was done a moment ago."""
        if key not in self._pending:
            return None
        now = self._now()
        if (left := self._early(key, now)) > timedelta(0):
            return left.total_seconds()
        placement, result, cluster_sets = pending = self._pending[key]
        generation = placement["metadata"].get("generation", 0)
        status = explanation_status(result, cluster_sets, generation, now_rfc3339(now))
        try:
            if await self._present(key) != (present := essence(status)):
                await self._write(key, placement, status)
                self._written[key] = now, present
        except NotFound:
            self._written.pop(key, None)  # the kind is not installed, or the namespace is going
        if self._pending.get(key) is pending:
            del self._pending[key], self._since[key]
        return None

    def _early(self, key: Key, now: datetime) -> timedelta:
        """How much too early it is: decisions still follow one another, or it was just done."""
        quiet = min(self._last + QUIET, self._since[key] + APART) - now
        apart = self._written[key][0] + APART - now if key in self._written else timedelta(0)
        return max(quiet, apart)

    async def _present(self, key: Key) -> tuple[object, ...] | None:
        """What the hub says now; asked once, and after that it is what was written."""
        if key not in self._written:
            try:
                live = await self.client.get(EXPLANATIONS, key.name, key.namespace)
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
            await self.client.patch(EXPLANATIONS, key.name, body, key.namespace)
        except NotFound:
            made = {
                "apiVersion": EXPLANATIONS.api_version,
                "kind": EXPLANATIONS.kind,
                "metadata": {"name": key.name, "namespace": key.namespace, **metadata},
                "status": status,
            }
            await self.client.create(EXPLANATIONS, made)


def _same(one: Schedule, other: Schedule) -> bool:
    """Whether two schedules decide the same for the same reasons, whatever the scores."""
    return set(one.selected) == set(other.selected) and summary(one) == summary(other)
