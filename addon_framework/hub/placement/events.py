"""From an event to the placements that it may change, and what of them it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from addon_framework.api.cluster import (
    AddOnPlacementScore,
    ManagedCluster,
    ManagedClusterSet,
    ManagedClusterSetBinding,
    Placement,
    PlacementDecision,
)
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.hub.clustersets import is_member
from addon_framework.hub.placement.candidates import ANY_SCORE, FACETS, reads, scores_read
from addon_framework.hub.selectors import SelectorError
from addon_framework.kube import Key, Watch
from addon_framework.kube.informer import AnyInformer
from addon_framework.kube.key import key_of


@dataclass
class News:
    """What has happened to a placement since its last schedule."""

    of_anything: bool = False  # that is more than the below
    of_clusters: bool = False
    of_scores: set[Key] = field(default_factory=set)
    of_decisions: bool = False


class EventMap:
    """Watches everything a decision depends on; keeps for each placement what there is to look at."""

    def __init__(self, cache: Callable[[Resource], AnyInformer]) -> None:
        self.cache = cache
        self._news: dict[Key, News] = {}

    def take(self, key: Key) -> News:
        """The news of a placement, which are old from now on."""
        return self._news.pop(key, None) or News()

    def only_of_clusters(self, key: Key) -> bool:
        """Whether all that can wait is that clusters have changed."""
        news = self._news.get(key) or News()
        return news.of_clusters and not news.of_anything

    def watches(self) -> list[Watch]:
        """Each kind, mapped to the placements that read it."""
        facets = [
            Watch(
                ManagedCluster.RESOURCE,
                map=self._clusters(self._readers_of(facet)),
                predicate=self._facet_changed(facet),
            )
            for facet in FACETS
        ]
        return [
            Watch(Placement.RESOURCE, map=self._anything(lambda p: [key_of(p)]), predicate=_spec_changed),
            Watch(PlacementDecision.RESOURCE, map=self._decided),
            *facets,
            Watch(ManagedClusterSet.RESOURCE, map=self._anything(self._bound_to), predicate=_spec_changed),
            Watch(
                ManagedClusterSetBinding.RESOURCE,
                map=self._anything(self._in_namespace),
                predicate=_spec_changed,
            ),
            Watch(AddOnPlacementScore.RESOURCE, map=self._scored, predicate=_status_changed),
        ]

    def _facet_changed(self, facet: str) -> Callable[[Json | None, Json | None], bool]:
        look = FACETS[facet]

        def changed(old: Json | None, new: Json | None) -> bool:
            if old is None or new is None:
                return facet == "selection"  # every placement has that facet: once is enough
            if look(old) != look(new):
                return True
            # No placement need ask about a feature for a set to do so.
            moves = facet == "selection" and FACETS["features"](old) != FACETS["features"](new)
            return moves and set(self._sets_of(old)) != set(self._sets_of(new))

        return changed

    def _of(self, key: Key) -> News:
        return self._news.setdefault(key, News())

    def _anything(self, readers: Callable[[Json], Iterable[Key]]) -> Callable[[Any], Iterable[Key]]:
        def mapped(obj: Json) -> Iterable[Key]:
            for key in readers(obj):
                self._of(key).of_anything = True
                yield key

        return mapped

    def _clusters(self, readers: Callable[[Json], Iterable[Key]]) -> Callable[[Any], Iterable[Key]]:
        def mapped(cluster: Json) -> Iterable[Key]:
            for key in readers(cluster):
                self._of(key).of_clusters = True
                yield key

        return mapped

    def _decided(self, decision: Json) -> Iterable[Key]:
        for key in _placement_of(decision):
            self._of(key).of_decisions = True
            yield key

    def _scored(self, score: Json) -> Iterable[Key]:
        for key in self._score_readers(score):
            self._of(key).of_scores.add(key_of(score))
            yield key

    def placements(self) -> AnyInformer:
        """The placements, indexed by what they read."""
        cache = self.cache(Placement.RESOURCE)
        cache.add_index("score", scores_read)
        cache.add_index("facet", lambda p: [f"{p['metadata']['namespace']}/{facet}" for facet in reads(p)])
        return cache

    def bindings(self) -> AnyInformer:
        """The bindings, indexed by their sets."""
        cache = self.cache(ManagedClusterSetBinding.RESOURCE)
        cache.add_index("set", lambda binding: [binding["metadata"]["name"]])
        return cache

    def _readers_of(self, facet: str) -> Callable[[Json], Iterable[Key]]:
        def readers(cluster: Json) -> Iterable[Key]:
            sets = self._sets_of(cluster)
            for name, namespace in self._namespaces_of(sets):
                for placement in self.placements().by_index("facet", f"{namespace}/{facet}"):
                    if _may_use(placement, name):
                        yield key_of(placement)

        return readers

    def _sets_of(self, cluster: Json) -> Iterable[str]:
        """A set whose selector cannot be evaluated says so in its own status, and has no members here."""
        for cluster_set in self.cache(ManagedClusterSet.RESOURCE).items():
            try:
                if is_member(cluster, cluster_set):
                    yield cluster_set["metadata"]["name"]
            except SelectorError:
                continue

    def _namespaces_of(self, sets: Iterable[str]) -> Iterable[tuple[str, str]]:
        for name in sets:
            for binding in self.bindings().by_index("set", name):
                yield name, binding["metadata"]["namespace"]

    def _bound_to(self, cluster_set: Json) -> Iterable[Key]:
        for name, namespace in self._namespaces_of([cluster_set["metadata"]["name"]]):
            for placement in self.placements().in_namespace(namespace):
                if _may_use(placement, name):
                    yield key_of(placement)

    def _in_namespace(self, binding: Json) -> Iterable[Key]:
        placements = self.placements().in_namespace(binding["metadata"]["namespace"])
        return [key_of(p) for p in placements if _may_use(p, binding["metadata"]["name"])]

    def _score_readers(self, score: Json) -> Iterable[Key]:
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", score["metadata"]["namespace"]))
        if cluster is None:
            return
        sets = self._sets_of(cluster)
        open_to = set(self._namespaces_of(sets))
        for resource in (score["metadata"]["name"], ANY_SCORE):
            for placement in self.placements().by_index("score", resource):
                namespace = placement["metadata"]["namespace"]
                if any(_may_use(placement, name) for name, where in open_to if where == namespace):
                    yield key_of(placement)


def _may_use(placement: Json, cluster_set: str) -> bool:
    asked = (placement.get("spec") or {}).get("clusterSets") or []
    return not asked or cluster_set in asked


def _placement_of(decision: Json) -> Iterable[Key]:
    name = (decision["metadata"].get("labels") or {}).get(PLACEMENT_LABEL)
    return [Key(decision["metadata"]["namespace"], name)] if name else []


def _spec_changed(old: Json | None, new: Json | None) -> bool:
    if old is None or new is None:
        return True
    return any(old["metadata"].get(f) != new["metadata"].get(f) for f in _SPEC_FIELDS) or (
        old.get("spec") != new.get("spec")
    )


_SPEC_FIELDS = ("annotations", "deletionTimestamp", "uid")


def _status_changed(old: Json | None, new: Json | None) -> bool:
    return old is None or new is None or old.get("status") != new.get("status")
