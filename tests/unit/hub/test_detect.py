"""What of OCM a hub runs, by what its operator and its processes leave there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from addon_framework.hub.detect import evidence

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def deployment(name: str, *args: str, replicas: int | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"template": {"spec": {"containers": [{"name": "c", "args": list(args)}]}}}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"metadata": {"name": name}, "spec": spec}


def lease(name: str, ago: float, holder: str = "pod-1") -> dict[str, Any]:
    renewed = (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "metadata": {"name": name},
        "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 137},
    }


def test_a_hub_that_the_operator_made() -> None:
    deployments = [
        deployment("cluster-manager-registration-controller"),
        deployment("cluster-manager-registration-webhook"),
        deployment("cluster-manager-placement-controller", replicas=3),
        deployment("cluster-manager-addon-manager-controller", replicas=1),
        deployment("cluster-manager-work-webhook"),
    ]
    found = evidence(deployments, [], NOW)
    assert sorted(found) == ["addons", "placement", "registration"]
    assert found["placement"].endswith("open-cluster-management-hub/cluster-manager-placement-controller")


def test_a_work_manager_without_replica_sets_leaves_them_to_us() -> None:
    held = [lease("work-manager-lock", 10)]
    off = deployment("cluster-manager-work-controller", "/work", "manager", "--feature-gates=Other=true")
    on = deployment("cluster-manager-work-controller", "--feature-gates=ManifestWorkReplicaSet=true")
    assert "work" not in evidence([off], held, NOW)
    assert "work" in evidence([on], [], NOW)
    assert "work" in evidence([], held, NOW)


def test_what_is_scaled_to_nothing_does_not_run() -> None:
    stopped = deployment("cm-registration-controller", replicas=0)
    assert evidence([stopped], [lease("registration-controller-lock", 1)], NOW) == {}


def test_processes_without_an_operator_are_seen_by_their_leases() -> None:
    leases = [
        lease("registration-controller-lock", 20),
        lease("placement-lock", 200),
        lease("manager-lock", 1, holder=""),
        lease("boundaryless-hub-manager", 1),
    ]
    assert sorted(evidence([], leases, NOW)) == ["registration"]
