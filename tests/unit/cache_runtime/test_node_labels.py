"""Which labels nodes have for a Dataset: Fluid's."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.node_labels import changes, wanted
from runtimes.alluxio import AlluxioBackend
from runtimes.cacheclass import ClassBackend
from runtimes.interface import Backend, Cache
from runtimes.juicefs import JuiceFSBackend
from runtimes.local import LocalBackend

TIERS: Json = {
    "levels": [
        {"mediumtype": "MEM", "quota": "2Gi"},
        {"mediumtype": "SSD", "path": "/a,/b", "quotaList": "512Mi,1Gi"},
    ]
}


def binding(backend: Backend, name: str = "m", uid: str = "u", **spec: Any) -> Binding:
    metadata = {"name": name, "namespace": "demo", "uid": uid}
    dataset: Json = {"kind": "Dataset", "metadata": metadata, "spec": spec.pop("dataset", {})}
    runtime: Json = {"kind": backend.resource.kind, "metadata": metadata, "spec": spec}
    return Binding(dataset, runtime, backend, Cache.of(dataset, runtime, image="agent"))


def test_a_node_with_a_cache_says_of_whom_how_much_and_whether_it_is_alone() -> None:
    assert wanted(binding(AlluxioBackend(), tieredstore=TIERS), cache=True, client="") == {
        "fluid.io/s-demo-m": "true",
        "fluid.io/s-alluxio-demo-m": "true",
        "fluid.io/s-h-alluxio-m-demo-m": "2GiB",
        "fluid.io/s-h-alluxio-d-demo-m": "1.5GiB",
        "fluid.io/s-h-alluxio-t-demo-m": "3.5GiB",
        "fluid_exclusive": "demo_m",
    }


def test_a_node_that_only_mounts_it_says_only_that() -> None:
    made = wanted(binding(AlluxioBackend(), tieredstore=TIERS), cache=False, client="true")
    assert made == {"fluid.io/f-demo-m": "true"}


def test_a_node_whose_client_has_gone_still_says_so() -> None:
    bound = binding(AlluxioBackend())
    assert changes(bound, {"fluid.io/f-demo-m": "true"}, cache=False, client="idle") == {
        "fluid.io/f-demo-m": "idle"
    }


def test_a_shared_cache_without_a_limit_claims_neither() -> None:
    made = wanted(binding(LocalBackend(), dataset={"placement": "Shared"}), cache=True, client="")
    assert made == {"fluid.io/s-demo-m": "true", "fluid.io/s-local-demo-m": "true"}


def test_a_cache_that_its_clients_hold_takes_no_node_for_itself() -> None:
    bucket = {"mountPoint": "s3://bucket", "name": "m", "options": {"endpoint": "http://e"}}
    copy = binding(JuiceFSBackend(), dataset={"mounts": [bucket], "placement": "Exclusive"})
    made = wanted(copy, cache=True, client="true")
    assert made == {
        "fluid.io/s-demo-m": "true",
        "fluid.io/s-juicefs-demo-m": "true",
        "fluid.io/f-demo-m": "true",
    }


def test_tiers_of_a_cache_runtime() -> None:
    levels = [
        {"processMemory": {"quota": "1Gi"}},
        {"hostPath": {"paths": ["/a", "/b"], "quotas": ["1Gi", "2Gi"]}},
    ]
    made = wanted(binding(ClassBackend(), worker={"tieredStore": {"levels": levels}}), cache=True, client="")
    assert [made[f"fluid.io/s-h-{ClassBackend.type}-{tier}-demo-m"] for tier in "mdt"] == [
        "1GiB",
        "3GiB",
        "4GiB",
    ]


def test_names_too_long_for_a_label_are_uids() -> None:
    name = "m" * 50
    made = wanted(binding(AlluxioBackend(), name, "uid-1", tieredstore=TIERS), cache=True, client="")
    assert f"fluid.io/s-demo-{name}" in made  # 58 characters
    assert {"fluid.io/s-h-alluxio-m-uid-1", "fluid.io/s-h-alluxio-t-uid-1"} <= made.keys()
    assert all(len(label.rpartition("/")[2]) <= 63 and len(value) <= 63 for label, value in made.items())
    longer = wanted(binding(AlluxioBackend(), "m" * 63, "uid-1"), cache=True, client="true")
    assert longer["fluid_exclusive"] == "uid-1"
    assert {"fluid.io/s-uid-1", "fluid.io/f-uid-1"} <= longer.keys()


def test_only_differences_are_written_and_others_labels_are_left_alone() -> None:
    bound = binding(AlluxioBackend(), tieredstore=TIERS)
    there = {**wanted(bound, cache=True, client="true"), "zone": "a", "fluid.io/s-demo-other": "true"}
    assert changes(bound, there, cache=True, client="true") == {}
    smaller = binding(AlluxioBackend(), tieredstore={"levels": TIERS["levels"][:1]})
    assert changes(smaller, there, cache=True, client="true") == {
        "fluid.io/s-h-alluxio-d-demo-m": None,
        "fluid.io/s-h-alluxio-t-demo-m": "2GiB",
    }
    assert set(changes(bound, there, cache=False, client="")) == set(wanted(bound, cache=True, client="true"))
    assert changes(bound, {"fluid_exclusive": "demo_other"}, cache=False, client="") == {}
