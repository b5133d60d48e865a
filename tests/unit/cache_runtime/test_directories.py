"""Pods that mount a directory of another Dataset begin in it."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.kube import Key
from addons.cache_runtime.admission.directories import claims, enter, expression


def dataset(name: str, url: str) -> Json:
    return {"metadata": {"namespace": "team", "name": name}, "spec": {"mounts": [{"mountPoint": url}]}}


def pod(*mounts: Json, claim: str = "part") -> Json:
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": claim}},
        {"name": "tmp", "emptyDir": {}},
    ]
    return {"spec": {"volumes": volumes, "containers": [{"name": "main", "volumeMounts": list(mounts)}]}}


def test_only_datasets_that_name_a_directory() -> None:
    of = [("part", "dataset://ml/llama/sub"), ("all", "dataset://ml/llama"), ("own", "s3://bucket/sub")]
    assert claims(dataset(name, url) for name, url in of) == {Key("team", "part")}


@pytest.mark.parametrize(
    ("mount", "begins"),
    [
        ({"mountPath": "/m"}, {"subPath": "sub dir/x"}),
        ({"mountPath": "/m", "subPath": "y"}, {"subPath": "sub dir/x/y"}),
        ({"mountPath": "/m", "subPathExpr": "$(NAME)"}, {"subPathExpr": "sub dir/x/$(NAME)"}),
    ],
)
def test_every_mount_of_it_begins_there(mount: Json, begins: dict[str, Any]) -> None:
    made = pod({"name": "data", **mount}, {"name": "tmp", "mountPath": "/tmp"})
    made["spec"]["initContainers"] = [{"name": "first", "volumeMounts": [{"name": "data", **mount}]}]
    enter(made, {"part": "sub dir/x"})
    for container in (*made["spec"]["initContainers"], *made["spec"]["containers"]):
        assert container["volumeMounts"][0] == {"name": "data", **mount, **begins}
    assert made["spec"]["containers"][0]["volumeMounts"][1] == {"name": "tmp", "mountPath": "/tmp"}


def test_what_looks_like_a_variable_in_a_directorys_name_is_none() -> None:
    made = pod({"name": "data", "mountPath": "/m", "subPathExpr": "$(NAME)"})
    enter(made, {"part": "a$(NAME)"})
    assert made["spec"]["containers"][0]["volumeMounts"][0]["subPathExpr"] == "a$$(NAME)/$(NAME)"


def test_other_claims_are_left_alone() -> None:
    made = pod({"name": "data", "mountPath": "/m"}, claim="other")
    enter(made, {"part": "sub"})
    assert made == pod({"name": "data", "mountPath": "/m"}, claim="other")


def test_the_api_server_asks_about_no_other_pods() -> None:
    text = expression([Key("team", "part"), Key("a", "b")])
    assert "in ['a/b', 'team/part']" in text
    assert text.startswith("has(object.spec.volumes) && ")
