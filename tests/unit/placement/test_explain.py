"""A decision explains itself, for every cluster."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

from addon_framework.api.crd import generate
from addon_framework.api.placement import PlacementExplanation
from addon_framework.cli.get.explain import lines
from addon_framework.hub.placement.explanation import essence, explanation_status, moved, summary
from addon_framework.hub.placement.model import Fleet, Schedule
from addon_framework.hub.placement.scheduler import Scheduler, schedule
from tests.unit.placement.strategies import NOW, placement, score_object

Json = dict[str, Any]


def decided(score: int = 30) -> Schedule:
    """b is chosen, a scores less, c is tainted."""
    clusters: list[Json] = [{"metadata": {"name": name}, "spec": {}, "status": {}} for name in "abc"]
    clusters[2]["spec"] = {"taints": [{"key": "k", "effect": "NoSelect"}]}
    coordinate = {"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "gpu"}}
    policy = {"mode": "Exact", "configurations": [{"scoreCoordinate": coordinate, "weight": 2}]}
    spec = {"numberOfClusters": 1, "prioritizerPolicy": policy}
    scores = {("b", "r"): score_object("b", "r", {"gpu": score}, None)}
    return schedule(placement(spec), Fleet(clusters, scores=scores, now=NOW))


def test_every_cluster_has_its_line() -> None:
    assert lines(decided()) == [
        ["CLUSTER", "RANK", "TOTAL", "ADDON/R/GPU x2", "WHY NOT"],
        ["b", "1", "60", "30", ""],
        ["a", "-", "0", "0", "other clusters score higher"],
        ["c", "-", "-", "-", "TaintToleration: taint k=:NoSelect is not tolerated"],
    ]


def test_the_object_has_every_cluster_filter_by_filter_and_score_by_score() -> None:
    status = explanation_status(decided(), ["one"], 3, "2026-08-01T00:00:00Z")
    assert status == {
        "decided": "2026-08-01T00:00:00Z",
        "generation": 3,
        "summary": (
            "1 chosen of 2 feasible and 1 rejected clusters; "
            "TaintToleration rejected 1 (taint k=:NoSelect is not tolerated: c); ranked by AddOn/r/gpu x2"
        ),
        "clusterSets": ["one"],
        "filters": [
            {"name": "Predicate", "passed": 3, "rejected": []},
            {
                "name": "TaintToleration",
                "passed": 2,
                "rejected": [{"reason": "taint k=:NoSelect is not tolerated", "clusters": ["c"]}],
            },
        ],
        "prioritizers": [{"name": "AddOn/r/gpu", "weight": 2}],
        "ranking": [
            {"cluster": "b", "chosen": True, "total": 60, "scores": [30]},
            {"cluster": "a", "total": 0, "scores": [0]},
        ],
        "warnings": [],
    }
    [version] = generate(PlacementExplanation)["spec"]["versions"]
    jsonschema.validate({"status": status}, version["schema"]["openAPIV3Schema"])


def test_it_is_not_written_again_while_scores_decide_nothing() -> None:
    one, other = (explanation_status(decided(score), ["one"], 1, f"{score}") for score in (30, 40))
    assert one != other
    assert essence(one) == essence(other)
    assert summary(decided(30)) == summary(decided(40))
    assert essence(one) != essence(explanation_status(decided(-1), ["one"], 1, ""))


def test_a_move_says_why_for_who_came_and_who_went() -> None:
    assert moved(decided(), ["b"], ["a", "c", "gone"]) == (
        "in: b (total 60: AddOn/r/gpu 30 x2); "
        "out: a (other clusters score higher, total 0: AddOn/r/gpu 0 x2), "
        "c (TaintToleration: taint k=:NoSelect is not tolerated), "
        "gone (in none of the placement's cluster sets)"
    )
    assert moved(decided(), [], list("acde")).endswith(" and 1 more")


def test_a_thousand_clusters_make_one_short_line_and_an_object_below_any_limit() -> None:
    clusters: list[Json] = [
        {"metadata": {"name": f"cluster-{i:05}", "labels": {}}, "spec": {}, "status": {}} for i in range(5000)
    ]
    for cluster in clusters[::2]:
        cluster["spec"] = {"taints": [{"key": "k", "effect": "NoSelect"}]}
    result = schedule(placement({}), Fleet(clusters, now=NOW))
    status = explanation_status(result, ["one"], 1, "2026-08-01T00:00:00Z")
    assert len(summary(result)) < 300
    assert len(json.dumps(status)) < 400_000
    named = [r["cluster"] for r in status["ranking"]]
    named += [name for step in status["filters"] for r in step["rejected"] for name in r["clusters"]]
    assert sorted(named) == [c["metadata"]["name"] for c in clusters]


def test_a_snapshot_stays_what_was_decided() -> None:
    clusters: list[Json] = [{"metadata": {"name": name}, "spec": {}, "status": {}} for name in "ab"]
    standing = Scheduler(placement({"numberOfClusters": 1}), Fleet(clusters, now=NOW))
    before = standing.result.snapshot()
    standing.update({}, frozenset("a"), NOW)
    assert before.scored("a") == "total 100: Balance 100 x1, Steady 0 x1"
    assert standing.result.scored("a") == "total 200: Balance 100 x1, Steady 100 x1"
