"""The ledger counts as the scheduler does, and an event at a time is the same as all at once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon_framework.kube.key import Key
from addons.resource_scorer.ledger import Free, Ledger, pod_requests
from addons.resource_scorer.views import Node, Pod

Json = dict[str, Any]
FAMILIES = {"cpu": ("cpu",), "mem": ("memory",), "gpu": ("nvidia.com/gpu", "amd.com/gpu")}
READY = [{"type": "Ready", "status": "True"}]


def container(*, always: bool = False, **requests: str) -> Json:
    named = {name.replace("gpu", "nvidia.com/gpu"): value for name, value in requests.items()}
    return {"resources": {"requests": named}} | ({"restartPolicy": "Always"} if always else {})


def pod(node: str = "n0", phase: str = "Running", *, containers: list[Json], **spec: Any) -> Pod:
    metadata = {"name": "p", "namespace": "d"}
    body = {"nodeName": node, "containers": containers, **spec}
    return msgspec.convert({"metadata": metadata, "spec": body, "status": {"phase": phase}}, Pod)


def node(
    allocatable: Json, *, conditions: list[Json] = READY, cordoned: bool = False, taints: Any = ()
) -> Node:
    spec = {"unschedulable": cordoned, "taints": list(taints)}
    status = {"allocatable": allocatable, "conditions": conditions}
    return msgspec.convert({"metadata": {"name": "n0"}, "spec": spec, "status": status}, Node)


def cpu(spec: Json) -> int:
    return pod_requests(pod(**spec)).get("cpu", 0)


@pytest.mark.parametrize(
    ("spec", "milli"),
    [
        ({"containers": [container(cpu="1"), container(cpu="500m")]}, 1500),
        ({"containers": [container(cpu="1")], "initContainers": [container(cpu="3")]}, 3000),
        ({"containers": [container(cpu="2")], "initContainers": [container(cpu="1")] * 2}, 2000),
        # A sidecar runs beside the containers, and beside the init containers after it, not before it.
        ({"containers": [container(cpu="1")], "initContainers": [container(always=True, cpu="1")]}, 2000),
        (
            {
                "containers": [container(cpu="1")],
                "initContainers": [container(always=True, cpu="1"), container(cpu="3")],
            },
            4000,
        ),
        (
            {
                "containers": [container(cpu="1")],
                "initContainers": [container(cpu="3"), container(always=True, cpu="1")],
            },
            3000,
        ),
        ({"containers": [container(cpu="1")], "overhead": {"cpu": "250m"}}, 1250),
        ({"containers": [{"resources": {"limits": {"cpu": "2"}}}]}, 2000),
        ({"containers": [container(cpu="1")], "resources": {"requests": {"cpu": "4"}}}, 4000),
        ({"containers": [{}]}, 0),
    ],
)
def test_a_pod_counts_as_for_the_scheduler(spec: Json, milli: int) -> None:
    assert cpu(spec) == milli


@pytest.mark.parametrize(
    ("changes", "schedulable"),
    [
        ({}, True),
        ({"cordoned": True}, False),
        ({"conditions": [{"type": "Ready", "status": "Unknown"}]}, False),
        ({"conditions": []}, False),
        ({"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}, False),
        ({"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}, False),
        ({"taints": [{"key": "node.kubernetes.io/x", "effect": "PreferNoSchedule"}]}, True),
        ({"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}, True),
    ],
)
def test_only_nodes_that_take_pods_count(changes: Json, schedulable: bool) -> None:
    ledger = Ledger(FAMILIES)
    ledger.set_node("n0", node({"cpu": "4"}, **changes))
    assert ledger.free()["cpu"] == (Free(4, 4) if schedulable else Free(0, 0))


def test_the_best_node_and_all_nodes() -> None:
    ledger = Ledger(FAMILIES)
    ledger.set_node("n0", node({"nvidia.com/gpu": 4, "cpu": "8", "memory": "2Gi"}))
    ledger.set_node("n1", node({"amd.com/gpu": "2"}))
    assert ledger.set_pod(Key("d", "p"), pod(containers=[container(gpu="1", cpu="1500m", memory="1Gi")]))
    assert ledger.free() == {"cpu": Free(6.5, 6.5), "mem": Free(2**30, 2**30), "gpu": Free(3, 5)}


def test_a_pod_that_came_before_its_node_and_one_that_has_ended() -> None:
    ledger = Ledger(FAMILIES)
    one, two = Key("d", "one"), Key("d", "two")
    assert not ledger.set_pod(one, pod(containers=[container(gpu="1")]))
    assert not ledger.set_pod(two, pod(phase="Succeeded", containers=[container(gpu="1")]))
    assert ledger.set_node("n0", node({"nvidia.com/gpu": "4"}))
    assert ledger.free()["gpu"] == Free(3, 3)
    assert not ledger.set_pod(one, pod(phase="Pending", containers=[container(gpu="1")]))
    assert ledger.set_pod(one, pod(phase="Failed", containers=[container(gpu="1")]))
    assert ledger.free()["gpu"] == Free(4, 4)


def test_what_a_claim_gives_is_not_requested_of_the_node_too() -> None:
    status = {"extendedResourceClaimStatus": {"requestMappings": [{"resourceName": "nvidia.com/gpu"}]}}
    body = {"spec": {"nodeName": "n0", "containers": [container(gpu="1", cpu="1")]}, "status": status}
    assert pod_requests(msgspec.convert(body, Pod)) == {"cpu": 1000}


def test_devices_are_free_where_they_are_and_those_of_no_node_everywhere() -> None:
    ledger = Ledger(FAMILIES)
    assert not ledger.set_devices("n0", {"gpu": 2})  # before its node
    assert ledger.set_node("n0", node({"nvidia.com/gpu": "1"}))
    assert ledger.free()["gpu"] == Free(3, 3)
    assert ledger.set_devices("", {"gpu": 4})
    assert ledger.free()["gpu"] == Free(4, 7)
    assert ledger.set_node("n0", node({}, cordoned=True))
    assert ledger.free()["gpu"] == Free(4, 4)


def test_what_is_used_of_what_there_is() -> None:
    ledger = Ledger(FAMILIES)
    ledger.set_node("n0", node({"cpu": "4", "memory": "4Gi"}))
    ledger.set_node("n1", node({"cpu": "12", "memory": "4Gi"}))
    ledger.set_node("n2", node({"cpu": "4"}, cordoned=True))
    usage = {name: {"cpu": 1000, "memory": 2**31 * 1000} for name in ("n0", "n1", "n2", "gone")}
    used = ledger.used(usage)
    assert used.keys() == {"cpu", "mem"}  # the metrics API knows no GPUs
    assert used["cpu"] == (1 / 12, 2 / 16)
    assert used["mem"] == (0.5, 0.5)
    assert ledger.used({}) == {}


def test_a_node_asked_for_too_much_takes_nothing_from_others() -> None:
    ledger = Ledger(FAMILIES)
    ledger.set_node("n0", node({"cpu": "1"}))
    ledger.set_node("n1", node({"cpu": "3"}))
    ledger.set_pod(Key("d", "p"), pod(containers=[container(cpu="2")]))
    assert ledger.free()["cpu"] == Free(3, 3)


quantity = st.sampled_from(["0", "1", "2", "100m", "333m", "0.1", "1500m", "7"])
resources = st.dictionaries(st.sampled_from(["cpu", "memory", "nvidia.com/gpu", "amd.com/gpu"]), quantity)
nodes = st.builds(
    node,
    resources,
    conditions=st.sampled_from([READY, READY, READY, []]),
    cordoned=st.sampled_from([False, False, True]),
)
pods = st.builds(
    pod,
    st.sampled_from(["n0", "n1", "n2", ""]),
    st.sampled_from(["Running", "Running", "Pending", "Failed"]),
    containers=st.lists(st.builds(lambda r: {"resources": {"requests": r}}, resources), max_size=2),
    initContainers=st.lists(st.builds(lambda r: {"resources": {"requests": r}}, resources), max_size=2),
)
events = st.one_of(
    st.tuples(st.just("node"), st.sampled_from(["n0", "n1", "n2"]), st.none() | nodes),
    st.tuples(st.just("pod"), st.sampled_from(["p0", "p1", "p2", "p3"]), st.none() | pods),
)


@given(st.lists(events, max_size=30))
def test_event_by_event_equals_all_at_once(history: list[tuple[str, str, Any]]) -> None:
    ledger = Ledger(FAMILIES)
    last: dict[tuple[str, str], Any] = {}
    for kind, name, obj in history:
        before = ledger.free()
        changed = ledger.set_node(name, obj) if kind == "node" else ledger.set_pod(Key("d", name), obj)
        assert changed or ledger.free() == before
        last[kind, name] = obj
    assert ledger.free() == recomputed(last)


def recomputed(objects: dict[tuple[str, str], Any]) -> dict[str, Free]:
    """The same, from the definition."""
    fresh: dict[str, list[float]] = {family: [0] for family in FAMILIES}
    for (kind, name), node in objects.items():
        if kind != "node" or node is None or not node.schedulable:
            continue
        one = Ledger(FAMILIES)
        one.set_node(name, node)
        has = {family: free.node for family, free in one.free().items()}
        on_it = [p for (k, _), p in objects.items() if k == "pod" and p is not None and p.node == name]
        for family, names in FAMILIES.items():
            wants = sum(pod_requests(p).get(resource, 0) for p in on_it for resource in names)
            fresh[family].append(max(0, round(has[family] * 1000) - wants))
    return {family: Free(max(free) / 1000, sum(free) / 1000) for family, free in fresh.items()}
