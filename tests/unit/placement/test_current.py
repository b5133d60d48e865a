"""A schedule that takes in scores one by one is the one that a whole new look would make."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addon_framework.hub.placement.model import Fleet
from addon_framework.hub.placement.scheduler import Scheduler, schedule
from tests.parity.oracle import Hub
from tests.unit.placement.strategies import NAMES, NOW, beyond_ocm, hubs, placement, score

Json = dict[str, Any]
Scores = dict[tuple[str, str], Json]
changes = st.lists(
    st.tuples(
        st.one_of(score, st.tuples(st.sampled_from(NAMES), st.sampled_from(["parity", "cost"]))),
        st.booleans(),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(hubs, beyond_ocm, st.booleans(), changes)
def test_updates_are_whole_looks(hub: Hub, spec: Json, strict: bool, news: Any) -> None:
    spec = {
        k: v for k, v in spec.items() if k != "predicates"
    }  # expressions may read scores: no updates then
    scores = {(s["metadata"]["namespace"], s["metadata"]["name"]): s for s in hub.scores}
    elsewhere = {NAMES[0]: 2, NAMES[1]: 1}
    now = NOW
    asked = placement(spec)

    def fleet(current: frozenset[str]) -> Fleet:
        return Fleet(hub.clusters, current, elsewhere, dict(scores), now=now, strict=strict)

    current: frozenset[str] = frozenset()
    standing = Scheduler(asked, fleet(current))
    for change, decided, seconds in news:
        now += timedelta(seconds=seconds)
        if decided:  # the decision was written
            current = frozenset(standing.result.selected)
        if isinstance(change, tuple):
            scores.pop(change, None)
            key = change
        else:
            key = change["metadata"]["namespace"], change["metadata"]["name"]
            scores[key] = change
        before = standing.result.selected, standing.result.groups
        changed = standing.update({key: scores.get(key)}, current, now)
        whole = schedule(asked, fleet(current))
        if changed is None:
            standing = Scheduler(asked, fleet(current))
            continue
        found = standing.result
        assert (found.totals, found.warnings) == (whole.totals, whole.warnings)
        assert set(found.selected) == set(whole.selected)
        assert (found.groups, found.unscheduled) == (whole.groups, whole.unscheduled)
        assert changed or (found.selected, found.groups) == before


def test_the_cost_is_that_of_the_change() -> None:
    """Of 2,000 clusters, only the one with the new score is looked at."""
    looked: list[str] = []

    class Watched(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            looked.append(key)
            return super().get(key, default)

        def __getitem__(self, key: str) -> Any:
            looked.append(key)
            return super().__getitem__(key)

    clusters = [Watched(metadata={"name": f"c{i:04}"}, spec={}, status={}) for i in range(2000)]
    coordinate = {"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "s"}}
    spec = {
        "numberOfClusters": 2,
        "prioritizerPolicy": {"mode": "Exact", "configurations": [{"scoreCoordinate": coordinate}]},
    }
    standing = Scheduler(placement(spec), Fleet(clusters, now=NOW))
    assert standing.result.selected == ["c0000", "c0001"]
    looked.clear()
    score = {"status": {"scores": [{"name": "s", "value": 7}]}}
    assert standing.update({("c1234", "r"): score}, frozenset({"c0000", "c0001"}), NOW) is True
    assert standing.result.selected == ["c1234", "c0000"]
    assert len(looked) <= 10
