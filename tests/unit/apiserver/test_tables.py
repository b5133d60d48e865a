"""Tables: what kubectl get prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.tables import to_table
from addon_framework.local.apiserver.tables.builtin import printers
from addon_framework.local.apiserver.tables.cells import duration

NOW = datetime(2026, 1, 1, 2, tzinfo=UTC)
CREATED = "2026-01-01T00:00:00Z"


def row(group: str, plural: str, obj: Json) -> dict[str, Any]:
    obj = {"metadata": {"name": "x", "creationTimestamp": CREATED}, **obj}
    table = to_table(f"{plural}.{group}".rstrip("."), [obj], None, "None", NOW)
    names = [each["name"] for each in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize("resource", printers())
def test_every_printer_copes_with_an_empty_object(resource: str) -> None:
    plural, _, group = resource.partition(".")
    assert row(group, plural, {})


def running(**more: Any) -> Json:
    return {"name": "a", "ready": True, "state": {"running": {}}, **more}


@pytest.mark.parametrize(
    ("status", "ready", "shown", "restarts"),
    [
        ({"phase": "Pending"}, "0/1", "Pending", "0"),
        ({"phase": "Running", "containerStatuses": [running()]}, "1/1", "Running", "0"),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    running(restartCount=2, lastState={"terminated": {"finishedAt": "2026-01-01T01:59:00Z"}})
                ],
            },
            "1/1",
            "Running",
            "2 (60s ago)",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "ErrImagePull"}}}],
            },
            "0/1",
            "ErrImagePull",
            "0",
        ),
        (
            {
                "phase": "Failed",
                "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 3}}}],
            },
            "0/1",
            "ExitCode:3",
            "0",
        ),
    ],
)
def test_pods(status: Json, ready: str, shown: str, restarts: str) -> None:
    cells = row("", "pods", {"spec": {"containers": [{"name": "a"}]}, "status": status})
    assert (cells["Ready"], cells["Status"], cells["Restarts"], cells["Age"]) == (
        ready,
        shown,
        restarts,
        "120m",
    )


def test_init_containers_are_counted_down() -> None:
    spec = {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]}
    status = {
        "phase": "Pending",
        "initContainerStatuses": [
            {"name": "i", "state": {"terminated": {"exitCode": 0}}},
            {"name": "j", "state": {"running": {}}},
        ],
    }
    assert row("", "pods", {"spec": spec, "status": status})["Status"] == "Init:1/2"


def test_workloads_and_services() -> None:
    cells = row(
        "apps", "deployments", {"spec": {"replicas": 3}, "status": {"readyReplicas": 1, "updatedReplicas": 2}}
    )
    assert (cells["Ready"], cells["Up-to-date"], cells["Available"]) == ("1/3", 2, 0)
    service = {
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "127.1.0.1",
            "ports": [{"port": 80, "nodePort": 3, "protocol": "TCP"}],
        }
    }
    cells = row("", "services", service)
    assert (cells["External-IP"], cells["Port(s)"]) == ("<pending>", "80:3/TCP")
    job = {
        "spec": {"completions": 1},
        "status": {
            "succeeded": 1,
            "startTime": CREATED,
            "completionTime": "2026-01-01T00:01:05Z",
            "conditions": [{"type": "Complete", "status": "True"}],
        },
    }
    cells = row("batch", "jobs", job)
    assert (cells["Status"], cells["Completions"], cells["Duration"]) == ("Complete", "1/1", "65s")


@pytest.mark.parametrize(
    ("metric", "measured", "shown"),
    [
        (
            {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}},
            {"resource": {"current": {"averageUtilization": 7}}},
            "cpu: 7%/50%",
        ),
        (
            {"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1Gi"}}},
            {},
            "memory: <unknown>/1Gi",
        ),
        (
            {"type": "External", "external": {"metric": {"name": "q"}, "target": {"averageValue": "3"}}},
            {"external": {"current": {"averageValue": "2"}}},
            "2/3 (avg)",
        ),
        (
            {"type": "Object", "object": {"target": {"value": "9"}}},
            {"object": {"current": {"value": "4"}}},
            "4/9",
        ),
    ],
)
def test_what_autoscalers_watch(metric: Json, measured: Json, shown: str) -> None:
    obj: Json = {"spec": {"metrics": [metric]}, "status": {"currentMetrics": [measured]}}
    assert row("autoscaling", "horizontalpodautoscalers", obj)["Targets"] == shown
    obj["spec"]["metrics"] *= 3
    assert row("autoscaling", "horizontalpodautoscalers", obj)["Targets"].endswith(" + 1 more...")


def test_quotas_ingresses_and_owners() -> None:
    hard = {"pods": "4", "limits.cpu": "2", "requests.cpu": "1"}
    cells = row("", "resourcequotas", {"status": {"hard": hard, "used": {"pods": "1"}}})
    assert (cells["Request"], cells["Limit"]) == ("pods: 1/4, requests.cpu: 0/1", "limits.cpu: 0/2")
    points = [{"hostname": "balancer.example.com"}]
    rules = [{"host": name} for name in "abcd"]
    ingress = {"spec": {"rules": rules}, "status": {"loadBalancer": {"ingress": points}}}
    cells = row("networking.k8s.io", "ingresses", ingress)
    assert (cells["Hosts"], cells["Address"], cells["Ports"]) == (
        "a,b,c + 1 more...",
        "balancer.exam...",
        "80",
    )
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": True}
    cells = row("apps", "controllerrevisions", {"metadata": {"name": "x", "ownerReferences": [owner]}})
    assert cells["Controller"] == "statefulset.apps/web"


def test_custom_columns_and_what_comes_along() -> None:
    columns: list[Json] = [
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "N", "type": "integer", "jsonPath": ".spec.n", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "List", "type": "string", "jsonPath": ".spec.l"},
        {"name": "Gone", "type": "string", "jsonPath": ".spec.nope"},
    ]
    obj: Json = {
        "apiVersion": "e.com/v1",
        "kind": "T",
        "metadata": {"name": "x", "creationTimestamp": CREATED},
        "spec": {"n": 3, "l": ["a"]},
        "status": {"conditions": [{"type": "Other"}, {"type": "Ready", "status": "True"}]},
    }
    table = to_table("ts.e.com", [obj], columns, "", NOW)
    assert table["rows"][0]["cells"] == ["x", "True", 3, "120m", '["a"]', None]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table["columnDefinitions"][2]["priority"] == 1
    assert to_table("ts.e.com", [obj], columns, "Object", NOW)["rows"][0]["object"] is obj
    assert "object" not in to_table("ts.e.com", [obj], None, "None", NOW)["rows"][0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (3600, "60m"),
        (4 * 3600, "4h"),
        (3 * 86400, "3d"),
        (4 * 86400 + 3600, "4d1h"),
        (20 * 86400, "20d"),
        (800 * 86400, "2y70d"),
        (-60, "<invalid>"),
    ],
)
def test_ages(seconds: int, text: str) -> None:
    assert duration(seconds) == text
