"""Which placements an event on a cluster concerns: those that it can change, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.cluster import (
    ManagedCluster,
    ManagedClusterSet,
    ManagedClusterSetBinding,
    Placement,
)
from addon_framework.api.meta import Resource
from addon_framework.api.names import FEATURE_LABEL_PREFIX
from addon_framework.hub.placement.candidates import reads
from addon_framework.hub.placement.events import EventMap
from addon_framework.kube import Client, Informer, Key, Watch, key_of
from addon_framework.kube.config import ClientConfig

Json = dict[str, Any]
FEATURE = FEATURE_LABEL_PREFIX + "search"


class Caches:
    """Informers that hold what they are given."""

    def __init__(self) -> None:
        self._client = Client(ClientConfig("https://nowhere.invalid"))
        self._informers: dict[Resource, Informer[Json]] = {}

    def __call__(self, resource: Resource) -> Informer[Json]:
        return self._informers.setdefault(resource, Informer(self._client, resource))

    def put(self, resource: Resource, name: str, namespace: str | None = None, **fields: Any) -> None:
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        obj = {"metadata": metadata, **fields}
        self(resource)._store(key_of(obj), obj)


def cluster(**labels: str) -> Json:
    return {"metadata": {"name": "c1", "labels": labels}}


def selecting(key: str) -> Json:
    return {"labelSelector": {"matchExpressions": [{"key": key, "operator": "Exists"}]}}


def concerned(caches: Caches, old: Json, new: Json) -> set[str]:
    """Names of the placements that a change of a cluster is mapped to."""
    watches: list[Watch] = EventMap(caches).watches()
    found = set()
    for watch in watches:
        if watch.resource == ManagedCluster.RESOURCE and watch.predicate and watch.predicate(old, new):
            assert watch.map is not None
            found |= {key.name for obj in (old, new) for key in watch.map(obj)}
    return found


def add_set(caches: Caches, name: str, selector: Json) -> None:
    wanted = {"selectorType": "LabelSelector", "labelSelector": selector}
    caches.put(ManagedClusterSet.RESOURCE, name, spec={"clusterSelector": wanted})
    caches.put(ManagedClusterSetBinding.RESOURCE, name, "ns", spec={"clusterSet": name})


@pytest.fixture
def caches() -> Caches:
    caches = Caches()
    add_set(caches, "all", {})
    predicate = {"requiredClusterSelector": selecting(FEATURE)}
    caches.put(Placement.RESOURCE, "plain", "ns", spec={"clusterSets": ["all"]})
    caches.put(Placement.RESOURCE, "asks", "ns", spec={"clusterSets": ["all"], "predicates": [predicate]})
    return caches


def test_an_addon_that_comes_up_concerns_who_asks_for_it(caches: Caches) -> None:
    # A thousand clusters get that label when an add-on is installed: whoever does not ask must not look.
    assert concerned(caches, cluster(), cluster(**{FEATURE: "unreachable"})) == {"asks"}
    changed = cluster(**{FEATURE: "unreachable"}), cluster(**{FEATURE: "available"})
    assert concerned(caches, *changed) == {"asks"}


def test_a_set_may_ask_for_it_too(caches: Caches) -> None:
    add_set(caches, "searched", selecting(FEATURE)["labelSelector"])
    caches.put(Placement.RESOURCE, "by-set", "ns", spec={"clusterSets": ["searched"]})
    assert "by-set" in concerned(caches, cluster(), cluster(**{FEATURE: "unreachable"}))
    changed = cluster(**{FEATURE: "unreachable"}), cluster(**{FEATURE: "available"})
    assert concerned(caches, *changed) == {"asks"}  # the set has the cluster as before


def test_any_other_label_concerns_all_that_may_use_the_cluster(caches: Caches) -> None:
    assert concerned(caches, cluster(), cluster(zone="x")) == {"plain", "asks"}
    assert concerned(caches, cluster(zone="x"), cluster(zone="x")) == set()


def test_what_reads_feature_labels() -> None:
    assert "features" not in reads({"spec": {"predicates": [{"requiredClusterSelector": selecting("zone")}]}})
    assert "features" in reads({"spec": {"predicates": [{"requiredClusterSelector": selecting(FEATURE)}]}})
    groups = {"groupStrategy": {"decisionGroups": [{"groupClusterSelector": selecting(FEATURE)}]}}
    assert "features" in reads({"spec": {"decisionStrategy": groups}})


def test_what_clusters_bring_can_wait_and_what_a_person_changes_cannot(caches: Caches) -> None:
    events, key = EventMap(caches), Key("ns", "plain")
    first = {watch.resource: watch.map for watch in reversed(events.watches()) if watch.map is not None}
    assert not events.only_of_clusters(key)
    assert key in list(first[ManagedCluster.RESOURCE](cluster(region="here")))
    assert events.only_of_clusters(key)
    list(first[Placement.RESOURCE]({"metadata": {"name": "plain", "namespace": "ns"}, "spec": {}}))
    assert not events.only_of_clusters(key)
    events.take(key)
    assert not events.only_of_clusters(key)
