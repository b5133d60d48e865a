from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.local.workloads.fit import is_within_reach, misfits, preference, requests

NODE: Json = {
    "metadata": {"name": "n1", "labels": {"zone": "a", "gpus": "4"}},
    "spec": {},
    "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "3", "nvidia.com/gpu": "4"}},
}


def spec(wanted: Json | None = None, **more: Any) -> Json:
    return {"containers": [{"name": "c", "resources": {"requests": wanted or {}}}], **more}


def required(*terms: Json) -> Json:
    return {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}
            }
        }
    }


def test_extended_resources_are_summed_over_the_node() -> None:
    assert misfits(spec({"nvidia.com/gpu": "2"}), NODE, [spec({"nvidia.com/gpu": "2"})]) == []
    assert misfits(spec({"nvidia.com/gpu": "3", "cpu": "3"}), NODE, [spec({"nvidia.com/gpu": "2"})]) == [
        "Insufficient cpu",
        "Insufficient nvidia.com/gpu",
    ]
    assert misfits(spec({"example.org/none": "1"}), NODE) == ["Insufficient example.org/none"]
    assert misfits(spec(), NODE, [spec()] * 3) == ["Too many pods"]


def test_requests_count_init_containers_and_sidecars() -> None:
    def container(cpu: str, **more: Any) -> Json:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    pod = {
        "containers": [container("1"), container("500m")],
        "initContainers": [container("1", restartPolicy="Always"), container("3")],
        "overhead": {"cpu": "100m"},
    }
    # The most is taken while the second init container runs beside the sidecar.
    assert {name: amount.value for name, amount in requests(pod).items()} == {"cpu": Decimal("4.1")}


@pytest.mark.parametrize(
    ("term", "fits"),
    [
        ({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "gpus", "operator": "Gt", "values": ["3"]}]}, True),
        ({"matchExpressions": [{"key": "gpus", "operator": "Lt", "values": ["3"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, False),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}, True),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}, False),
        ({}, False),
    ],
)
def test_affinity(term: Json, fits: bool) -> None:
    assert (misfits(spec(**required(term)), NODE) == []) is fits
    assert misfits(spec(**required({}, term)), NODE) == misfits(spec(**required(term)), NODE)
    preferred = [{"weight": 7, "preference": term}]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    assert preference(spec(affinity=affinity), NODE) == (7 if fits else 0)


def test_a_volume_may_be_within_reach_of_some_nodes_only() -> None:
    node: Json = {"metadata": {"name": "n", "labels": {"disk": "ssd"}}}
    for wanted, fits in (("ssd", True), ("hdd", False)):
        expression = {"key": "disk", "operator": "In", "values": [wanted]}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
        assert is_within_reach({"spec": {"nodeAffinity": {"required": terms}}}, node) is fits
    assert is_within_reach({"spec": {}}, node)


def test_selector() -> None:
    assert misfits(spec(nodeSelector={"zone": "a"}), NODE) == []
    assert misfits(spec(nodeSelector={"zone": "b"}), NODE) == [
        "node(s) didn't match Pod's node affinity/selector"
    ]


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "value": "yes"}, True),
        ({"key": "gpu", "value": "no"}, False),
        ({"key": "gpu", "value": "yes", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_taints(toleration: Json, fits: bool) -> None:
    node = {**NODE, "spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}}
    expected = [] if fits else ["node(s) had untolerated taint {gpu: yes}"]
    assert misfits(spec(tolerations=[toleration]), node) == expected


def test_cordoned_nodes_and_soft_taints() -> None:
    assert misfits(spec(), {**NODE, "spec": {"unschedulable": True}}) == ["node(s) were unschedulable"]
    soft = {"taints": [{"key": "x", "effect": "PreferNoSchedule"}]}
    assert misfits(spec(), {**NODE, "spec": soft}) == []
