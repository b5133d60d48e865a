"""What OCM's API promises and its controller lacks: spread constraints, sortBy, PreferNoSelect, timers."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon_framework.hub.placement.cel import CelSelector
from addon_framework.hub.placement.groups import slices
from addon_framework.hub.placement.model import Fleet
from addon_framework.hub.placement.scheduler import schedule
from addon_framework.hub.placement.standing import ScoreRates
from addon_framework.hub.placement.status import decision_status
from addon_framework.kube import Key
from tests.unit.placement.strategies import NOW, placement, score_object

Json = dict[str, Any]


def cluster(name: str, **labels: str) -> Json:
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {}}


def constraint(key: str, when: str = "DoNotSchedule", skew: int = 1, kind: str = "Label") -> Json:
    return {"topologyKey": key, "topologyKeyType": kind, "maxSkew": skew, "whenUnsatisfiable": when}


def spread(*constraints: Json) -> Json:
    return {"spreadPolicy": {"spreadConstraints": list(constraints)}}


ZONES = [cluster("a", zone="x"), cluster("b", zone="x"), cluster("c", zone="x"), cluster("d", zone="y")]


def test_spread_takes_from_each_topology() -> None:
    result = schedule(placement({"numberOfClusters": 2, **spread(constraint("zone"))}), Fleet(ZONES, now=NOW))
    assert result.selected == ["a", "d"]


def test_do_not_schedule_leaves_clusters_out_and_says_why() -> None:
    result = schedule(placement({"numberOfClusters": 4, **spread(constraint("zone"))}), Fleet(ZONES, now=NOW))
    assert (result.selected, result.unscheduled) == (["a", "d", "b"], 1)
    [row] = [row for row in result.explain() if row["cluster"] == "c"]
    assert row["reason"].startswith("spec.spreadPolicy.spreadConstraints[0]")


def test_schedule_anyway_takes_them_last() -> None:
    spec = {"numberOfClusters": 4, **spread(constraint("zone", "ScheduleAnyway"))}
    assert schedule(placement(spec), Fleet(ZONES, now=NOW)).selected == ["a", "d", "b", "c"]


def test_a_cluster_without_the_topology_cannot_be_spread() -> None:
    clusters = [cluster("a"), *ZONES[2:]]
    hard = schedule(placement(spread(constraint("zone"))), Fleet(clusters, now=NOW))
    assert set(hard.selected) == {"c", "d"}
    soft = schedule(placement(spread(constraint("zone", "ScheduleAnyway"))), Fleet(clusters, now=NOW))
    assert soft.selected == ["c", "d", "a"]


def test_earlier_constraints_count_more() -> None:
    clusters = [
        cluster("a", zone="x", rack="1"),
        cluster("b", zone="x", rack="2"),
        cluster("c", zone="y", rack="1"),
    ]
    soft = [constraint("zone", "ScheduleAnyway"), constraint("rack", "ScheduleAnyway")]
    by_zone = {"numberOfClusters": 2, **spread(*soft)}
    by_rack = {"numberOfClusters": 2, **spread(*reversed(soft))}
    assert schedule(placement(by_zone), Fleet(clusters, now=NOW)).selected == ["a", "c"]
    assert schedule(placement(by_rack), Fleet(clusters, now=NOW)).selected == ["a", "b"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from("xyz"), min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(1, 3),
)
def test_skew_is_kept_and_no_more_would_fit(zones: list[str], wanted: int, skew: int) -> None:
    clusters = [cluster(f"c{i:02}", zone=zone) for i, zone in enumerate(zones)]
    spec = {"numberOfClusters": wanted, **spread(constraint("zone", skew=skew))}
    result = schedule(placement(spec), Fleet(clusters, now=NOW))
    present, taken = Counter(zones), Counter(zones[int(name[1:])] for name in result.selected)
    least = min(taken[zone] for zone in present)
    assert all(taken[zone] - least <= skew for zone in present)
    if len(result.selected) < min(wanted, len(zones)):
        assert all(taken[z] == present[z] or taken[z] + 1 - least > skew for z in present)


def test_prefer_no_select_comes_last_and_moves_nobody() -> None:
    avoided = cluster("a")
    avoided["spec"] = {"taints": [{"key": "k", "effect": "PreferNoSelect"}]}
    fleet = [avoided, cluster("b"), cluster("c")]
    new = schedule(placement({"numberOfClusters": 2}), Fleet(fleet, now=NOW))
    assert new.selected == ["b", "c"]
    [row] = [row for row in new.explain() if row["cluster"] == "a"]
    assert row["reason"] == "taint k=:PreferNoSelect is not tolerated"
    assert schedule(placement({}), Fleet(fleet, now=NOW)).selected == ["b", "c", "a"]
    there = schedule(placement({"numberOfClusters": 1}), Fleet(fleet, current=frozenset("a"), now=NOW))
    assert there.selected == ["a"]
    tolerations = [{"key": "k", "operator": "Exists"}]
    tolerant = placement({"numberOfClusters": 1, "tolerations": tolerations})
    assert schedule(tolerant, Fleet(fleet, now=NOW)).selected == ["a"]


def test_sort_by_score_orders_decisions_and_shows_scores() -> None:
    coordinate = {"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "gpu"}}
    policy = {"mode": "Exact", "configurations": [{"scoreCoordinate": coordinate}]}
    scores = {("b", "r"): score_object("b", "r", {"gpu": 30}, None)}
    fleet = Fleet([cluster("a"), cluster("b")], scores=scores, now=NOW)
    result = schedule(placement({"prioritizerPolicy": policy, "sortBy": "Score"}), fleet)
    [only] = slices("p", result.groups)
    assert decision_status(only, result)["decisions"] == [
        {"clusterName": "b", "reason": "total 30: AddOn/r/gpu 30 x1", "score": 30},
        {"clusterName": "a", "reason": "total 0: AddOn/r/gpu 0 x1"},
    ]


def test_scores_are_shown_as_often_as_the_limit_says() -> None:
    rates, key = ScoreRates(), Key("ns", "p")
    limited = placement({"scoreRateLimit": "30s"})
    assert rates.wait(key, limited, NOW) == 0
    rates.wrote(key, NOW)
    assert rates.wait(key, limited, NOW + timedelta(seconds=10)) == 20
    assert rates.wait(key, limited, NOW + timedelta(seconds=30)) == 0
    assert rates.wait(key, placement({}), NOW) == 60
    rates.forget(key)
    assert rates.wait(key, limited, NOW) == 0


def test_only_we_set_a_timer_for_scores() -> None:
    coordinate = {"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "gpu"}}
    policy = {"mode": "Exact", "configurations": [{"scoreCoordinate": coordinate}]}
    scores = {("a", "r"): score_object("a", "r", {"gpu": 30}, 5)}
    asked = placement({"prioritizerPolicy": policy})
    assert schedule(asked, Fleet([cluster("a")], scores=scores, now=NOW)).requeue_after == 5
    strict = Fleet([cluster("a")], scores=scores, now=NOW, strict=True)
    assert schedule(asked, strict).requeue_after is None


@pytest.mark.parametrize(
    "expression",
    [
        "semver('v1.31', true).isGreaterThan(semver('1.30.9'))",
        "semver('1.31.0-alpha.2').isLessThan(semver('1.31.0-alpha.10'))",
        "semver('1.31.0-rc.1').isLessThan(semver('1.31.0'))",
        "isSemver('1.0.0') && !isSemver('v1.0.0') && isSemver('v1.0.0', true)",
        "semver('1.31.4').minor() == 31",
        "quantity('2Gi').isGreaterThan(quantity('2000Mi'))",
        "quantity('500m').compareTo(quantity('0.5')) == 0",
        "isQuantity('1k') && !isQuantity('one')",
        '\'{"gpus": [{"name": "h100"}]}\'.parseJSON().gpus[0].name == \'h100\'',
        "'A,b'.lowerAscii().split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b'",
        "' x '.trim().upperAscii() == 'X' && 'abc'.indexOf('c') == 2 && 'abcd'.substring(1, 3) == 'bc'",
        "'aXa'.replace('X', 'b') == 'aba'",
    ],
)
def test_the_functions_that_kubernetes_and_ocm_add_to_cel(expression: str) -> None:
    assert CelSelector([expression], "x", {}).refuses(cluster("a")) == ""


def test_a_version_that_is_none_does_not_match() -> None:
    refused = CelSelector(["semver('one').isLessThan(semver('1.0.0'))"], "x", {}).refuses(cluster("a"))
    assert "is not a semantic version" in refused
