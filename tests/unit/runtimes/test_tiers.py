"""Tiers of a cache, as directories and volumes of its pods."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from runtimes.interface import Cache
from runtimes.tiers import node_directories, tier_problems, tiers
from runtimes.workloads import memory_problems, memory_request


def cache(*levels: Json, **spec: Any) -> Cache:
    """With these levels."""
    metadata: Json = {"namespace": "demo", "name": "model"}
    runtime: Json = {"kind": "AlluxioRuntime", "metadata": metadata}
    runtime["spec"] = {"tieredstore": {"levels": list(levels)}, **spec}
    return Cache.of({"metadata": metadata, "spec": {}}, runtime, image="us")


def test_levels_are_numbered_from_the_fastest_and_have_directories_of_their_own() -> None:
    disk = {"mediumtype": "SSD", "path": "/mnt/a, /mnt/b/", "quota": "4Gi", "high": "0.9", "low": "0.5"}
    memory, ssd = tiers(cache(disk, {"mediumtype": "MEM", "quota": "1Gi"}))
    assert (memory.medium, memory.paths, memory.quotas) == ("MEM", ("/dev/shm/demo/model",), (1 << 30,))
    assert ssd.paths == ("/mnt/a/demo/model", "/mnt/b/demo/model")
    assert ssd.quotas == (2 << 30, 2 << 30)
    assert (ssd.high, ssd.low) == ("0.9", "0.5")
    assert [v["hostPath"]["path"] for v in ssd.volumes] == list(ssd.paths)
    assert [m["mountPath"] for m in ssd.mounts] == list(ssd.paths)


def test_each_path_may_have_a_quota_of_its_own() -> None:
    (tier,) = tiers(cache({"mediumtype": "HDD", "path": "/a,/b", "quotaList": "1Gi,2Gi"}))
    assert tier.quotas == (1 << 30, 2 << 30)


def test_what_ends_with_the_pod_is_not_to_be_removed_from_nodes() -> None:
    kept = {"mediumtype": "SSD", "path": "/mnt", "quota": "2Gi"}
    gone = {"mediumtype": "MEM", "volumeType": "emptyDir", "quota": "1Gi"}
    made = cache(kept, gone)
    assert tiers(made)[0].volumes[0]["emptyDir"] == {"medium": "Memory", "sizeLimit": str(1 << 30)}
    assert node_directories(made) == ["/mnt/demo/model"]


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (
            {"mediumtype": "SSD", "path": "/a,/b", "quotaList": "1Gi"},
            "quotaList: there are 2 paths and 1 ",
        ),
        ({"mediumtype": "SSD", "path": "/a"}, "levels[0].quota: neither it nor quotaList"),
        ({"mediumtype": "SSD", "path": "a", "quota": "1Gi"}, "levels[0].path: 'a' is not an absolute path"),
        ({"mediumtype": "SSD", "path": "/a", "quota": "much"}, "levels[0].quota: "),
        ({"mediumtype": "SSD", "path": "/a", "quota": "1Gi", "high": "95%"}, "levels[0].high: '95%'"),
        ({"mediumtype": "SSD", "path": "/a,/a", "quota": "1Gi"}, "path /a/demo/model is there twice"),
    ],
)
def test_what_is_wrong_is_said_with_the_field(level: Json, said: str) -> None:
    (problem,) = tier_problems(cache(level))
    assert said in problem
    assert problem.startswith("AlluxioRuntime demo/model: spec.tieredstore.levels")


def test_memory_of_tiers_is_the_workers() -> None:
    level = {"mediumtype": "MEM", "quota": "2Gi"}
    assert memory_request(cache(level)) == {"resources": {"requests": {"memory": str(2 << 30)}}}
    enough = {"resources": {"requests": {"memory": "3Gi"}}}
    assert memory_request(cache(level, worker=enough)) == enough
    little: Json = {"resources": {"limits": {"memory": "1Gi"}}}
    (problem,) = memory_problems(cache(level, worker=little))
    assert "spec.worker.resources.limits.memory: 1Gi is less" in problem
