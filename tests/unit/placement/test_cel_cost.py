"""CEL expressions that would never come to an end are refused before they begin."""

from __future__ import annotations

import time

import pytest

from addon_framework.hub.placement.cel import CelSelector
from addon_framework.hub.placement.cel_cost import MAX_LENGTH, depth, steps_allowed
from addon_framework.hub.placement.model import Fleet
from addon_framework.hub.placement.scheduler import schedule
from addon_framework.hub.selectors import SelectorError
from tests.unit.placement.strategies import Json

CLAIMS = "managedCluster.status.clusterClaims"


def cluster(name: str, claims: int) -> Json:
    listed = [{"name": f"claim-{n}", "value": str(n)} for n in range(claims)]
    return {"metadata": {"name": name, "labels": {}}, "status": {"clusterClaims": listed}}


def loops(count: int) -> str:
    inner = "true"
    for number in range(count):
        inner = f"{CLAIMS}.all(x{number}, {inner})"
    return inner


@pytest.mark.parametrize(
    ("expression", "deep"),
    [
        ("managedCluster.metadata.name == 'a'", 0),
        ("a.all(x, x == 1) && b.exists(y, y == 2)", 1),
        ("a.map(x, x + 1).filter(x, x > 2).exists(x, x == 3)", 1),
        ("a.all(x, b.exists(y, x == y))", 2),
        ("a.all(x, (b.map(y, y)).all(z, c.exists_one(w, w == z)))", 3),
        ("a.all(x, 'b.all(y, ' == x)", 1),
        ("a.all(x, r'\\' == x && b.all(y, y == x))", 2),
        ('a.all(x, """it\'s""" == x && b . all (y, y == x))', 2),
        ("a.all(x, // b.all(y,\n x == 1)", 1),
        ("all(x) && filter(y)", 0),
    ],
)
def test_loops_in_one_another_are_counted(expression: str, deep: int) -> None:
    assert depth(expression) == deep


def test_what_may_take_too_many_steps_on_a_cluster_is_refused_there_at_once() -> None:
    selector = CelSelector([loops(4)], "x", {})
    assert selector.refuses(cluster("small", 3)) == ""
    began = time.thread_time()
    refused = selector.refuses(cluster("large", 200))
    assert time.thread_time() - began < 0.5
    assert "costs too much: 4 loops in one another may take 1600000000 steps" in refused


def test_a_text_that_is_parsed_counts_by_its_length() -> None:
    listed = cluster("a", 1)
    listed["metadata"]["annotations"] = {"list": "[" + "1," * 5000 + "1]"}
    parsed = "managedCluster.metadata.annotations['list'].parseJSON()"
    refused = CelSelector([f"{parsed}.all(x, {parsed}.all(y, x == y))"], "x", {}).refuses(listed)
    assert "costs too much" in refused


def test_a_large_fleet_is_allowed_less_on_each_cluster() -> None:
    assert steps_allowed(1) == 100_000
    assert steps_allowed(1000) == steps_allowed(100_000) == 2000
    placement = {
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {
            "predicates": [{"requiredClusterSelector": {"celSelector": {"celExpressions": [loops(2)]}}}],
        },
    }
    alone = schedule(placement, Fleet([cluster("a", 60)]))
    assert alone.selected == ["a"]
    many = schedule(placement, Fleet([cluster(f"c{n:04}", 60) for n in range(1000)]))
    assert many.selected == []
    assert "costs too much" in many.filters[0].rejected["c0000"]


def test_an_expression_has_a_greatest_length() -> None:
    with pytest.raises(SelectorError, match=f"x.celExpressions\\[0\\]: .* {MAX_LENGTH} are allowed"):
        CelSelector([" || ".join(["true"] * 3000)], "x", {})
