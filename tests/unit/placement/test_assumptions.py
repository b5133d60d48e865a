"""What is decided is assumed until the next score: decisions do not pile up, and nobody moves for it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from addon_framework.hub.placement.assumptions import LASTS, POINTS, Assumptions, capacity_read
from addon_framework.hub.placement.model import Fleet
from addon_framework.hub.placement.scheduler import Scheduler, schedule
from addon_framework.kube import Key
from tests.unit.placement.strategies import NOW, placement, score_object

Json = dict[str, Any]
RESOURCE, SCORE = "usage", "gpuAvailable"
CLUSTERS = [{"metadata": {"name": f"c{i}"}, "spec": {}, "status": {}} for i in range(5)]
NAMES = [c["metadata"]["name"] for c in CLUSTERS]
KEYS = [Key("ns", name) for name in "pqrstu"]


def asked(wanted: int | None = 1, score: str = SCORE, *, steady: bool = False, weight: int = 1) -> Json:
    coordinate = {"type": "AddOn", "addOn": {"resourceName": RESOURCE, "scoreName": score}}
    configurations: list[Json] = [{"scoreCoordinate": coordinate, "weight": weight}]
    if steady:
        configurations.append({"scoreCoordinate": {"type": "BuiltIn", "builtIn": "Steady"}})
    policy = {"mode": "Exact", "configurations": configurations}
    return placement({"prioritizerPolicy": policy} | ({} if wanted is None else {"numberOfClusters": wanted}))


class Deciding:
    """A hub's placements, one after the other, as the controller does it."""

    def __init__(self, scores: dict[str, int], *, strict: bool = False) -> None:
        self.values, self.strict, self.now = dict(scores), strict, NOW
        self.assumptions = Assumptions()
        self.decided: dict[Key, frozenset[str]] = {}

    def fleet(self, key: Key, obj: Json, now: datetime | None = None) -> Fleet:
        current, now = self.decided.get(key, frozenset()), now or self.now
        return Fleet(
            CLUSTERS,
            current,
            scores={
                (n, RESOURCE): score_object(n, RESOURCE, {SCORE: v}, None) for n, v in self.values.items()
            },
            assumed={} if self.strict else self.assumptions.seen_by(key, capacity_read(obj), current, now),
            now=now,
            strict=self.strict,
        )

    def decide(self, key: Key, obj: Json) -> list[str]:
        selected = schedule(obj, self.fleet(key, obj)).selected
        before, after = self.decided.get(key, frozenset()), frozenset(selected)
        self.assumptions.decide(key, capacity_read(obj), before, after, self.now)
        self.decided[key] = after
        return selected

    def score(self, cluster: str, value: int) -> None:
        self.values[cluster] = value
        self.assumptions.confirm(cluster, RESOURCE)


@given(st.integers(1, 20), st.integers(1, 3), st.integers(-100, 100))
def test_decisions_in_a_row_over_equal_clusters_are_even(count: int, wanted: int, value: int) -> None:
    hub = Deciding(dict.fromkeys(NAMES, value))
    taken = Counter(dict.fromkeys(NAMES, 0))
    floor = value - POINTS * (count * wanted // len(NAMES) + 1) < -100  # no score is less than -100
    for number in range(count):
        taken.update(hub.decide(Key("ns", f"p{number}"), asked(wanted)))
    assert floor or max(taken.values()) - min(taken.values()) <= 1


def test_a_much_better_cluster_is_taken_until_it_is_not_any_more() -> None:
    hub = Deciding({"c0": 23, "c1": 10, "c2": -100, "c3": -100, "c4": -100})  # four free GPUs, one, none
    assert [hub.decide(key, asked()) for key in KEYS[:4]] == [["c0"], ["c0"], ["c1"], ["c0"]]


def test_strict_mode_assumes_nothing() -> None:
    hub = Deciding(dict.fromkeys(NAMES, 50), strict=True)
    assert [hub.decide(key, asked()) for key in KEYS[:3]] == [["c0"], ["c0"], ["c0"]]
    obj = asked()
    ignoring = Fleet(CLUSTERS, assumed={("c0", RESOURCE, SCORE): 90}, now=NOW, strict=True)
    assert schedule(obj, ignoring).totals == dict.fromkeys(NAMES, 0)


def test_only_what_tells_of_capacity_is_assumed_and_only_where_there_is_a_choice() -> None:
    assert {c.score_name for c in capacity_read(asked())} == {SCORE}
    assert not capacity_read(asked(score="cost"))
    assert not capacity_read(asked(wanted=None))
    assert not capacity_read(asked(weight=0))
    assert not capacity_read(placement({"prioritizerPolicy": {"mode": "Best"}}))


def test_a_scorer_that_says_nothing_for_long_is_believed_again() -> None:
    hub = Deciding(dict.fromkeys(NAMES, 50))
    hub.decide(KEYS[0], asked())
    assert schedule(asked(), hub.fleet(KEYS[1], asked())).selected == ["c1"]
    assert schedule(asked(), hub.fleet(KEYS[1], asked(), NOW + LASTS)).selected == ["c0"]


def test_a_decision_that_is_taken_back_takes_nothing() -> None:
    hub = Deciding(dict.fromkeys(NAMES, 50))
    hub.decide(KEYS[0], asked(2))
    hub.assumptions.forget(KEYS[0])
    assert hub.decide(KEYS[1], asked()) == ["c0"]
    hub.decide(KEYS[1], asked(0))
    assert hub.decide(KEYS[2], asked()) == ["c0"]


def test_the_explanation_says_what_was_assumed() -> None:
    hub = Deciding(dict.fromkeys(NAMES, 50))
    hub.decide(KEYS[0], asked())
    result = schedule(asked(), hub.fleet(KEYS[1], asked()))
    assert result.assumed == {"c0": POINTS}
    [row] = [row for row in result.explain() if row["cluster"] == "c0"]
    assert (row["total"], row["assumed"]) == (40, POINTS)
    assert "10 points less" in row["reason"]


class InAnyOrder(RuleBasedStateMachine):
    """Placements decide, scores arrive, placements go: what holds at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = Deciding(dict.fromkeys(NAMES, 0))
        self.specs: dict[Key, Json] = {}
        self.standing: dict[Key, Scheduler] = {}

    @rule(key=st.sampled_from(KEYS), wanted=st.integers(0, 5), steady=st.booleans())
    def ask(self, key: Key, wanted: int, steady: bool) -> None:
        self.specs[key] = asked(wanted, steady=steady)
        self.hub.decide(key, self.specs[key])
        self.standing[key] = Scheduler(self.specs[key], self.hub.fleet(key, self.specs[key]))

    @rule(cluster=st.sampled_from(NAMES), value=st.integers(-100, 100))
    def score(self, cluster: str, value: int) -> None:
        self.hub.score(cluster, value)
        for key, scheduler in list(self.standing.items()):
            self._taken_in(key, scheduler, {cluster})

    @rule(key=st.sampled_from(KEYS))
    def go(self, key: Key) -> None:
        self.specs.pop(key, None)
        self.standing.pop(key, None)
        self.hub.decided.pop(key, None)
        self.hub.assumptions.forget(key)

    @rule(seconds=st.integers(0, 400))
    def wait(self, seconds: int) -> None:
        self.hub.now += timedelta(seconds=seconds)

    @invariant()
    def nobody_moves_for_what_is_assumed(self) -> None:
        """A second look at what was just decided decides the same, whatever others have decided since."""
        for key, obj in self.specs.items():
            hub = self.hub
            with_it = schedule(obj, hub.fleet(key, obj)).selected
            blind = Fleet(CLUSTERS, hub.decided[key], scores=hub.fleet(key, obj).scores, now=hub.now)
            if set(schedule(obj, blind).selected) == hub.decided[key]:
                assert set(with_it) == hub.decided[key]

    @invariant()
    def nothing_is_left_once_all_scores_are_written(self) -> None:
        fresh = Assumptions()
        fresh._taken = {place: dict(takers) for place, takers in self.hub.assumptions._taken.items()}
        for cluster in NAMES:
            fresh.confirm(cluster, RESOURCE)
        for key, obj in self.specs.items():
            assert not fresh.seen_by(key, capacity_read(obj), frozenset(), self.hub.now)

    @invariant()
    def only_decisions_that_stand_are_assumed(self) -> None:
        for (cluster, _), takers in self.hub.assumptions._taken.items():
            assert takers
            assert all(cluster in self.hub.decided[key] for key, _ in takers)

    def _taken_in(self, key: Key, scheduler: Scheduler, clusters: set[str]) -> None:
        """A schedule that takes in what is assumed bit by bit is the one of a whole new look."""
        obj = self.specs[key]
        fleet = self.hub.fleet(key, obj)
        changed = clusters | {place[0] for place, _ in fleet.assumed.items() ^ scheduler.assumed.items()}
        scores = {(name, RESOURCE): fleet.scores.get((name, RESOURCE)) for name in changed}
        scheduler.update(scores, fleet.current, self.hub.now, fleet.assumed)
        whole = schedule(obj, fleet)
        assert (scheduler.result.totals, scheduler.result.assumed) == (whole.totals, whole.assumed)
        assert set(scheduler.result.selected) == set(whole.selected)


TestInAnyOrder = InAnyOrder.TestCase
