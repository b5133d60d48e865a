"""The view of present decisions, and the order in which they are written."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from addon_framework.hub.placement.decisions import DecisionView, write_order
from addon_framework.hub.placement.groups import Slice
from addon_framework.kube import Key

P = Key("ns", "p")


def decision(name: str, version: int, clusters: str, placement: str = "p") -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "ns",
            "resourceVersion": str(version),
            "labels": {"cluster.open-cluster-management.io/placement": placement},
        },
        "status": {"decisions": [{"clusterName": c} for c in clusters]},
    }


def test_our_own_write_is_seen_before_the_cache_shows_it() -> None:
    view = DecisionView()
    view.on_event(None, decision("d1", 5, "a"))
    view.put(decision("d1", 9, "b"))
    view.on_event(decision("d1", 5, "a"), decision("d1", 7, "c"))
    assert view.clusters(P) == {"b"}
    view.on_event(decision("d1", 7, "c"), decision("d1", 11, "d"))
    assert view.clusters(P) == {"d"}


def test_counts_leave_out_the_placement_itself() -> None:
    view = DecisionView()
    view.put(decision("d1", 1, "ab"))
    view.put(decision("q1", 2, "b", "q"))
    view.put(decision("r1", 3, "bc", "r"))
    assert view.elsewhere(P) == {"b": 2, "c": 1}
    view.on_event(decision("r1", 3, "bc", "r"), None)
    assert view.elsewhere(P) == {"b": 1}
    assert view.clusters(Key("ns", "r")) == frozenset()


def test_growing_at_the_front_writes_the_back_first() -> None:
    order = write_order([Slice("1", 0, "", ("a", "b")), Slice("2", 0, "", ("c",))], {"1": ("b", "c")})
    assert [part.name for part in order] == ["2", "1"]


def test_shrinking_at_the_front_writes_the_front_first() -> None:
    order = write_order(
        [Slice("1", 0, "", ("b", "c")), Slice("2", 0, "", ())], {"1": ("a", "b"), "2": ("c",)}
    )
    assert [part.name for part in order] == ["1", "2"]


def paged(clusters: list[str]) -> list[Slice]:
    return [Slice(str(i), 0, "", tuple(clusters[i : i + 2])) for i in range(0, max(len(clusters), 1), 2)]


@given(st.sets(st.sampled_from("abcdefghij")), st.sets(st.sampled_from("abcdefghij")))
def test_no_cluster_that_stays_is_ever_missing_when_clusters_only_come_or_only_go(
    one: set[str], other: set[str]
) -> None:
    for before, after in ((one, one | other), (one | other, one)):
        present = {part.name: part.clusters for part in paged(sorted(before))}
        parts = paged(sorted(after))
        for part in write_order(parts, present):
            present[part.name] = part.clusters
            assert before & after <= set().union(*present.values())


def moved_about(groups: list[list[str]]) -> list[Slice]:
    """Pages of at most two clusters, group by group, as decisions are numbered."""
    pages = [(i, g[at : at + 2]) for i, g in enumerate(groups) for at in range(0, len(g), 2)]
    return [Slice(f"p-decision-{n}", i, "", tuple(page)) for n, (i, page) in enumerate(pages, 1)]


in_groups = st.permutations("abcdefghij").flatmap(
    lambda order: st.tuples(st.integers(0, 10), st.integers(0, 10)).map(
        lambda cuts: [list(order[: min(cuts)]), list(order[min(cuts) : max(cuts)])]
    )
)


@given(in_groups, in_groups)
def test_no_cluster_that_stays_is_ever_missing_whatever_moves(
    one: list[list[str]], other: list[list[str]]
) -> None:
    """Also when clusters change places between groups, or pages are in the order of scores."""
    before, after = moved_about(one), moved_about(other)
    present = {part.name: part.clusters for part in before}
    wanted = {part.name: part.clusters for part in after}
    stay = {c for g in one for c in g} & {c for g in other for c in g}
    for part in write_order(after, present):
        assert len(part.clusters) <= 2
        present[part.name] = part.clusters
        assert stay <= set().union(*present.values())
    assert wanted.items() <= present.items()
    assert stay <= set().union(*wanted.values())


def test_clusters_that_change_places_wait_in_one_more_decision() -> None:
    parts = [Slice("p-decision-1", 0, "", ("b",)), Slice("p-decision-2", 1, "", ("a",))]
    order = write_order(parts, {"p-decision-1": ("a",), "p-decision-2": ("b",)})
    assert [(part.name, part.clusters) for part in order] == [
        ("p-decision-3", ("a",)),
        ("p-decision-1", ("b",)),
        ("p-decision-2", ("a",)),
    ]
