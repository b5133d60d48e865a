"""The scheduler decides as OCM's does: filters, scores, groups, and the properties that must always hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon_framework.hub.placement.groups import slices
from addon_framework.hub.placement.model import Fleet, Group
from addon_framework.hub.placement.scheduler import schedule

NOW = datetime(2026, 8, 1, tzinfo=UTC)
Json = dict[str, Any]


def cluster(name: str, **spec: Any) -> Json:
    status: Json = {}
    for field in ("allocatable", "capacity", "clusterClaims", "version"):
        if field in spec:
            status[field] = spec.pop(field)
    return {"metadata": {"name": name, "labels": spec.pop("labels", {})}, "spec": spec, "status": status}


def placement(**spec: Any) -> Json:
    return {"metadata": {"name": "p", "namespace": "ns"}, "spec": spec}


def predicate(**selector: Any) -> list[Json]:
    return [{"requiredClusterSelector": selector}]


def prioritizer(weight: int | None = None, **coordinate: Any) -> Json:
    entry: Json = {"scoreCoordinate": coordinate}
    if weight is not None:
        entry["weight"] = weight
    return entry


def add_on(resource: str, score: str, weight: int | None = None) -> Json:
    return prioritizer(weight, type="AddOn", addOn={"resourceName": resource, "scoreName": score})


def score_object(value: int, name: str = "s", valid_until: str | None = None) -> Json:
    status: Json = {"scores": [{"name": name, "value": value}]}
    if valid_until:
        status["validUntil"] = valid_until
    return {"status": status}


def exact(*configurations: Json) -> Json:
    return {"mode": "Exact", "configurations": list(configurations)}


ABC = [cluster("a", labels={"r": "eu"}), cluster("b", labels={"r": "us"}), cluster("c")]


def test_no_predicates_select_every_cluster_by_name() -> None:
    assert schedule(placement(), Fleet(ABC)).selected == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"labelSelector": {"matchLabels": {"r": "eu"}}}, ["a"]),
        ({"labelSelector": {"matchExpressions": [{"key": "r", "operator": "In", "values": ["us"]}]}}, ["b"]),
        (
            {"labelSelector": {"matchExpressions": [{"key": "r", "operator": "NotIn", "values": ["us"]}]}},
            ["a", "c"],
        ),
        ({"labelSelector": {"matchExpressions": [{"key": "r", "operator": "Exists"}]}}, ["a", "b"]),
        ({"labelSelector": {"matchExpressions": [{"key": "r", "operator": "DoesNotExist"}]}}, ["c"]),
        ({"celSelector": {"celExpressions": ["managedCluster.metadata.labels['r'] == 'eu'"]}}, ["a"]),
        (
            {
                "labelSelector": {"matchExpressions": [{"key": "r", "operator": "Exists"}]},
                "celSelector": {"celExpressions": ["managedCluster.metadata.name != 'a'"]},
            },
            ["b"],
        ),
    ],
)
def test_predicates(selector: Json, expected: list[str]) -> None:
    assert schedule(placement(predicates=predicate(**selector)), Fleet(ABC)).selected == expected


def test_predicates_are_alternatives() -> None:
    either = predicate(labelSelector={"matchLabels": {"r": "eu"}}) + predicate(
        labelSelector={"matchLabels": {"r": "us"}}
    )
    assert schedule(placement(predicates=either), Fleet(ABC)).selected == ["a", "b"]


def test_claims() -> None:
    fleet = Fleet([cluster("a", clusterClaims=[{"name": "gpu", "value": "h100"}]), cluster("b")])
    wanted = {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100"]}]}
    result = schedule(placement(predicates=predicate(claimSelector=wanted)), fleet)
    assert result.selected == ["a"]
    assert "claimSelector does not match" in result.filters[0].rejected["b"]


def test_cel_reads_scores() -> None:
    expression = "managedCluster.scores('usage').exists(s, s.name == 'gpu' && s.value > 10)"
    fleet = Fleet(
        ABC, scores={("b", "usage"): score_object(20, "gpu"), ("a", "usage"): score_object(5, "gpu")}
    )
    spec = placement(predicates=predicate(celSelector={"celExpressions": [expression]}))
    assert schedule(spec, fleet).selected == ["b"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"predicates": predicate(celSelector={"celExpressions": ["1 +"]})},
            r"spec\.predicates\[0\].*celExpressions\[0\]: Failed to parse",
        ),
        (
            {"predicates": predicate(labelSelector={"matchExpressions": [{"key": "a", "operator": "Is"}]})},
            r'labelSelector\.matchExpressions\[0\]\.operator: "Is"',
        ),
        (
            {"tolerations": [{"operator": "Equal", "value": "x"}]},
            r"spec\.tolerations\[0\]\.operator: must be Exists",
        ),
        (
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]},
            r"spec\.tolerations\[0\]\.value: must be empty",
        ),
        ({"prioritizerPolicy": exact(prioritizer(builtIn="Spread"))}, r'configurations\[0\].*"Spread"'),
        ({"prioritizerPolicy": {"mode": "Best"}}, r'spec\.prioritizerPolicy\.mode: "Best"'),
        (
            {"decisionStrategy": {"groupStrategy": {"clustersPerDecisionGroup": "half"}}},
            r'clustersPerDecisionGroup: "half"',
        ),
    ],
)
def test_what_cannot_be_evaluated_is_misconfigured_and_names_the_field(spec: Json, message: str) -> None:
    result = schedule(placement(**spec), Fleet(ABC))
    assert result.misconfigured is not None
    assert result.selected == []
    with pytest.raises(ValueError, match=message):
        raise result.misconfigured


def taint(effect: str = "NoSelect", key: str = "k", value: str = "v", added: datetime = NOW) -> Json:
    return {"key": key, "value": value, "effect": effect, "timeAdded": added.isoformat()}


@pytest.mark.parametrize(
    ("effect", "toleration", "in_decision", "selected"),
    [
        ("NoSelect", None, False, False),
        ("NoSelect", None, True, False),
        ("NoSelectIfNew", None, False, False),
        ("NoSelectIfNew", None, True, True),
        ("PreferNoSelect", None, False, True),
        ("NoSelect", {"key": "k", "value": "v"}, False, True),
        ("NoSelect", {"key": "k", "value": "w"}, False, False),
        ("NoSelect", {"key": "other", "operator": "Exists"}, False, False),
        ("NoSelect", {"key": "k", "operator": "Exists"}, False, True),
        ("NoSelect", {"operator": "Exists"}, False, True),
        ("NoSelect", {"operator": "Exists", "effect": "NoSelectIfNew"}, False, False),
        ("NoSelect", {"key": "k", "value": "v", "effect": "NoSelect"}, False, True),
    ],
)
def test_taints(effect: str, toleration: Json | None, in_decision: bool, selected: bool) -> None:
    fleet = Fleet(
        [cluster("a", taints=[taint(effect)])], current=frozenset({"a"} if in_decision else ()), now=NOW
    )
    spec = placement(tolerations=[toleration] if toleration else [])
    assert schedule(spec, fleet).selected == (["a"] if selected else [])


def test_toleration_seconds_run_out_and_say_when() -> None:
    spec = placement(tolerations=[{"operator": "Exists", "tolerationSeconds": 30}])
    clusters = [cluster("a", taints=[taint()])]
    before = schedule(spec, Fleet(clusters, now=NOW + timedelta(seconds=20)))
    assert (before.selected, before.requeue_after) == (["a"], 10.0)
    after = schedule(spec, Fleet(clusters, now=NOW + timedelta(seconds=30)))
    assert (after.selected, after.requeue_after) == ([], None)
    assert "30 s, which are over" in after.filters[1].rejected["a"]


def test_steady_keeps_the_present_decision() -> None:
    result = schedule(placement(numberOfClusters=1), Fleet(ABC, current=frozenset({"c"})))
    assert result.selected == ["c"]


def test_balance_prefers_clusters_with_fewer_decisions() -> None:
    result = schedule(placement(numberOfClusters=1), Fleet(ABC, elsewhere={"a": 4, "b": 1}))
    assert result.selected == ["c"]
    balance = next(p for p in result.prioritizers if p.name == "Balance")
    assert balance.scores == {"a": -100, "b": 50, "c": 100}


def test_balance_truncates_as_go_does() -> None:
    result = schedule(placement(), Fleet(ABC, elsewhere={"a": 3, "b": 2, "c": 1}))
    # 100 * (0.5 - 2/3) = -16.67 -> -16, doubled; 100 * (0.5 - 1/3) = 16.67 -> 16, doubled
    assert next(p.scores for p in result.prioritizers if p.name == "Balance") == {
        "a": -100,
        "b": -32,
        "c": 32,
    }


def test_resource_allocatable() -> None:
    def with_cpu(name: str, amount: str) -> Json:
        return cluster(name, allocatable={"cpu": amount}, capacity={"cpu": "100"})

    fleet = Fleet([with_cpu("a", "2"), with_cpu("b", "8"), with_cpu("c", "4500m"), cluster("d")])
    result = schedule(
        placement(prioritizerPolicy=exact(prioritizer(builtIn="ResourceAllocatableCPU"))), fleet
    )
    assert result.prioritizers[0].scores == {"a": -100, "b": 100, "c": -16, "d": 0}
    assert result.selected == ["b", "d", "c", "a"]


def test_equal_resources_all_score_best() -> None:
    fleet = Fleet([cluster(n, allocatable={"memory": "1Gi"}, capacity={"memory": "1Gi"}) for n in "ab"])
    policy = exact(prioritizer(builtIn="ResourceAllocatableMemory"))
    assert schedule(placement(prioritizerPolicy=policy), fleet).totals == {"a": 100, "b": 100}


def test_add_on_scores_weigh_and_missing_counts_as_zero() -> None:
    fleet = Fleet(ABC, scores={("a", "usage"): score_object(-10), ("b", "usage"): score_object(30)})
    result = schedule(placement(prioritizerPolicy=exact(add_on("usage", "s", 3))), fleet)
    assert result.totals == {"a": -30, "b": 90, "c": 0}
    assert result.selected == ["b", "c", "a"]


def test_expired_score_counts_as_zero_with_a_warning_and_a_valid_one_says_when() -> None:
    soon, past = (NOW + timedelta(seconds=5)).isoformat(), (NOW - timedelta(seconds=1)).isoformat()
    scores = {
        ("a", "usage"): score_object(90, valid_until=past),
        ("b", "usage"): score_object(10, valid_until=soon),
    }
    result = schedule(
        placement(prioritizerPolicy=exact(add_on("usage", "s"))), Fleet(ABC, scores=scores, now=NOW)
    )
    assert result.selected[0] == "b"
    assert result.requeue_after == 5.0
    assert result.warnings == ["AddOnPlacementScores usage of a have expired"]


def test_plugin_scores_fill_in_where_no_object_is() -> None:
    fleet = Fleet(ABC, scores={("a", "cost"): score_object(1)}, plugin_scores={"cost": {"a": 99, "b": 50}})
    assert schedule(placement(prioritizerPolicy=exact(add_on("cost", "s"))), fleet).totals == {
        "a": 1,
        "b": 50,
        "c": 0,
    }


def test_weight_zero_and_additive_overrides() -> None:
    policy = {"configurations": [prioritizer(0, builtIn="Steady"), prioritizer(2, builtIn="Balance")]}
    result = schedule(placement(prioritizerPolicy=policy), Fleet(ABC, current=frozenset({"a"})))
    assert {p.name: p.weight for p in result.prioritizers} == {"Balance": 2}


def test_unscheduled_and_number_of_clusters() -> None:
    assert schedule(placement(numberOfClusters=5), Fleet(ABC)).unscheduled == 2
    assert schedule(placement(numberOfClusters=2), Fleet(ABC)).unscheduled == 0
    assert schedule(placement(numberOfClusters=0), Fleet(ABC)).selected == []


def test_groups_in_order_each_by_name_the_rest_last() -> None:
    strategy = {
        "clustersPerDecisionGroup": 1,
        "decisionGroups": [
            {"groupName": "canary", "groupClusterSelector": {"labelSelector": {"matchLabels": {"r": "us"}}}}
        ],
    }
    result = schedule(placement(decisionStrategy={"groupStrategy": strategy}), Fleet(ABC))
    assert result.groups == [Group("canary", ["b"]), Group("", ["a"]), Group("", ["c"])]


def test_percentages_are_rounded_up() -> None:
    spec = placement(decisionStrategy={"groupStrategy": {"clustersPerDecisionGroup": "34%"}})
    assert [g.clusters for g in schedule(spec, Fleet(ABC)).groups] == [["a", "b"], ["c"]]


def test_no_cluster_gives_one_empty_decision() -> None:
    result = schedule(placement(), Fleet([]))
    assert result.groups == [Group("", [])]
    [only] = slices("p", result.groups)
    assert (only.name, only.clusters) == ("p-decision-1", ())


def test_decisions_are_cut_at_100_and_numbered_over_groups() -> None:
    names = [f"c{i:03}" for i in range(150)]
    parts = slices("p", [Group("g", names), Group("", ["z"])])
    assert [(p.name, p.group_index, len(p.clusters)) for p in parts] == [
        ("p-decision-1", 0, 100),
        ("p-decision-2", 0, 50),
        ("p-decision-3", 1, 1),
    ]


def test_explanation_tells_of_every_cluster() -> None:
    spec = placement(
        numberOfClusters=1,
        predicates=predicate(labelSelector={"matchExpressions": [{"key": "r", "operator": "Exists"}]}),
    )
    rows = {row["cluster"]: row for row in schedule(spec, Fleet(ABC)).explain()}
    assert rows["a"]["selected"]
    assert rows["a"]["scores"]["Balance"] == {"weight": 1, "score": 100}
    assert rows["b"]["reason"] == "other clusters score higher"
    assert rows["c"]["filter"] == "Predicate"


names = st.lists(st.sampled_from([f"c{i}" for i in range(8)]), unique=True)
fleets = st.builds(
    lambda present, current, elsewhere, scores: Fleet(
        [cluster(n) for n in present],
        current=frozenset(current),
        elsewhere=elsewhere,
        scores={(n, "usage"): score_object(v) for n, v in scores.items()},
        now=NOW,
    ),
    names,
    names,
    st.dictionaries(st.sampled_from([f"c{i}" for i in range(8)]), st.integers(1, 9)),
    st.dictionaries(st.sampled_from([f"c{i}" for i in range(8)]), st.integers(-100, 100)),
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "numberOfClusters": st.integers(0, 9),
        "prioritizerPolicy": st.builds(
            lambda w: {"configurations": [add_on("usage", "s", w)]}, st.integers(-10, 10)
        ),
        "decisionStrategy": st.builds(
            lambda n: {"groupStrategy": {"clustersPerDecisionGroup": n}},
            st.one_of(st.integers(-1, 9), st.sampled_from(["1%", "50%", "100%"])),
        ),
    },
)


@settings(max_examples=150, deadline=None)
@given(specs, fleets)
def test_a_decision_is_deterministic_partitioned_and_never_beaten(spec: Json, fleet: Fleet) -> None:
    result = schedule(placement(**spec), fleet)
    present = {c["metadata"]["name"] for c in fleet.clusters}
    assert set(result.selected) <= present
    assert len(result.selected) == min(spec.get("numberOfClusters", len(present)), len(present))
    grouped = [name for group in result.groups for name in group.clusters]
    assert sorted(grouped) == sorted(result.selected)
    left = [result.totals[n] for n in present - set(result.selected)]
    assert all(result.totals[n] >= max(left) for n in result.selected if left)
    reordered = Fleet(list(reversed(fleet.clusters)), fleet.current, fleet.elsewhere, fleet.scores, now=NOW)
    assert schedule(placement(**spec), reordered).selected == result.selected


@settings(max_examples=100, deadline=None)
@given(specs, fleets)
def test_a_decision_is_steady_when_nothing_else_changes(spec: Json, fleet: Fleet) -> None:
    first = schedule(placement(**spec), fleet)
    settled = Fleet(fleet.clusters, frozenset(first.selected), fleet.elsewhere, fleet.scores, now=NOW)
    second = schedule(placement(**spec), settled)
    assert set(second.selected) == set(first.selected)
