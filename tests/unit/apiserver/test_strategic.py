"""Strategic merge patches of built-in kinds."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import builtin_schema
from addon_framework.local.apiserver.strategic import PatchError, strategic_merge

POD = builtin_schema("", "v1", "Pod")
DEPLOYMENT = builtin_schema("apps", "v1", "Deployment")


def patched(spec: Json, patch: Json) -> Any:
    return strategic_merge({"spec": spec}, {"spec": patch}, POD)["spec"]


def test_keyed_lists_merge_and_atomic_lists_are_replaced() -> None:
    spec = {
        "containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}],
        "tolerations": [{"key": "k"}],
    }
    patch = {"containers": [{"name": "a", "image": "2", "args": ["y"]}], "tolerations": [{"key": "q"}]}
    assert patched(spec, patch) == {
        "containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "b"}],
        "tolerations": [{"key": "q"}],
    }


def test_null_deletes_and_new_items_are_added() -> None:
    spec = {"hostname": "h", "containers": [{"name": "a", "image": "1"}]}
    patch = {
        "hostname": None,
        "containers": [{"name": "a", "image": None}, {"name": "n", "image": "9", "tty": None}],
    }
    assert patched(spec, patch) == {"containers": [{"name": "a"}, {"name": "n", "image": "9"}]}


def test_directives() -> None:
    spec = {"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"x": "y"}}
    assert patched(spec, {"containers": [{"name": "a", "$patch": "delete"}]})["containers"] == [{"name": "b"}]
    replaced = [{"$patch": "replace"}, {"name": "z"}]
    assert patched(spec, {"containers": replaced})["containers"] == [{"name": "z"}]
    assert patched(spec, {"nodeSelector": {"$patch": "replace", "q": "r"}})["nodeSelector"] == {"q": "r"}
    assert "nodeSelector" not in patched(spec, {"nodeSelector": {"$patch": "delete"}})
    with pytest.raises(PatchError, match="use replace, delete or merge"):
        patched(spec, {"$patch": "nonsense"})
    with pytest.raises(PatchError, match="does not contain declared merge key: name"):
        patched(spec, {"containers": [{"image": "x"}]})


def test_set_element_order() -> None:
    spec = {"containers": [{"name": "a"}, {"name": "b"}, {"name": "server-made"}]}
    patch = {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
        "containers": [{"name": "c"}],
    }
    order = [each["name"] for each in patched(spec, patch)["containers"]]
    assert [each for each in order if each != "server-made"] == ["c", "b", "a"]
    assert "server-made" in order


def test_primitive_lists_merge_and_delete() -> None:
    schema = POD
    live = {"metadata": {"finalizers": ["a", "b"]}}
    added = strategic_merge(live, {"metadata": {"finalizers": ["c", "a"]}}, schema)
    assert added["metadata"]["finalizers"] == ["c", "a", "b"]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic_merge(live, patch, schema)["metadata"]["finalizers"] == ["b"]


def test_retain_keys_clears_the_other_choice() -> None:
    live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge(live, patch, DEPLOYMENT)["spec"]["strategy"] == {"type": "Recreate"}
    volumes = {"volumes": [{"name": "v", "emptyDir": {}}]}
    switch = {"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}}]}
    assert patched(volumes, switch)["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


def test_arguments_are_left_alone() -> None:
    live: Json = {"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}}
    patch = {"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "2"}]}]}}
    strategic_merge(live, patch, POD)
    assert live["spec"]["containers"][0]["env"][0]["value"] == "1"
