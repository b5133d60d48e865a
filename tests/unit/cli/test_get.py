"""Tables: every kind shows what a person looks for, also when a status is still empty."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from addon_framework.cli.get.printer import Table, print_documents
from addon_framework.cli.get.view import Row, View, age
from addon_framework.cli.get.views import VIEWS

Json = dict[str, Any]
NOW = datetime(2026, 1, 10, tzinfo=UTC)
BY_NAME = {view.name: view for view in VIEWS}


def obj(name: str = "x", namespace: str = "ns", **body: Any) -> Json:
    return {"metadata": {"name": name, "namespace": namespace}, **body}


def condition(kind: str, status: str, message: str = "") -> Json:
    return {"type": kind, "status": status, "message": message}


def shown(view: View, row: Row) -> dict[str, str]:
    return dict(zip(view.headings(True), view.cells(row, True), strict=False))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_an_object_of_which_nothing_is_known_yet(view: View) -> None:
    cells = view.cells(Row(obj(), "cluster1"), True)
    assert len(cells) == len(view.headings(True)) - 1
    assert "None" not in cells


def test_clusters() -> None:
    status = {
        "allocatable": {"cpu": "8", "memory": "16Gi", "nvidia.com/gpu": "4", "amd.com/gpu": "1"},
        "conditions": [condition("ManagedClusterJoined", "True")],
        "version": {"kubernetes": "v1.34"},
    }
    cells = shown(BY_NAME["clusters"], Row(obj(spec={"hubAcceptsClient": True}, status=status)))
    assert cells["ACCEPTED"] == cells["JOINED"] == "True"
    assert cells["AVAILABLE"] == "Unknown"
    assert (cells["CPU"], cells["MEMORY"], cells["GPU"], cells["VERSION"]) == ("8", "16Gi", "5", "v1.34")


def test_an_addon_says_what_its_deletion_waits_for_and_what_has_failed() -> None:
    status = {
        "namespace": "agents",
        "conditions": [
            condition("ManifestApplied", "False", "the bucket is not there"),
            condition("Available", "Unknown", "nothing is applied yet"),
        ],
    }
    addon = obj(status=status)
    addon["metadata"]["annotations"] = {"addon.open-cluster-management.io/hosting-cluster-name": "host"}
    cells = shown(BY_NAME["addons"], Row(addon))
    assert cells["DELETION"] == "-"
    assert (cells["HOSTED BY"], cells["MANIFESTS"]) == ("host", "False")
    assert cells["MESSAGE"] == "the bucket is not there; nothing is applied yet"
    addon["metadata"] |= {"deletionTimestamp": "2026-01-09T00:00:00Z", "finalizers": ["a/b"]}
    cells = shown(BY_NAME["addons"], Row(addon))
    assert cells["DELETION"].startswith("for ")
    assert cells["WAITS FOR"] == "finalizers: a/b"
    status["conditions"] = [condition("HookManifestCompleted", "False", "Job n/clean is not done")]
    assert shown(BY_NAME["addons"], Row(addon))["WAITS FOR"] == "Job n/clean is not done"


def test_placements_show_the_clusters_of_all_their_decisions() -> None:
    view = BY_NAME["placements"]
    label = {"cluster.open-cluster-management.io/placement": "x"}
    decisions = [
        {"metadata": {"namespace": "ns", "labels": label}, "status": {"decisions": [{"clusterName": name}]}}
        for name in ("b", "a")
    ]
    assert all(view.belongs(obj(), decision) for decision in decisions)
    assert not view.belongs(obj(namespace="other"), decisions[0])
    assert not view.belongs(obj(name="y"), decisions[0])
    assert shown(view, Row(obj(), related=decisions))["CLUSTERS"] == "a,b"


def test_inference() -> None:
    status = {
        "readyReplicas": 1,
        "desiredReplicas": 2,
        "clusters": [{"name": "a"}, {"name": "b", "message": "no GPU is free"}],
        "conditions": [
            condition("Ready", "False", "waiting"),
            {**condition("DataReady", "False"), "reason": "SourceUnreadable"},
        ],
    }
    cells = shown(BY_NAME["inference"], Row(obj(status=status)))
    assert (cells["READY"], cells["DATA"], cells["CLUSTERS"]) == ("1/2", "SourceUnreadable", "a,b")
    assert cells["MESSAGE"] == "waiting; b: no GPU is free"
    status["conditions"][0]["message"] = "0 of 2 replicas answer: no GPU is free"  # which needs no repetition
    assert shown(BY_NAME["inference"], Row(obj(status=status)))["MESSAGE"].endswith("answer: no GPU is free")


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(hours=2), "2h"),
        (timedelta(hours=48), "2d"),
    ],
)
def test_age(passed: timedelta, text: str) -> None:
    created = (NOW - passed).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert age({"metadata": {"creationTimestamp": created}}, NOW) == text


def test_columns_stay_aligned_and_a_row_that_is_gone_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(BY_NAME["works"], wide=False)
    table.print([Row(obj("a", "cluster1")), Row(obj("longer-name", "c"))])
    table.print([Row(obj("a", "cluster1"))], ages=["gone"])
    heading, first, second, gone = capsys.readouterr().out.splitlines()
    assert heading.index("APPLIED") == first.index("Unknown") == second.index("Unknown")
    assert gone.endswith("gone")
    assert gone.index("Unknown") == heading.index("APPLIED")


def test_documents(capsys: pytest.CaptureFixture[str]) -> None:
    view = BY_NAME["clusters"]
    rows = [Row({"metadata": {"name": "a", "managedFields": [1]}})]
    print_documents(view, rows, "json", whole=False)
    assert '"kind": "ManagedCluster"' in (out := capsys.readouterr().out)
    assert "managedFields" not in out
    print_documents(view, rows, "yaml", whole=True)
    assert capsys.readouterr().out.startswith(
        "---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: cluster.open-"
    )
    print_documents(view, rows, "name", whole=True)
    assert capsys.readouterr().out == "managedcluster.cluster.open-cluster-management.io/a\n"


def test_documents_of_spokes_say_which_cluster_has_each(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row(obj("x"), cluster) for cluster in ("cluster1", "cluster2")]
    rows[0].obj["metadata"]["labels"] = {"a": "b"}
    print_documents(BY_NAME["datasets"], rows, "json", whole=True)
    items = json.loads(capsys.readouterr().out)["items"]
    label = "open-cluster-management.io/cluster-name"
    assert [item["metadata"]["labels"] for item in items] == [
        {"a": "b", label: "cluster1"},
        {label: "cluster2"},
    ]
