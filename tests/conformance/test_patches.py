"""JSON, merge and strategic merge patches; dry runs of every verb."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from tests.conformance.api import JSON_PATCH, MERGE, STRATEGIC, Api
from tests.conformance.conftest import Define
from tests.conformance.objects import Custom, config_map, config_maps, deployment, deployments


async def test_21_merge_patch(api: Api, namespace: str) -> None:
    made = await api.post(config_maps(namespace), config_map("a", {"a": "1", "b": "2"}))
    made.ok(201)
    patch = {"data": {"a": None, "c": "3"}, "metadata": {"labels": {"l": "x"}}}
    changed = (await api.patch(config_maps(namespace, "a"), patch)).ok()
    assert changed["data"] == {"b": "2", "c": "3"}
    assert changed["metadata"]["labels"] == {"l": "x"}


async def test_21_json_patch(api: Api, namespace: str) -> None:
    path = config_maps(namespace, "a")
    await api.post(config_maps(namespace), config_map("a", {"a": "1"}))
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "2"},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/b~1c", "value": "3"},
        {"op": "copy", "from": "/data/a", "path": "/data/d"},
    ]
    changed = (await api.patch(path, operations, JSON_PATCH)).ok()
    assert changed["data"] == {"a": "2", "d": "2"}
    assert changed["metadata"]["annotations"] == {"b/c": "3"}


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "test", "path": "/data/a", "value": "other"}],
        [{"op": "remove", "path": "/data/none"}],
        [{"op": "add", "path": "/no/such/parent", "value": 1}],
    ],
)
async def test_21_json_patches_that_do_not_fit(api: Api, namespace: str, operations: list[Json]) -> None:
    await api.post(config_maps(namespace), config_map("a", {"a": "1"}))
    answer = await api.patch(config_maps(namespace, "a"), operations, JSON_PATCH)
    answer.is_status(422, "Invalid")


@pytest.mark.parametrize(
    ("body", "media"),
    [(b"{", MERGE), (b"[]", MERGE), (b"{}", JSON_PATCH), (b"nonsense", JSON_PATCH), (b"[1]", JSON_PATCH)],
)
async def test_21_patches_that_are_none(api: Api, namespace: str, body: bytes, media: str) -> None:
    await api.post(config_maps(namespace), config_map("a"))
    answer = await api.patch(config_maps(namespace, "a"), body, media)
    assert answer.code in (400, 422), answer.raw
    assert answer.body["kind"] == "Status"


async def test_21_unknown_kinds_of_patch(api: Api, namespace: str, define: Define) -> None:
    await api.post(config_maps(namespace), config_map("a"))
    answer = await api.patch(config_maps(namespace, "a"), {}, "application/json")
    answer.is_status(415, "UnsupportedMediaType")
    custom = await define(Custom({}))
    await api.post(custom.path(namespace), custom.object("a"))
    answer = await api.patch(custom.path(namespace, "a"), {}, STRATEGIC)
    answer.is_status(415, "UnsupportedMediaType")


async def test_21_a_patch_may_insist_on_a_version(api: Api, namespace: str) -> None:
    made = (await api.post(config_maps(namespace), config_map("a"))).ok(201)
    path, version = config_maps(namespace, "a"), made["metadata"]["resourceVersion"]
    patch: Json = {"metadata": {"resourceVersion": version}, "data": {"a": "1"}}
    (await api.patch(path, patch)).ok()
    (await api.patch(path, {**patch, "data": {"a": "2"}})).is_status(409, "Conflict")
    (await api.patch(path, {"metadata": {"name": "other"}})).is_status(400, "BadRequest")
    (await api.patch(config_maps(namespace, "none"), {})).is_status(404, "NotFound")


def containers(obj: Json) -> list[tuple[str, str]]:
    return [(c["name"], c["image"]) for c in obj["spec"]["template"]["spec"]["containers"]]


def template(**spec: Any) -> Json:
    return {"spec": {"template": {"spec": spec}}}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ([{"name": "a", "image": "new"}], [("a", "new"), ("b", "2")]),
        ([{"name": "b", "$patch": "delete"}], [("a", "1")]),
        ([{"$patch": "replace"}, {"name": "z", "image": "9"}], [("z", "9")]),
        ([{"name": "c", "image": "3"}], [("c", "3"), ("a", "1"), ("b", "2")]),
    ],
)
async def test_22_lists_merge_by_key(
    api: Api, namespace: str, patch: list[Json], expected: list[tuple[str, str]]
) -> None:
    (await api.post(deployments(namespace), deployment("d", a="1", b="2"))).ok(201)
    changed = await api.patch(deployments(namespace, "d"), template(containers=patch), STRATEGIC)
    assert sorted(containers(changed.ok())) == sorted(expected)


async def test_22_the_order_of_a_list(api: Api, namespace: str) -> None:
    await api.post(deployments(namespace), deployment("d", a="1", b="2"))
    order = [{"name": "b"}, {"name": "c"}, {"name": "a"}]
    patch = template(containers=[{"name": "c", "image": "3"}], **{"$setElementOrder/containers": order})
    changed = await api.patch(deployments(namespace, "d"), patch, STRATEGIC)
    assert containers(changed.ok()) == [("b", "2"), ("c", "3"), ("a", "1")]


async def test_22_retained_keys_and_primitive_lists(api: Api, namespace: str) -> None:
    path = deployments(namespace, "d")
    await api.post(deployments(namespace), deployment("d"))
    strategy = {"type": "Recreate", "$retainKeys": ["type"]}
    changed = (await api.patch(path, {"spec": {"strategy": strategy}}, STRATEGIC)).ok()
    assert changed["spec"]["strategy"] == {"type": "Recreate"}
    for one in ("x.example.com/a", "x.example.com/b"):
        changed = (await api.patch(path, {"metadata": {"finalizers": [one]}}, STRATEGIC)).ok()
    assert sorted(changed["metadata"]["finalizers"]) == ["x.example.com/a", "x.example.com/b"]
    gone = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x.example.com/a", "x.example.com/b"]}}
    changed = (await api.patch(path, gone, STRATEGIC)).ok()
    assert not changed["metadata"].get("finalizers")


async def test_22_null_deletes(api: Api, namespace: str) -> None:
    await api.post(config_maps(namespace), config_map("a", {"a": "1", "b": "2"}))
    changed = await api.patch(config_maps(namespace, "a"), {"data": {"a": None}}, STRATEGIC)
    assert changed.ok()["data"] == {"b": "2"}


async def test_31_dry_runs_store_nothing(api: Api, namespace: str) -> None:
    collection, path = config_maps(namespace), config_maps(namespace, "a")
    tried = (await api.post(collection, config_map("a", {"a": "1"}), dryRun="All")).ok(201)
    assert tried["metadata"]["uid"]
    (await api.get(path)).is_status(404, "NotFound")
    made = (await api.post(collection, config_map("a", {"a": "1"}))).ok(201)
    again = await api.post(collection, config_map("a"), dryRun="All")
    again.is_status(409, "AlreadyExists")
    assert (await api.put(path, config_map("a", {"a": "2"}), dryRun="All")).ok()["data"] == {"a": "2"}
    assert (await api.patch(path, {"data": {"a": "3"}}, dryRun="All")).ok()["data"] == {"a": "3"}
    applied = await api.apply(path, config_map("a", {"b": "4"}), dryRun="All")
    assert applied.ok()["data"] == {"a": "1", "b": "4"}
    (await api.delete(path, dryRun="All")).ok()
    (await api.delete(path, {"dryRun": ["All"]})).ok()
    (await api.delete(collection, dryRun="All")).ok()
    assert (await api.get(path)).ok() == made


async def test_31_a_dry_run_goes_through_the_whole_chain(api: Api, namespace: str) -> None:
    bad = await api.post(config_maps(namespace), config_map("Not-A-Name"), dryRun="All")
    bad.is_status(422, "Invalid")
    wrong = await api.post(config_maps(namespace), config_map("a"), dryRun="Some")
    wrong.is_status(422, "Invalid")
    assert wrong.causes == {"dryRun": "FieldValueNotSupported"}
