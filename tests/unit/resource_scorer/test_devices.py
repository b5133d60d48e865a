"""Free devices of dynamic resource allocation: pools, claims, partitions; event by event as all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from addon_framework.kube.key import Key
from addons.resource_scorer.devices import Devices

Json = dict[str, Any]
DRIVER = "gpu.nvidia.com"


def device(name: str, kind: str = "gpu", **more: Any) -> Json:
    return {"name": name, "attributes": {"type": {"string": kind}}, **more}


def resource_slice(
    devices: Sequence[Json], node: str = "n0", generation: int = 1, driver: str = DRIVER, **more: Any
) -> Json:
    pool = {"name": node or "shared", "generation": generation, "resourceSliceCount": 1}
    where = {"nodeName": node} if node else {"allNodes": True}
    return {"spec": {"driver": driver, "pool": pool, "devices": list(devices), **where, **more}}


def claim(*devices: str, node: str = "n0", **more: Any) -> Json:
    results = [{"driver": DRIVER, "pool": node, "device": name, **more} for name in devices]
    return {"status": {"allocation": {"devices": {"results": results}}}}


def free(devices: Devices, node: str = "n0") -> int:
    return devices.free_on(node).get(DRIVER, 0)


def test_what_claims_hold_is_not_free() -> None:
    devices = Devices([DRIVER])
    assert devices.set_slice("s", resource_slice([device("a"), device("b")])) == {"n0"}
    assert free(devices) == 2
    assert devices.set_claim(Key("d", "c"), claim("a")) == {"n0"}
    assert free(devices) == 1
    assert devices.set_claim(Key("d", "look"), claim("b", adminAccess=True)) == set()
    assert free(devices) == 1
    assert devices.set_claim(Key("d", "pending"), {"spec": {}}) == set()
    assert devices.set_claim(Key("d", "c"), None) == {"n0"}
    assert free(devices) == 2
    assert devices.set_slice("s", None) == {"n0"}
    assert devices.free_on("n0") == {}


def test_only_drivers_that_are_asked_for_and_the_newest_of_a_pool() -> None:
    devices = Devices([DRIVER])
    devices.set_slice("other", resource_slice([device("nic")], driver="nic.example.com"))
    devices.set_slice("old", resource_slice([device("a"), device("b"), device("c")], generation=1))
    devices.set_slice("new", resource_slice([device("a")], generation=2))
    assert devices.free_on("n0") == {DRIVER: 1}


def test_tainted_and_shared_devices() -> None:
    devices = Devices([DRIVER])
    bad = device("bad", taints=[{"key": "broken", "effect": "NoExecute"}])
    devices.set_slice("s", resource_slice([bad, device("many", allowMultipleAllocations=True)]))
    devices.set_claim(Key("d", "c"), claim("many"))
    assert free(devices) == 1
    devices.set_slice("shared", resource_slice([device("a")], node=""))
    assert free(devices, "") == 1


def test_a_gpu_of_which_a_part_is_taken_is_not_free_and_parts_are_no_gpus() -> None:
    def of(amount: str) -> list[Json]:
        return [{"counterSet": "gpu-0", "counters": {"memory": {"value": amount}}}]

    counters = [{"name": "gpu-0", "counters": {"memory": {"value": "80Gi"}}}]
    whole = device("gpu-0", consumesCounters=of("80Gi"))
    parts = [device(f"mig-{i}", "mig", consumesCounters=of("40Gi")) for i in range(2)]
    devices = Devices([DRIVER])
    devices.set_slice("s", resource_slice([whole, *parts], sharedCounters=counters))
    assert free(devices) == 1
    devices.set_claim(Key("d", "c"), claim("mig-0"))
    assert free(devices) == 0
    devices.set_slice("s", resource_slice(parts, sharedCounters=counters))
    assert free(devices) == 1  # there are only parts: then they are what is counted


names = st.sampled_from(["a", "b", "c"])
slices = st.builds(
    lambda listed, node, generation: resource_slice([device(n) for n in listed], node, generation),
    st.lists(names, unique=True),
    st.sampled_from(["n0", "n1"]),
    st.integers(1, 2),
)
claims = st.builds(
    lambda listed, node: claim(*listed, node=node), st.lists(names), st.sampled_from(["n0", "n1"])
)
events = st.one_of(
    st.tuples(st.just("slice"), st.sampled_from(["s", "t"]), st.none() | slices),
    st.tuples(st.just("claim"), st.sampled_from(["x", "y"]), st.none() | claims),
)


@given(st.lists(events, max_size=20))
def test_event_by_event_equals_all_at_once(history: list[tuple[str, str, Any]]) -> None:
    devices, last = Devices([DRIVER]), {}
    known: dict[str, dict[str, int]] = {}
    for kind, name, obj in history:
        into = devices.set_slice(name, obj) if kind == "slice" else devices.set_claim(Key("d", name), obj)
        known |= {node: devices.free_on(node) for node in into}
        last[kind, name] = obj
    fresh = Devices([DRIVER])
    for (kind, name), obj in last.items():
        if kind == "slice":
            fresh.set_slice(name, obj)
        else:
            fresh.set_claim(Key("d", name), obj)
    for node in ("n0", "n1"):
        assert known.get(node, {}) == fresh.free_on(node)
