"""Server-side apply: who owns which field, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from tests.conformance.api import Api
from tests.conformance.conftest import Define
from tests.conformance.objects import Custom, config_map, config_maps, deployment, deployments

SCHEMA: Json = {
    "spec": {
        "type": "object",
        "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "atomic": {"type": "array", "items": {"type": "string"}},
            "map": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
                },
            },
        },
    },
    "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
}


def owned(obj: Json, manager: str, subresource: str = "") -> Any:
    """The fields of one manager, None where it has no entry."""
    for entry in obj["metadata"].get("managedFields") or ():
        if entry["manager"] == manager and entry.get("subresource", "") == subresource:
            return entry["fieldsV1"]
    return None


async def test_23_apply_creates_and_repeats(api: Api, namespace: str) -> None:
    path, config = config_maps(namespace, "a"), config_map("a", {"k": "1"}, labels={"l": "x"})
    made = (await api.apply(path, config)).ok(201)
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["fieldsType"]) == ("a", "Apply", "FieldsV1")
    assert entry["fieldsV1"] == {"f:data": {"f:k": {}}, "f:metadata": {"f:labels": {"f:l": {}}}}
    again = (await api.apply(path, config)).ok()
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_23_conflicts_name_manager_and_field(api: Api, namespace: str) -> None:
    path = config_maps(namespace, "a")
    await api.apply(path, config_map("a", {"k": "1"}), "one")
    answer = await api.apply(path, config_map("a", {"k": "2"}), "two")
    body = answer.is_status(409, "Conflict")
    assert body["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.k'
    assert body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.k"}
    ]
    assert (await api.get(path)).ok()["data"] == {"k": "1"}


async def test_23_force_takes_over(api: Api, namespace: str) -> None:
    path = config_maps(namespace, "a")
    await api.apply(path, config_map("a", {"k": "1", "mine": "1"}), "one")
    taken = (await api.apply(path, config_map("a", {"k": "2"}), "two", force="true")).ok()
    assert taken["data"] == {"k": "2", "mine": "1"}
    assert owned(taken, "one") == {"f:data": {"f:mine": {}}}
    assert owned(taken, "two") == {"f:data": {"f:k": {}}}


async def test_23_what_is_no_longer_applied_goes(api: Api, namespace: str) -> None:
    path = config_maps(namespace, "a")
    await api.apply(path, config_map("a", {"a": "1", "b": "2"}))
    assert (await api.apply(path, config_map("a", {"a": "1"}))).ok()["data"] == {"a": "1"}


async def test_23_what_somebody_else_applies_stays(api: Api, namespace: str) -> None:
    path = config_maps(namespace, "a")
    await api.apply(path, config_map("a", {"k": "1"}), "one")
    (await api.apply(path, config_map("a", {"k": "1"}), "two")).ok()
    left = (await api.apply(path, config_map("a"), "one")).ok()
    assert left["data"] == {"k": "1"}
    assert not (owned(left, "one") or {}).get("f:data")


async def test_23_updates_own_what_they_change(api: Api, namespace: str) -> None:
    path = config_maps(namespace, "a")
    await api.apply(path, config_map("a", {"k": "1"}), "one")
    changed = (await api.patch(path, {"data": {"k": "2"}}, fieldManager="editor")).ok()
    assert owned(changed, "editor") == {"f:data": {"f:k": {}}}
    assert owned(changed, "one") is None or "f:data" not in owned(changed, "one")
    answer = await api.apply(path, config_map("a", {"k": "1"}), "one")
    assert 'conflict with "editor" using v1' in answer.is_status(409, "Conflict")["message"]


async def test_23_the_user_agent_names_an_updater(api: Api, namespace: str) -> None:
    made = await api.post(config_maps(namespace), config_map("a", {"k": "1"}))
    assert owned(made.ok(201), "conformance") == {"f:data": {".": {}, "f:k": {}}}


async def test_23_lists_by_key(api: Api, namespace: str) -> None:
    path = deployments(namespace, "d")
    (await api.apply(path, deployment("d", a="1"), "one")).ok(201)
    config: Json = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    sidecar = {"template": {"spec": {"containers": [{"name": "b", "image": "2"}]}}}
    both = (await api.apply(path, {**config, "spec": sidecar}, "two")).ok()
    listed = both["spec"]["template"]["spec"]["containers"]
    assert [c["name"] for c in listed] == ["a", "b"]
    fields = owned(both, "two")["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert fields == {'k:{"name":"b"}': {".": {}, "f:image": {}, "f:name": {}}}
    left = (await api.apply(path, config, "two")).ok()
    assert [c["name"] for c in left["spec"]["template"]["spec"]["containers"]] == ["a"]


async def test_23_sets_maps_and_atomic_lists(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom(SCHEMA))
    path = custom.path(namespace, "w")

    async def apply(manager: str, **spec: Any) -> Any:
        return await api.apply(path, custom.object("w", spec=spec), manager)

    (await apply("one", set=["a", "b"], map=[{"name": "x", "n": 1}])).ok(201)
    both = (await apply("two", set=["b", "c"], map=[{"name": "y", "n": 2}])).ok()
    assert sorted(both["spec"]["set"]) == ["a", "b", "c"]
    assert [each["name"] for each in both["spec"]["map"]] == ["x", "y"]
    left = (await apply("one", map=[{"name": "x"}])).ok()
    assert sorted(left["spec"]["set"]) == ["b", "c"]
    assert left["spec"]["map"] == [{"name": "x"}, {"name": "y", "n": 2}]
    (await apply("three", atomic=["a", "b"])).ok()
    conflict = await apply("four", atomic=["a"])
    assert conflict.is_status(409, "Conflict")["details"]["causes"][0]["field"] == ".spec.atomic"


async def test_23_status_is_applied_apart(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom(SCHEMA, subresources={"status": {}}))
    path = custom.path(namespace, "w")
    (await api.apply(path, custom.object("w", spec={"set": ["a"]}), "one")).ok(201)
    status = custom.object("w", status={"phase": "Ready"})
    made = (await api.apply(f"{path}/status", status, "two")).ok()
    assert (made["spec"], made["status"]) == ({"set": ["a"]}, {"phase": "Ready"})
    assert owned(made, "two", "status") == {"f:status": {"f:phase": {}}}
    absent = custom.object("none", status={"phase": "Ready"})
    answer = await api.apply(custom.path(namespace, "none") + "/status", absent)
    answer.is_status(404, "NotFound")


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ({}, "fieldManager", "FieldValueRequired"),
        ({"fieldManager": "x" * 129}, "fieldManager", "FieldValueTooLong"),
    ],
)
async def test_23_apply_wants_a_manager(
    api: Api, namespace: str, query: dict[str, str], field: str, reason: str
) -> None:
    path = config_maps(namespace, "a")
    answer = await api.patch(path, config_map("a"), "application/apply-patch+yaml", **query)
    answer.is_status(422, "Invalid")
    assert answer.causes == {field: reason}


async def test_23_what_cannot_be_applied(api: Api, namespace: str) -> None:
    path = config_maps(namespace, "a")
    forced = await api.patch(path, {}, fieldManager="a", force="true")
    forced.is_status(422, "Invalid")
    managed = config_map("a", managedFields=[{"manager": "x", "operation": "Apply"}])
    (await api.apply(path, managed)).is_status(400, "BadRequest")
    (await api.apply(path, config_map("b"))).is_status(400, "BadRequest")


async def test_23_apply_reads_yaml(api: Api, namespace: str) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: 'yes'\n"
    assert (await api.apply(config_maps(namespace, "a"), text)).ok(201)["data"] == {"k": "yes"}


async def test_24_managed_fields_can_be_cleared(api: Api, namespace: str) -> None:
    path = config_maps(namespace, "a")
    await api.apply(path, config_map("a", {"k": "1"}))
    cleared = (await api.patch(path, {"metadata": {"managedFields": [{}]}})).ok()
    assert not cleared["metadata"].get("managedFields")
