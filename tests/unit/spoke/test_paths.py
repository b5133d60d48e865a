"""Path languages, and ignoreFields built on them."""

from __future__ import annotations

import pytest

from addon_framework.api.jsonpath import PathError
from addon_framework.spoke.work import ignore
from addon_framework.spoke.work.paths import find_jq, find_json_path, find_pointer

OBJ = {
    "metadata": {"annotations": {"a.b/c": "x"}, "labels": {"app-name": "y"}},
    "spec": {"replicas": 3, "containers": [{"name": "main", "image": "i"}, {"name": "side", "image": "j"}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".spec.replicas", [3]),
        ("{.spec.replicas}", [3]),
        ("$.spec.replicas", [3]),
        ("spec.replicas", [3]),
        (".spec.containers[0].image", ["i"]),
        (".spec.containers[-1].name", ["side"]),
        (".spec.containers[*].image", ["i", "j"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".metadata.labels.app-name", ["y"]),
        (r".metadata.annotations.a\.b/c", ["x"]),
        (".metadata.annotations['a.b/c']", ["x"]),
        ("..image", ["i", "j"]),
        (".nothing.there", []),
    ],
)
def test_json_paths(path: str, values: list[object]) -> None:
    assert [match.value for match in find_json_path(path, OBJ)] == values


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".spec.replicas", [3]),
        (".spec.containers[].image", ["i", "j"]),
        ('.spec.containers[] | select(.name == "side") | .image', ["j"]),
        ('.metadata.annotations."a.b/c"', ["x"]),
        ('.metadata.annotations["a.b/c"]', ["x"]),
        ('.spec.containers[] | select(.name | startswith("ma")) | .image', ["i"]),
        ('.spec.containers[] | select(.image == "j" and .name != "main").name', ["side"]),
        (".. | .image?", ["i", "j"]),
        (".spec.containers[0,1].image // empty", ["i", "j"]),
        (".spec.nothing.at.all", []),
    ],
)
def test_jq_paths(path: str, values: list[object]) -> None:
    assert [match.value for match in find_jq(path, OBJ)] == values


def test_pointers() -> None:
    assert find_pointer("/metadata/annotations/a.b~1c", OBJ)[0].value == "x"
    assert find_pointer("/spec/containers/1/name", OBJ)[0].parts == ("spec", "containers", 1, "name")
    assert find_pointer("/spec/nothing", OBJ) == []


def test_what_is_no_path_is_said() -> None:
    for find, path in (
        (find_json_path, ".spec["),
        (find_jq, ".spec | keys"),
        (find_jq, ".spec | select("),
        (find_jq, ".spec.replicas[0]"),
        (find_pointer, "spec"),
    ):
        with pytest.raises(PathError):
            find(path, OBJ)


def test_jq_may_not_run_for_ever_nor_look_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s")
    assert find_jq('.spec | select($ENV.SECRET == "s")', OBJ) == []
    with pytest.raises(PathError, match="more than 1 s"):
        find_jq("def f: f; .spec | f", OBJ)


def live(replicas: int = 9, manager: str = "hpa") -> dict[str, object]:
    fields = {"f:spec": {"f:replicas": {}, "f:containers": {'k:{"name":"side"}': {"f:image": {}}}}}
    containers = [{"name": "side", "image": "new"}, {"name": "main", "image": "old"}]
    return {
        "metadata": {"managedFields": [{"manager": manager, "fieldsV1": fields}]},
        "spec": {"replicas": replicas, "containers": containers},
    }


MANIFEST = {"metadata": {}, "spec": OBJ["spec"]}
RULES = [
    {
        "condition": "OnSpokePresent",
        "jsonPointers": ["/spec/replicas"],
        "jsonPaths": [".spec.containers[*].image"],
    }
]


def test_ignored_fields_are_dropped_where_others_own_them_and_kept_where_only_we_do() -> None:
    paths = ignore.ignored(RULES, MANIFEST, live(), "")
    assert set(paths) == {
        ("spec", "replicas"),
        ("spec", "containers", 0, "image"),
        ("spec", "containers", 1, "image"),
    }
    sent = ignore.yielding(MANIFEST, paths, live(), "work-agent")
    assert sent["spec"] == {"containers": [{"name": "main", "image": "old"}, {"name": "side"}]}
    ours = ignore.yielding(MANIFEST, paths, live(manager="work-agent"), "work-agent")
    assert ours["spec"]["replicas"] == 9
    assert ours["spec"]["containers"][1] == {"name": "side", "image": "new"}
    assert MANIFEST["spec"] == OBJ["spec"]
    assert ignore.without(MANIFEST, paths)["spec"] == {"containers": [{"name": "main"}, {"name": "side"}]}


def test_on_change_counts_again_when_the_hub_has_changed_its_mind() -> None:
    rules = [{"condition": "OnSpokeChange", "jsonPaths": [".spec.replicas"]}]
    there = live()
    there["metadata"]["annotations"] = {"open-cluster-management.io/object-hash": "h"}  # type: ignore[index]
    assert ignore.ignored(rules, MANIFEST, there, "h") == [("spec", "replicas")]
    assert ignore.ignored(rules, MANIFEST, there, "other") == []
    assert ignore.needs_hash(rules)
    assert not ignore.needs_hash(RULES)


def test_a_field_within_an_ignored_one_goes_with_it() -> None:
    rules = [{"jsonPaths": [".spec", ".spec.replicas"]}]
    assert ignore.ignored(rules, MANIFEST, live(), "") == [("spec",)]
