"""The placement controller: events to the placements they can change, one pure schedule, and its writing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog

from addon_framework.api.cluster import (
    AddOnPlacementScore,
    ManagedCluster,
    ManagedClusterSet,
    ManagedClusterSetBinding,
    Placement,
    PlacementDecision,
)
from addon_framework.api.meta import Json
from addon_framework.api.names import PLACEMENT_LABEL, SCHEDULING_DISABLED_ANNOTATION
from addon_framework.hub.clustersets import sets_of
from addon_framework.hub.events import EventRecorder
from addon_framework.hub.placement.candidates import (
    ANY_SCORE,
    FACETS,
    Candidates,
    find_candidates,
    reads,
    scores_read,
)
from addon_framework.hub.placement.decisions import DecisionView
from addon_framework.hub.placement.groups import slices
from addon_framework.hub.placement.model import Fleet, Group
from addon_framework.hub.placement.scheduler import schedule
from addon_framework.hub.placement.status import placement_status
from addon_framework.hub.placement.writer import DecisionWriter
from addon_framework.kube import Controller, Key, Watch
from addon_framework.kube.ensure import write_status
from addon_framework.kube.informer import AnyInformer
from addon_framework.kube.key import key_of
from addon_framework.plugins import PluginError, Plugins

log = structlog.get_logger(__name__)


class PlacementController(Controller):
    """Placement -> PlacementDecisions and status."""

    name = "placement"

    def __init__(
        self, plugins: Plugins | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._plugins = plugins if plugins is not None else Plugins()
        self._now = now
        self._view = DecisionView()

    def watches(self) -> list[Watch]:
        """Everything a decision depends on, each mapped to the placements that read it."""
        facets = [
            Watch(ManagedCluster.RESOURCE, map=self._readers_of(facet), predicate=_facet_changed(facet))
            for facet in FACETS
        ]
        return [
            Watch(Placement.RESOURCE, predicate=_spec_changed),
            Watch(PlacementDecision.RESOURCE, map=_placement_of),
            *facets,
            Watch(ManagedClusterSet.RESOURCE, map=self._bound_to, predicate=_spec_changed),
            Watch(ManagedClusterSetBinding.RESOURCE, map=self._in_namespace, predicate=_spec_changed),
            Watch(AddOnPlacementScore.RESOURCE, map=self._score_readers, predicate=_status_changed),
        ]

    async def start(self) -> None:
        """The present decisions, and from now on every change of them."""
        self.cache(PlacementDecision.RESOURCE).on_event(self._view.on_event)
        self._events = EventRecorder(self.client, "placementController")

    async def reconcile(self, key: Key) -> float | None:
        """Schedule one placement and write what changed."""
        placement = self._placements().get(key)
        if placement is None or placement["metadata"].get("deletionTimestamp"):
            return None
        annotations = placement["metadata"].get("annotations") or {}
        if annotations.get(SCHEDULING_DISABLED_ANNOTATION) == "true":
            return None
        candidates = find_candidates(
            placement,
            self._bindings().in_namespace(key.namespace),
            self.cache(ManagedClusterSet.RESOURCE).items(),
            self.cache(ManagedCluster.RESOURCE).items(),
        )
        result = schedule(placement, self._fleet(key, placement, candidates))
        parts = slices(key.name, result.groups or [Group("", [])])
        before = self._view.clusters(key)
        writer = DecisionWriter(self.client, self._view, placement)
        await writer.write(parts, result)
        after = frozenset(result.selected)
        if before != after:
            self._tell(placement, sorted(after - before), sorted(before - after))
        status = placement_status(placement, candidates, result, parts)
        try:
            await write_status(self.client, Placement.RESOURCE, placement, status)
        finally:  # events last: nobody waits for them
            for note in writer.notes:
                await self._events.record(placement, note.reason, note.message, warning=note.warning)
        return None if result.requeue_after is None else result.requeue_after + 0.01

    def _fleet(self, key: Key, placement: Json, candidates: Candidates) -> Fleet:
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
            contributed = self._contributed(placement, candidates, wanted)
        return Fleet(
            clusters=candidates.clusters,
            current=self._view.clusters(key),
            elsewhere=self._view.elsewhere(key),
            scores=scores,
            plugin_scores=contributed,
            now=self._now(),
        )

    def _contributed(
        self, placement: Json, candidates: Candidates, wanted: Iterable[str]
    ) -> dict[str, dict[str, int]]:
        """Scores of plug-ins that the placement names as the resource of an AddOn coordinate."""
        result: dict[str, dict[str, int]] = {}
        for name in wanted:
            plugin = self._plugins.get(name)
            if plugin is None:
                continue
            try:
                scores = plugin.call("placement_scores", placement=placement, clusters=candidates.clusters)
            except PluginError as error:
                log.warning(
                    "plug-in gave no scores", placement=placement["metadata"]["name"], reason=str(error)
                )
                continue
            result[name] = {c: max(-100, min(100, int(v))) for c, v in (scores or {}).items()}
        return result

    def _tell(self, placement: Json, added: list[str], removed: list[str]) -> None:
        name = placement["metadata"]["name"]
        log.info("decision changed", placement=name, added=added, removed=removed)
        for plugin in self._plugins:
            try:
                plugin.call("decision_observed", placement=placement, added=added, removed=removed)
            except PluginError as error:
                log.warning("plug-in failed on a decision", placement=name, reason=str(error))

    # From an event to the placements that it may change

    def _placements(self) -> AnyInformer:
        cache = self.cache(Placement.RESOURCE)
        cache.add_index("score", scores_read)
        cache.add_index("facet", lambda p: [f"{p['metadata']['namespace']}/{facet}" for facet in reads(p)])
        return cache

    def _bindings(self) -> AnyInformer:
        cache = self.cache(ManagedClusterSetBinding.RESOURCE)
        cache.add_index("set", lambda binding: [binding["metadata"]["name"]])
        return cache

    def _readers_of(self, facet: str) -> Callable[[Json], Iterable[Key]]:
        def readers(cluster: Json) -> Iterable[Key]:
            sets = sets_of(cluster, self.cache(ManagedClusterSet.RESOURCE).items())
            for name, namespace in self._namespaces_of(sets):
                for placement in self._placements().by_index("facet", f"{namespace}/{facet}"):
                    if _may_use(placement, name):
                        yield key_of(placement)

        return readers

    def _namespaces_of(self, sets: Iterable[str]) -> Iterable[tuple[str, str]]:
        for name in sets:
            for binding in self._bindings().by_index("set", name):
                yield name, binding["metadata"]["namespace"]

    def _bound_to(self, cluster_set: Json) -> Iterable[Key]:
        for name, namespace in self._namespaces_of([cluster_set["metadata"]["name"]]):
            for placement in self._placements().in_namespace(namespace):
                if _may_use(placement, name):
                    yield key_of(placement)

    def _in_namespace(self, binding: Json) -> Iterable[Key]:
        placements = self._placements().in_namespace(binding["metadata"]["namespace"])
        return [key_of(p) for p in placements if _may_use(p, binding["metadata"]["name"])]

    def _score_readers(self, score: Json) -> Iterable[Key]:
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", score["metadata"]["namespace"]))
        if cluster is None:
            return
        sets = sets_of(cluster, self.cache(ManagedClusterSet.RESOURCE).items())
        open_to = set(self._namespaces_of(sets))
        for resource in (score["metadata"]["name"], ANY_SCORE):
            for placement in self._placements().by_index("score", resource):
                namespace = placement["metadata"]["namespace"]
                if any(_may_use(placement, name) for name, where in open_to if where == namespace):
                    yield key_of(placement)


def _may_use(placement: Json, cluster_set: str) -> bool:
    asked = (placement.get("spec") or {}).get("clusterSets") or []
    return not asked or cluster_set in asked


def _placement_of(decision: Json) -> Iterable[Key]:
    name = (decision["metadata"].get("labels") or {}).get(PLACEMENT_LABEL)
    return [Key(decision["metadata"]["namespace"], name)] if name else []


def _facet_changed(facet: str) -> Callable[[Json | None, Json | None], bool]:
    look = FACETS[facet]

    def changed(old: Json | None, new: Json | None) -> bool:
        if old is None or new is None:
            return facet == "selection"  # every placement has that facet: once is enough
        return bool(look(old) != look(new))

    return changed


def _spec_changed(old: Json | None, new: Json | None) -> bool:
    if old is None or new is None:
        return True
    return any(old["metadata"].get(f) != new["metadata"].get(f) for f in _SPEC_FIELDS) or (
        old.get("spec") != new.get("spec")
    )


_SPEC_FIELDS = ("annotations", "deletionTimestamp", "uid")


def _status_changed(old: Json | None, new: Json | None) -> bool:
    return old is None or new is None or old.get("status") != new.get("status")
