"""Pods that want to be near others, or not: on three nodes in two zones."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.local.workloads.neighbours import Neighbourhood, Placed

HOST, ZONE = "kubernetes.io/hostname", "zone"
NODES = {
    name: {"metadata": {"name": name, "labels": {HOST: name, ZONE: zone}}, "spec": {}}
    for name, zone in (("a1", "a"), ("a2", "a"), ("b1", "b"))
}
LABELS = {"ours": {"team": "x"}, "theirs": {"team": "y"}}
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"
SPREAD = "node(s) didn't match pod topology spread constraints"


def pod(app: str, namespace: str = "ours", **spec: Any) -> Json:
    return {"metadata": {"namespace": namespace, "labels": {"app": app}}, "spec": spec}


def wants(field: str, app: str, key: str = HOST, **more: Any) -> Json:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **more}
    return {"affinity": {field: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def spread(skew: int = 1, key: str = ZONE, **more: Any) -> Json:
    constraint = {
        "maxSkew": skew,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
        **more,
    }
    return {"topologySpreadConstraints": [constraint]}


def judged(new: Json, **placed: list[Json]) -> dict[str, str]:
    """What keeps the pod off each node."""
    there = [Placed(other, NODES[name]) for name, pods in placed.items() for other in pods]
    neighbours = Neighbourhood(there, lambda namespace: LABELS[namespace])
    return {name: neighbours.misfit(new, node, NODES.values()) for name, node in NODES.items()}


def test_pods_that_do_not_want_each_other_are_on_different_nodes_or_zones() -> None:
    shy = pod("web", **wants("podAntiAffinity", "web"))
    assert judged(shy) == {"a1": "", "a2": "", "b1": ""}
    assert judged(shy, a1=[pod("web")]) == {"a1": ANTI, "a2": "", "b1": ""}
    by_zone = pod("web", **wants("podAntiAffinity", "web", ZONE))
    assert judged(by_zone, a1=[pod("web")]) == {"a1": ANTI, "a2": ANTI, "b1": ""}


def test_what_is_there_already_may_want_nobody_near() -> None:
    hermit = pod("db", **wants("podAntiAffinity", "web", ZONE))
    assert judged(pod("web"), b1=[hermit]) == {"a1": "", "a2": "", "b1": EXISTING}
    assert judged(pod("web", "theirs"), b1=[hermit]) == {"a1": "", "a2": "", "b1": ""}


def test_a_pod_is_near_those_it_wants() -> None:
    client = pod("client", **wants("podAffinity", "db", ZONE))
    assert set(judged(client).values()) == {AFFINITY}
    assert judged(client, a1=[pod("db")]) == {"a1": "", "a2": "", "b1": AFFINITY}


def test_the_first_of_pods_that_want_each_other_may_be_anywhere() -> None:
    flock = pod("bird", **wants("podAffinity", "bird"))
    assert judged(flock) == {"a1": "", "a2": "", "b1": ""}
    assert judged(flock, a2=[pod("bird")]) == {"a1": AFFINITY, "a2": "", "b1": AFFINITY}


@pytest.mark.parametrize(
    ("where", "near"),
    [
        ({}, False),
        ({"namespaces": ["theirs"]}, True),
        ({"namespaceSelector": {}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "y"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "x"}}}, False),
    ],
)
def test_terms_are_about_the_pods_own_namespace_unless_they_say_so(where: Json, near: bool) -> None:
    client = pod("client", **wants("podAffinity", "db", **where))
    assert (judged(client, a1=[pod("db", "theirs")])["a1"] == "") is near


def test_spread_counts_the_domains_that_the_pod_may_be_in() -> None:
    web = pod("web", **spread())
    assert judged(web) == {"a1": "", "a2": "", "b1": ""}
    assert judged(web, a1=[pod("web")]) == {"a1": SPREAD, "a2": SPREAD, "b1": ""}
    assert judged(web, a1=[pod("web"), pod("web")], b1=[pod("web")]) == {"a1": SPREAD, "a2": SPREAD, "b1": ""}
    assert judged(pod("web", **spread(2)), a1=[pod("web")])["a2"] == ""
    only_a = pod("web", nodeSelector={ZONE: "a"}, **spread())
    assert judged(only_a, a1=[pod("web")])["a2"] == ""
    assert judged(pod("web", **spread(key="rack")))["a1"] == f"{SPREAD} (missing required label)"
    assert judged(pod("web", **spread(minDomains=3)), a1=[pod("web")], b1=[pod("web")])["b1"] == SPREAD
    assert judged(pod("web", **spread(whenUnsatisfiable="ScheduleAnyway")), a1=[pod("web")])["a1"] == ""


def test_preferred_neighbours_weigh() -> None:
    def term(app: str) -> Json:
        return {
            "weight": 7,
            "podAffinityTerm": {"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": app}}},
        }

    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    picky = pod(
        "client",
        affinity={"podAffinity": {preferred: [term("db")]}, "podAntiAffinity": {preferred: [term("noise")]}},
    )
    placed = [Placed(pod("db"), NODES["a1"]), Placed(pod("noise"), NODES["b1"])]
    neighbours = Neighbourhood(placed, lambda namespace: LABELS[namespace])
    assert [neighbours.preference(picky, node) for node in NODES.values()] == [7, 7, -7]
