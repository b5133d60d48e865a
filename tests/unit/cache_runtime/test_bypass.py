"""What the copy beside a slow cache is, and where there can be none."""

from __future__ import annotations

from typing import Any, cast

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Key, key_of
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding, Resolver
from addons.cache_runtime.agent.bypass import Bypass, copies, original_of, redirect
from addons.cache_runtime.agent.names import DATASETS
from runtimes.interface import Backend, Cache
from runtimes.juicefs import JuiceFSBackend
from runtimes.local import LocalBackend
from runtimes.thin import ThinBackend

BYPASS = {"data.boundaryless.io/bypass": "auto"}
SLOW: Json = {
    "conditions": [{"type": "CacheSlowerThanSource", "status": "True"}],
    "numbers": {"cacheBytesPerSecond": 5},
}


Objects = dict[Key, Json]  # of an informer


class Written:
    """A client that keeps what is applied and deleted."""

    def __init__(self) -> None:
        self.applied: list[str] = []

    async def apply(self, obj: Json, **_: Any) -> None:
        self.applied.append(obj["kind"])


def binding(
    backend: Backend, runtime: Json, *, profile: Json | None = None, status: Json | None = None, **spec: Any
) -> Binding:
    metadata = {"name": "m", "namespace": "demo", "uid": "u"}
    mount = {"mountPoint": "s3://b/m", "name": "files", "options": {"region": "eu-west-1"}}
    dataset: Json = {
        "apiVersion": "data.fluid.io/v1alpha1",
        "kind": "Dataset",
        "metadata": {**metadata, "annotations": BYPASS},
        "spec": {"mounts": [mount], "tolerations": [{"key": "gpu"}], "dataRestoreLocation": None, **spec},
        "status": status or {},
    }
    made: Json = {"kind": backend.resource.kind, "metadata": metadata, "spec": runtime}
    return Binding(dataset, made, backend, Cache.of(dataset, made, image="x", profile=profile))


def rclone(**more: Any) -> Binding:
    return binding(ThinBackend(), {"replicas": 2, "profileName": "rclone"}, **more)


async def kept(bound: Binding, there: dict[Resource, Objects] | None = None) -> tuple[Json, list[str]]:
    """The condition, and kinds of what was written."""
    client = Written()
    known = there or {}

    def cache(resource: Resource) -> AnyInformer:
        return cast(AnyInformer, known.get(resource, Objects()))

    resolver = Resolver([LocalBackend()], "x", cache)
    status: Json = {**SLOW, "conditions": [dict(c) for c in SLOW["conditions"]]}
    await Bypass(cast(Client, client), cache, resolver).keep(bound, status)
    return get_condition(status["conditions"], "Bypassed") or {}, client.applied


def test_the_copy_has_the_files_where_the_cache_has_them() -> None:
    made = {obj["kind"]: obj for _, obj in copies(rclone())}
    assert {key_of(obj) for obj in made.values()} == {Key("demo", "m-bypass")}
    (mount,) = made["Dataset"]["spec"]["mounts"]
    assert (mount["path"], mount["mountPoint"], mount["options"]) == (
        "/",
        "s3://b/m",
        {"region": "eu-west-1"},
    )
    assert made["Dataset"]["spec"]["tolerations"] == [{"key": "gpu"}]
    assert "dataRestoreLocation" not in made["Dataset"]["spec"]
    assert made["LocalRuntime"]["spec"] == {"replicas": 2}
    assert original_of(made["Dataset"]) == original_of(made["DataLoad"]) == [Key("demo", "m")]
    level = {"mediumtype": "SSD", "path": "/disk", "quota": "1Gi"}
    juicefs = binding(JuiceFSBackend(), {"replicas": 2, "tieredstore": {"levels": [level]}})
    held = {obj["kind"]: obj for _, obj in copies(juicefs)}["LocalRuntime"]["spec"]
    assert held == {"replicas": 2, "tieredstore": {"levels": [{"mediumtype": "SSD", "path": "/disk"}]}}


async def test_all_parts_are_made_at_once_and_until_then_pods_read_the_cache() -> None:
    condition, applied = await kept(rclone())
    assert applied == ["Dataset", "LocalRuntime", "DataLoad"]
    assert (condition["status"], condition["reason"]) == ("False", "Copying")


PROFILE: Json = {"metadata": {"name": "own"}, "spec": {}}


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        (rclone(accessModes=["ReadWriteMany"]), "only ReadOnlyMany is possible"),
        (rclone(mounts=[{"mountPoint": "juicefs:///", "name": "a"}]), "must be one of"),
        (binding(ThinBackend(), {"profileName": "own"}, profile=PROFILE), "known to its own client only"),
        (binding(LocalBackend(), {}), "is a copy on nodes already"),
    ],
)
async def test_where_there_can_be_no_copy_the_condition_says_why(bound: Binding, words: str) -> None:
    condition, applied = await kept(bound)
    assert (condition["status"], condition["reason"], applied) == ("False", "NotPossible", [])
    assert words in condition["message"]


async def test_what_somebody_else_made_of_that_name_is_left_alone() -> None:
    theirs = Objects({Key("demo", "m-bypass"): {"metadata": {"name": "m-bypass", "namespace": "demo"}}})
    condition, applied = await kept(rclone(), {DATASETS: theirs})
    assert applied == []
    assert "Dataset demo/m-bypass exists and is not ours" in condition["message"]


def test_a_claim_is_changed_only_to_that_of_a_copy_that_is_there() -> None:
    def claim(original: Json, made: Json | None) -> str:
        pod: Json = {"spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "m"}}, {"emptyDir": {}}]}}
        there = Objects({Key("demo", "m"): original})
        if made is not None:
            there[Key("demo", "m-bypass")] = made
        redirect(pod, "demo", cast(AnyInformer, there))
        return str(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"])

    original = {"status": {"conditions": [{"type": "Bypassed", "status": "True"}]}}
    made = {**copies(rclone())[0][1], "status": {"phase": "Bound"}}
    going = {**made, "metadata": {**made["metadata"], "deletionTimestamp": "now"}}
    assert claim(original, made) == "m-bypass"
    for other in (None, going, {**made, "status": {"phase": "Pending"}}):
        assert claim(original, other) == "m"
    assert claim({"status": {}}, made) == "m"
