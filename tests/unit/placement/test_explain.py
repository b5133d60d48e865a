"""A decision explains itself, for every cluster."""

from __future__ import annotations

from addon_framework.cli.get.explain import lines
from addon_framework.hub.placement.model import Fleet
from addon_framework.hub.placement.scheduler import schedule
from tests.unit.placement.strategies import NOW, placement, score_object


def test_every_cluster_has_its_line() -> None:
    clusters = [{"metadata": {"name": name}, "spec": {}, "status": {}} for name in "abc"]
    clusters[2]["spec"] = {"taints": [{"key": "k", "effect": "NoSelect"}]}
    coordinate = {"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "gpu"}}
    policy = {"mode": "Exact", "configurations": [{"scoreCoordinate": coordinate, "weight": 2}]}
    spec = {"numberOfClusters": 1, "prioritizerPolicy": policy}
    scores = {("b", "r"): score_object("b", "r", {"gpu": 30}, None)}
    assert lines(schedule(placement(spec), Fleet(clusters, scores=scores, now=NOW))) == [
        ["CLUSTER", "RANK", "TOTAL", "ADDON/R/GPU x2", "WHY NOT"],
        ["b", "1", "60", "30", ""],
        ["a", "-", "0", "0", "other clusters score higher"],
        ["c", "-", "-", "-", "TaintToleration: taint k=:NoSelect is not tolerated"],
    ]
