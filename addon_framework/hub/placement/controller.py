"""The placement controller: events to the placements they can change, their schedules, and the writing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from addon_framework.api.cluster import (
    AddOnPlacementScore,
    ManagedCluster,
    ManagedClusterSet,
    Placement,
    PlacementDecision,
)
from addon_framework.api.meta import Json
from addon_framework.api.names import SCHEDULING_DISABLED_ANNOTATION
from addon_framework.hub.placement.assumptions import Assumptions, capacity_read
from addon_framework.hub.placement.candidates import (
    ANY_SCORE,
    ANYTHING,
    Candidates,
    find_candidates,
    loops_within_loops,
    reads,
    scores_read,
)
from addon_framework.hub.placement.decisions import DecisionView
from addon_framework.hub.placement.events import EventMap, News
from addon_framework.hub.placement.explainer import Explainer
from addon_framework.hub.placement.explanation import moved, summary
from addon_framework.hub.placement.groups import slices
from addon_framework.hub.placement.model import Fleet
from addon_framework.hub.placement.prioritizers import Coordinate
from addon_framework.hub.placement.scheduler import Scheduler
from addon_framework.hub.placement.standing import Pace, ScoreRates, Standing
from addon_framework.hub.placement.status import placement_status
from addon_framework.hub.placement.writer import DecisionWriter, Note
from addon_framework.kube import Client, Controller, Key, Manager, Watch
from addon_framework.kube.ensure import write_status
from addon_framework.kube.events import EventRecorder
from addon_framework.kube.informer import AnyInformer
from addon_framework.plugins import Plugin, PluginBusy, PluginError, Plugins

log = structlog.get_logger(__name__)
_BUSY = 1.0  # seconds until a plug-in that is in another call is asked again


class PlacementController(Controller):
    """Placement -> PlacementDecisions and status."""

    name = "placement"

    def __init__(
        self,
        plugins: Plugins | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        strict_ocm: bool = False,
    ) -> None:
        self._plugins = plugins if plugins is not None else Plugins()
        self._now = now
        self._strict = strict_ocm
        self._view = DecisionView()
        self._events_map = EventMap(self.cache)
        self._standing: dict[Key, Standing] = {}
        self._rates = ScoreRates()
        self._pace = Pace()
        self._assumptions = Assumptions()
        self._explainer = Explainer(now)
        self._contributions: dict[tuple[Key, str], dict[str, int]] = {}
        self._telling: set[asyncio.Task[None]] = set()

    def watches(self) -> list[Watch]:
        """Everything a decision depends on, each mapped to the placements that read it."""
        return self._events_map.watches()

    def attach(self, manager: Manager, client: Client) -> list[AnyInformer]:
        """The explanations are written by a controller of their own, beside this one."""
        informers = super().attach(manager, client)
        manager.add(self._explainer, client)
        return informers

    async def work(self) -> None:
        """Until cancelled, and nothing goes on after that."""
        try:
            await super().work()
        finally:
            for task in self._telling:
                task.cancel()

    async def start(self) -> None:
        """The present decisions, and from now on every change of them."""
        self.cache(PlacementDecision.RESOURCE).on_event(self._view.on_event)
        self.cache(AddOnPlacementScore.RESOURCE).on_event(self._confirm)
        self._events = EventRecorder(self.client, "placementController")

    async def reconcile(self, key: Key) -> float | None:
        """Schedule one placement, as little of it anew as can be, and write what changed."""
        if (
            key in self._standing
            and self._events_map.only_of_clusters(key)
            and (wait := self._pace.wait(key))
        ):
            return wait
        news, standing = self._events_map.take(key), self._standing.pop(key, None)
        placement = self._events_map.placements().get(key)
        if placement is None or placement["metadata"].get("deletionTimestamp"):
            self._rates.forget(key)
            self._pace.forget(key)
            self._assumptions.forget(key)
            self._explainer.forget(key)
            self._contributions = {each: v for each, v in self._contributions.items() if each[0] != key}
            return None
        annotations = placement["metadata"].get("annotations") or {}
        if annotations.get(SCHEDULING_DISABLED_ANNOTATION) == "true":
            return None
        changed = None if standing is None else self._update(key, standing, news)
        if standing is None or changed is None:
            with self._pace.look(key):
                standing, changed = await self._look(key, placement), True
        delays = []
        if changed or news.of_decisions:
            delays.append(await self._write(key, placement, standing))
        # Only now: whoever fails above starts anew.
        self._standing[key] = standing
        if changed and not self._strict:
            sets = standing.candidates.eligible
            self._explainer.changed(key, placement, standing.scheduler.result, sets)
        if (due := standing.scheduler.due) is not None:
            delays.append(max((due - self._now()).total_seconds(), 0.0) + 0.01)
        return min((delay for delay in delays if delay is not None), default=None)

    def _confirm(self, old: Json | None, new: Json | None) -> None:
        """Whoever has written a score has seen what is free."""
        metadata = (new or old or {})["metadata"]
        if (old or {}).get("status") != (new or {}).get("status"):
            self._assumptions.confirm(metadata["namespace"], metadata["name"])

    async def _look(self, key: Key, placement: Json) -> Standing:
        """Everything, from the caches."""
        candidates = find_candidates(
            placement,
            self._events_map.bindings().in_namespace(key.namespace),
            self.cache(ManagedClusterSet.RESOURCE).items(),
            self.cache(ManagedCluster.RESOURCE).items(),
        )
        fleet = await self._fleet(key, placement, candidates)
        # An expression with loops in one another may take a while, in which everything else goes on.
        if loops_within_loops(placement):
            scheduler = await asyncio.to_thread(Scheduler, placement, fleet)
        else:
            scheduler = Scheduler(placement, fleet)
        return Standing(
            candidates.let_go(),
            scheduler,
            self._view.revision_elsewhere(key),
            self._can_update(placement),
            self._capacity(placement),
        )

    def _capacity(self, placement: Json) -> frozenset[Coordinate]:
        return frozenset() if self._strict else capacity_read(placement)

    def _can_update(self, placement: Json) -> bool:
        """Whether scores come in one by one: no expression and no plug-in reads them all."""
        by_plugin = not self._strict and any(self._plugins.get(name) for name in scores_read(placement))
        return ANYTHING not in reads(placement) and not by_plugin

    def _update(self, key: Key, standing: Standing, news: News) -> bool | None:
        """What changed, into the schedule that stands; None when it takes a whole new look."""
        scheduler = standing.scheduler
        if news.of_anything or news.of_clusters or not standing.can_update:
            return None
        if scheduler.uses_balance and self._view.revision_elsewhere(key) != standing.elsewhere:
            return None
        cache = self.cache(AddOnPlacementScore.RESOURCE)
        current, now = self._view.clusters(key), self._now()
        assumed = self._assumptions.seen_by(key, standing.capacity, current, now)
        others = {Key(place[0], place[1]) for place, _ in assumed.items() ^ scheduler.assumed.items()}
        scores = {(score.namespace, score.name): cache.get(score) for score in news.of_scores | others}
        return scheduler.update(scores, current, now, assumed)

    async def _write(self, key: Key, placement: Json, standing: Standing) -> float | None:
        """Make decisions and status what the schedule says; seconds to wait where scores come too often."""
        result = standing.scheduler.result
        parts = slices(key.name, result.groups)
        before, after = self._view.clusters(key), frozenset(result.selected)
        if result.by_score and before == after and (wait := self._rates.wait(key, placement, self._now())):
            return wait
        # Before the first write: whoever is scheduled meanwhile must see it.
        self._assumptions.decide(key, standing.capacity, before, after, self._now())
        writer = DecisionWriter(self.client, self._view, placement)
        await writer.write(parts, result)
        if before != after:
            if result.tells:
                reasons = moved(result, sorted(after - before), sorted(before - after))
                writer.notes.append(Note("DecisionExplained", f"{reasons}; {summary(result)}"))
            self._tell(placement, sorted(after - before), sorted(before - after))
        if result.by_score and writer.notes:
            self._rates.wrote(key, self._now())
        seen = standing.as_told(placement)
        status = placement_status(seen, standing.candidates, result, parts)
        try:
            await write_status(self.client, Placement.RESOURCE, seen, status)
            standing.tell(placement, status)
        finally:
            if writer.notes:
                self._beside(self._record(placement, writer.notes))
        return None

    async def _record(self, placement: Json, notes: Sequence[Note]) -> None:
        for note in notes:
            await self._events.record(placement, note.reason, note.message, warning=note.warning)

    async def _fleet(self, key: Key, placement: Json, candidates: Candidates) -> Fleet:
        scores, contributed = {}, {}
        wanted = scores_read(placement)
        if wanted:
            cache = self.cache(AddOnPlacementScore.RESOURCE)
            for cluster in candidates.clusters:
                name = cluster["metadata"]["name"]
                if ANY_SCORE in wanted:
                    scores.update({(name, s["metadata"]["name"]): s for s in cache.in_namespace(name)})
                    continue
                for resource in wanted:
                    if (score := cache.get(Key(name, resource))) is not None:
                        scores[name, resource] = score
            if not self._strict:
                contributed = await self._contributed(key, placement, candidates, wanted)
        current, now = self._view.clusters(key), self._now()
        return Fleet(
            clusters=candidates.clusters,
            current=current,
            elsewhere=self._view.elsewhere(key),
            scores=scores,
            plugin_scores=contributed,
            assumed=self._assumptions.seen_by(key, self._capacity(placement), current, now),
            now=now,
            strict=self._strict,
        )

    async def _contributed(
        self, key: Key, placement: Json, candidates: Candidates, wanted: Iterable[str]
    ) -> dict[str, dict[str, int]]:
        """Scores of plug-ins that the placement names as the resource of an AddOn coordinate."""
        result: dict[str, dict[str, int]] = {}
        for name in wanted:
            plugin = self._plugins.get(name)
            if plugin is None:
                continue
            given = {"placement": placement, "clusters": candidates.clusters}
            try:
                self._contributions[key, name] = await plugin.ask("placement_scores", **given) or {}
            except PluginError as error:  # its last word stands, so that a decision does not flicker
                about = placement["metadata"]["name"]
                log.warning("plug-in gave no scores", plugin=name, placement=about, reason=str(error))
            result[name] = self._contributions.get((key, name), {})
        return result

    def _tell(self, placement: Json, added: list[str], removed: list[str]) -> None:
        """Nobody waits for what plug-ins do with it."""
        log.info("decision changed", placement=placement["metadata"]["name"], added=added, removed=removed)
        for plugin in self._plugins.implementing("decision_observed"):
            self._beside(_observe(plugin, placement, added, removed))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Nobody waits for it: the next decision comes first."""
        task = asyncio.create_task(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


async def _observe(plugin: Plugin, placement: Json, added: list[str], removed: list[str]) -> None:
    while True:
        try:
            await plugin.ask("decision_observed", placement=placement, added=added, removed=removed)
        except PluginBusy:
            await asyncio.sleep(_BUSY)
            continue
        except PluginError as error:
            about = placement["metadata"]["name"]
            log.warning("plug-in failed on a decision", placement=about, reason=str(error))
        return
