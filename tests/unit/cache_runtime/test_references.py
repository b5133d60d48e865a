"""Which Datasets may show the data of another, and what their volumes are."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.data import Dataset
from addon_framework.api.meta import Json
from addon_framework.kube import Key
from addons.cache_runtime.admission.sidecar import needs
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.reference_rules import (
    Reference,
    is_reference,
    notes,
    outside,
    problems,
    reference_of,
)
from addons.cache_runtime.agent.volumes import is_stranger, referring_claim, referring_volume
from runtimes.interface import Cache
from runtimes.local import LocalBackend
from tests.unit.runtimes.fields import Path, changed, leaves, spec_of


def dataset(
    name: str, *urls: str, namespace: str = "team", references: str | None = None, **spec: Any
) -> Json:
    metadata: Json = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
    if references is not None:
        metadata["annotations"] = {"data.boundaryless.io/references": references}
    return {"metadata": metadata, "spec": {"mounts": [{"mountPoint": url} for url in urls], **spec}}


def physical(**more: Any) -> Json:
    return dataset("llama", "s3://models/llama", namespace="ml", **more)


def thin(name: str = "copy", **spec: Any) -> Json:
    return {"kind": "ThinRuntime", "metadata": {"name": name, "namespace": "team"}, "spec": spec}


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("dataset://ml/llama", Reference(Key("ml", "llama"))),
        ("dataset://ml/llama/", Reference(Key("ml", "llama"))),
        ("dataset://ml/llama/sub/dir", Reference(Key("ml", "llama"), "sub/dir")),
        ("dataset://ml", None),
        ("dataset:///llama", None),
        ("dataset://ml/llama/../x", None),
    ],
)
def test_what_an_address_names(url: str, found: Reference | None) -> None:
    assert reference_of(dataset("copy", url)) == found
    assert is_reference(dataset("copy", url))
    assert not is_reference(physical())


def fields() -> list[Any]:
    """All of a Dataset's, but those that say something of a reference."""
    own = (("mounts", "0", "mountPoint"), ("mounts", "0", "name"), ("accessModes",))
    found = ((path, value) for path, value in leaves(spec_of(Dataset)) if path not in own)
    return [pytest.param(path, value, id=".".join(path)) for path, value in found]


@pytest.mark.parametrize(("path", "value"), fields())
def test_fields_that_are_the_other_datasets_affair_are_said(path: Path, value: Any) -> None:
    copy = dataset("copy", "dataset://ml/llama")
    assert notes(copy) == []
    (said,) = notes({**copy, "spec": changed(copy["spec"], path, value)})
    field = ".".join(path[:1] if path[0] != "mounts" else ("mounts[0]", *path[2:]))
    assert said.startswith(f"Dataset team/copy: spec.{field}")


def test_one_that_only_reads_may_refer_to_what_can_only_be_read() -> None:
    copy = dataset("copy", "dataset://ml/llama")
    assert problems(copy, physical(), []) == []
    assert problems(copy, physical(), [thin()]) == []
    assert problems(copy, None, []) == [], "it may still come"


@pytest.mark.parametrize(
    ("mine", "theirs", "runtimes", "text"),
    [
        (dataset("copy", "dataset://ml"), None, [], "must be dataset://namespace/name"),
        (dataset("copy", "dataset://ml/llama", "s3://a/b"), None, [], "there can be no other"),
        (dataset("copy", "dataset://team/copy"), None, [], "is this one itself"),
        (
            dataset("copy", "dataset://ml/llama"),
            physical(),
            [thin(profileName="s3fs")],
            "refers to another and has no cache of its own",
        ),
        (
            dataset("copy", "dataset://ml/llama"),
            physical(),
            [{**thin(), "kind": "LocalRuntime"}],
            "LocalRuntime team/copy: Dataset copy refers to another and has no cache of its own",
        ),
        (
            dataset("copy", "dataset://ml/llama"),
            dataset("llama", "dataset://x/y", namespace="ml"),
            [],
            "refers to another itself",
        ),
        (
            dataset("copy", "dataset://ml/llama", accessModes=["ReadWriteMany"]),
            physical(),
            [],
            "spec.accessModes: ReadWriteMany is more than Dataset ml/llama has: ReadOnlyMany",
        ),
        (
            dataset("copy", "dataset://ml/llama"),
            physical(references="other, third"),
            [],
            "is not shared with namespace team; its owner can add that to its annotation",
        ),
        (dataset("copy", "dataset://ml/llama"), physical(references=""), [], "is not shared"),
        (
            dataset("copy", "dataset://ml/llama"),
            physical(accessModes=["ReadWriteMany"]),
            [],
            "is not shared with namespace team",
        ),
    ],
)
def test_what_cannot_be(mine: Json, theirs: Json | None, runtimes: list[Json], text: str) -> None:
    (problem,) = problems(mine, theirs, runtimes)
    assert text in problem
    assert "team/copy" in problem


def test_what_can_be_written_to_is_shared_by_name() -> None:
    modes = ["ReadWriteMany", "ReadOnlyMany"]
    writing = dataset("copy", "dataset://ml/llama", accessModes=["ReadWriteMany"])
    for said in ("team", "a, team", "*"):
        assert problems(writing, physical(references=said, accessModes=modes), []) == []
    part = dataset("copy", "dataset://ml/llama/sub")
    assert "no directory of it" in problems(part, physical(references="*", accessModes=modes), [])[0]
    assert problems(part, physical(references="*"), []) == []
    at_home = {**writing, "metadata": {**writing["metadata"], "namespace": "ml"}}
    assert problems(at_home, physical(accessModes=modes), []) == []


def test_the_volume_is_the_physical_ones_whatever_directory_is_named() -> None:
    theirs, runtime = physical(), {"metadata": {"name": "llama", "namespace": "ml", "uid": "r"}, "spec": {}}
    cache = Cache.of(theirs, runtime, image="image")
    binding = Binding(theirs, runtime, LocalBackend(), cache)
    mine = dataset("copy", "dataset://ml/llama/sub")

    whole = referring_volume(binding, mine)

    # A node follows links in the path of a hostPath, so nothing that others write may be in it.
    assert whole["spec"]["hostPath"]["path"] == LocalBackend().volume(cache).path
    assert whole["metadata"]["name"] == "team-copy"
    assert whole["spec"]["claimRef"]["namespace"] == "team"
    (term,) = whole["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["key"] == "fluid.io/s-ml-llama", "pods go where the physical cache is"
    assert not is_stranger(whole, Key("team", "copy"))
    assert is_stranger(whole, Key("te", "am-copy")), "its volume would have the same name"
    claim = referring_claim(binding, mine)
    assert (claim["metadata"]["namespace"], claim["spec"]["volumeName"]) == ("team", "team-copy")
    assert claim["metadata"]["labels"]["fluid.io/dataset.referring-name"] == "llama"
    assert claim["metadata"]["labels"]["fluid.io/dataset.referring-namespace"] == "ml"
    assert claim["metadata"]["labels"]["fluid.io/s-team-copy"] == "true"


def test_what_a_client_needs_of_its_namespace_is_known() -> None:
    container = {
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}}, {"name": "B"}],
        "volumeMounts": [{"name": "config"}, {"name": "cache"}],
    }
    volumes = [
        {"name": "config", "configMap": {"name": "copy-fuse-conf"}},
        {"name": "cache", "emptyDir": {}},
        {"name": "unused", "secret": {"secretName": "other"}},
    ]
    assert needs({"containers": [container], "volumes": volumes}) == [
        "ConfigMap copy-fuse-conf",
        "Secret keys",
    ]


@pytest.mark.parametrize(
    ("mount", "begins"),
    [
        ({}, False),
        ({"subPath": "other"}, False),
        ({"subPath": "part-two"}, False),
        ({"subPath": "part"}, True),
        ({"subPath": "part/a"}, True),
        ({"subPathExpr": "part/$(POD)"}, True),
    ],
)
def test_pods_that_do_not_begin_in_the_directory_are_told_by_name(mount: Json, begins: bool) -> None:
    pod: Json = {
        "metadata": {"name": "early"},
        "spec": {
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "copy"}}],
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/x", **mount}]}],
        },
    }
    assert outside([pod], "copy", "part") == ([] if begins else ["early"])
    assert outside([pod], "another", "part") == []
    assert outside([pod | {"status": {"phase": "Succeeded"}}], "copy", "part") == []
