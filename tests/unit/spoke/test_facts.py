"""What a cluster says of itself, and what an add-on's lease says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from addon_framework.api.time import micro_time
from addon_framework.spoke.registration.addon_health import verdict
from addon_framework.spoke.registration.addons import registrations
from addon_framework.spoke.registration.facts import claims, resources

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def node(unschedulable: bool = False, **quantities: str) -> dict[str, Any]:
    amounts = {name.replace("_", "."): value for name, value in quantities.items()}
    return {"spec": {"unschedulable": unschedulable}, "status": {"capacity": amounts, "allocatable": amounts}}


def test_nodes_are_summed_and_cordoned_ones_cannot_be_allocated() -> None:
    capacity, allocatable = resources(
        [node(cpu="1500m", memory="1Gi", gpu="4"), node(True, cpu="1", memory="512Mi", gpu="1")]
    )
    assert capacity == {"cpu": "2500m", "gpu": "5", "memory": "1536Mi"}
    assert allocatable == {"cpu": "1500m", "gpu": "4", "memory": "1Gi"}
    assert resources([]) == ({}, {})


def claim(name: str, value: str = "v", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"value": value}}


def test_reserved_claims_come_first_and_custom_ones_are_cut() -> None:
    hidden = claim("hidden")
    hidden["metadata"]["labels"]["open-cluster-management.io/spoke-only"] = ""
    found = claims(
        [*(claim(f"x{i:02}") for i in reversed(range(25))), claim("id.k8s.io"), hidden, claim("a", "")]
    )
    assert [c["name"] for c in found] == ["id.k8s.io", *(f"x{i:02}" for i in range(19))]


def test_the_lease_decides() -> None:
    lease = {"spec": {"renewTime": micro_time(NOW)}}
    assert verdict("a", None, timedelta())[:2] == ("Unknown", "ManagedClusterAddOnLeaseNotFound")
    assert verdict("a", lease, timedelta(minutes=1))[:2] == ("True", "ManagedClusterAddOnLeaseUpdated")
    stopped = verdict("a", lease, timedelta())
    assert stopped[:2] == ("False", "ManagedClusterAddOnLeaseUpdateStopped")


def addon(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "namespace": "c1"}, "spec": {}, "status": status}


def test_registrations_name_their_secrets() -> None:
    kube = {"signerName": "kubernetes.io/kube-apiserver-client", "subject": {"user": "u", "groups": ["g"]}}
    custom = {"signerName": "example.com/x", "subject": {"user": "u", "organizationUnit": ["o"]}}
    found = registrations(addon(namespace="ns", registrations=[kube, custom, {"signerName": "early.io/x"}]))
    assert [str(r.secret) for r in found] == ["ns/a-hub-kubeconfig", "ns/a-example.com-x-client-cert"]
    assert found[0].enrolment.request_prefix == "addon-c1-a-"
    assert found[1].enrolment.subject.units == ("o",)
    kinds = registrations(addon(kubeClientDriver="token", registrations=[kube, custom]))
    assert [r.by_token for r in kinds] == [True, False]
    assert (
        registrations(addon(registrations=[kube]))[0].secret.namespace
        == "open-cluster-management-agent-addon"
    )
