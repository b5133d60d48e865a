"""The scheduler: filter, score, select, group. A function of the placement and the fleet, kept current."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from datetime import datetime

from addon_framework.api.meta import Json
from addon_framework.hub.placement import filters, prioritizers
from addon_framework.hub.placement.groups import BadGroups, group
from addon_framework.hub.placement.model import Fleet, Group, Misconfigured, PrioritizerResult, Schedule
from addon_framework.hub.placement.prioritizers import BALANCE, STEADY, Coordinate
from addon_framework.hub.placement.spread import constraints_of, spread


def schedule(placement: Json, fleet: Fleet) -> Schedule:
    """Decide where a placement lies. Never raises: a bad spec is told in `misconfigured`."""
    return Scheduler(placement, fleet).result


class Scheduler:
    """A schedule that can take in new scores without looking at the rest of the fleet."""

    def __init__(self, placement: Json, fleet: Fleet) -> None:
        self._spec: Json = placement.get("spec") or {}
        self._strict = fleet.strict
        self._clusters = {cluster["metadata"]["name"]: cluster for cluster in fleet.clusters}
        self._current = fleet.current
        self._coordinates: list[tuple[Coordinate, PrioritizerResult]] = []
        self._ranking: list[tuple[bool, int, str]] = []
        self._expiry = prioritizers.Expiry(fleet.strict, {} if fleet.strict else fleet.assumed)
        self.result = Schedule(
            tells=not fleet.strict, by_score=not fleet.strict and self._spec.get("sortBy") == "Score"
        )
        try:
            candidates = self._filter(fleet)
            self.result.feasible = len(candidates)
            self._score(candidates, fleet)
            self._ranking = sorted(self._place(name) for name in self.result.totals)
            self._select()
        except Misconfigured as error:
            self.result.misconfigured = error
            self._group()
        if not self._asks_again():
            self._clusters = {name: c for name, c in self._clusters.items() if _taints(c)}
        if self.due is not None:
            self.result.requeue_after = (self.due - fleet.now).total_seconds()

    @property
    def uses_balance(self) -> bool:
        """Whether other placements' decisions count."""
        return any(coordinate.built_in == BALANCE for coordinate, _ in self._coordinates)

    @property
    def due(self) -> datetime | None:
        """When time alone may change the decision."""
        return self._expiry.due

    @property
    def assumed(self) -> Mapping[tuple[str, str, str], int]:
        """How many points scores are less for decisions that they do not show yet."""
        return self._expiry.assumed

    def update(
        self,
        scores: Mapping[tuple[str, str], Json | None],
        current: frozenset[str],
        now: datetime,
        assumed: Mapping[tuple[str, str, str], int] | None = None,
    ) -> bool | None:
        """Take in changed scores (None: deleted) and the present decision; whether the decision changed.

        Where `assumed` is another than before, the scores must be among `scores`. None when it takes a whole
        new look. The cost is that of what changed and of what is selected.
        """
        stale = self._expiry.stale
        if self.result.misconfigured is not None or (stale is not None and now >= stale):
            return None
        moved = current ^ self._current
        if any(_taints(self._clusters.get(name, {})) for name in moved):
            return None  # some taints mean something else to those that are already there
        before = self.result.selected
        if assumed is not None and not self._strict:
            self._expiry.assumed = assumed
        for coordinate, scored in self._coordinates:
            if coordinate.built_in == STEADY:
                for name in moved & self.result.totals.keys():
                    self._rescore(scored, name, prioritizers.MAX_SCORE if name in current else 0)
            for (name, resource), score in scores.items():
                if resource == coordinate.resource_name and name in self.result.totals:
                    self._rescore(scored, name, self._expiry.value(coordinate, name, score, now))
        self._current = current
        self._tell()
        if self._keeps_all():
            return False
        self._select()
        return before != self.result.selected or self.result.by_score

    def _keeps_all(self) -> bool:
        """Whether every feasible cluster is selected, in an order that scores do not touch."""
        return self._spec.get("numberOfClusters") is None and not self.result.by_score and not self._spreads()

    def _spreads(self) -> bool:
        return not self._strict and bool(constraints_of(self._spec))

    def _asks_again(self) -> bool:
        """Whether a selection from other scores looks at the clusters: what it does not is not kept."""
        groups = (self._spec.get("decisionStrategy") or {}).get("groupStrategy") or {}
        return self._spreads() or bool(groups.get("decisionGroups"))

    def _place(self, name: str) -> tuple[bool, int, str]:
        """Where a cluster stands: by score, then by name; what is better avoided comes last."""
        return name in self.result.avoided, -self.result.totals[name], name

    def _rescore(self, scored: PrioritizerResult, name: str, value: int) -> None:
        difference = scored.weight * (value - scored.scores[name])
        scored.scores[name] = value
        if difference:
            self._ranking.pop(bisect_left(self._ranking, self._place(name)))
            self.result.totals[name] += difference
            insort(self._ranking, self._place(name))

    def _filter(self, fleet: Fleet) -> list[Json]:
        spec, result = self._spec, self.result
        clusters = [self._clusters[name] for name in sorted(self._clusters)]
        predicates = filters.by_predicates(spec, clusters, fleet)
        result.filters.append(predicates)
        clusters = [self._clusters[name] for name in predicates.kept]
        taints, seconds = filters.by_taints(spec, clusters, fleet, result.avoided)
        result.filters.append(taints)
        self._expiry.in_seconds(fleet.now, seconds)
        return [self._clusters[name] for name in taints.kept]

    def _score(self, candidates: list[Json], fleet: Fleet) -> None:
        self.result.totals = {cluster["metadata"]["name"]: 0 for cluster in candidates}
        for coordinate, weight in prioritizers.weights(self._spec, strict=fleet.strict):
            scored = prioritizers.score(coordinate, weight, candidates, fleet, self._expiry)
            self._coordinates.append((coordinate, scored))
            self.result.prioritizers.append(scored)
            for name, value in scored.scores.items():
                self.result.totals[name] += weight * value
        self._tell()

    def _tell(self) -> None:
        self.result.warnings = self._expiry.warnings()
        self.result.assumed = {}
        for (name, _, _), points in self._expiry.assumed.items():
            if name in self.result.totals:
                self.result.assumed[name] = self.result.assumed.get(name, 0) + points

    def _select(self) -> None:
        spec, result = self._spec, self.result
        wanted = spec.get("numberOfClusters")
        limit = None if wanted is None else max(wanted, 0)
        if self._spreads():
            ranked = [name for _, _, name in self._ranking]
            selected, result.unspread = spread(spec, ranked, self._clusters, limit)
        else:
            selected = [name for _, _, name in self._ranking[:limit]]
        result.unscheduled = 0 if limit is None else limit - len(selected)
        if not result.by_score and result.groups and set(selected) == set(result.selected):
            return  # groups are in order of names
        result.selected = selected
        self._group()

    def _group(self) -> None:
        result = self.result
        try:
            result.groups = group(self._spec, result.selected, self._clusters, by_score=result.by_score)
        except BadGroups as error:
            # OCM keeps the groups before the bad one, deletes the others, and says that all is satisfied.
            result.groups = error.groups
            if not self._strict:
                result.selected, result.groups = [], [Group("", [])]
            if self._strict or result.misconfigured is None:
                result.misconfigured = error


def _taints(cluster: Json) -> list[Json]:
    return (cluster.get("spec") or {}).get("taints") or []
