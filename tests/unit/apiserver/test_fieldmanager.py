"""Cases of field ownership: who owns what after each write, in the spirit of structured-merge-diff."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.fieldmanager import ApplyConflict, TypedError, apply, track_update
from addon_framework.local.apiserver.schemas import builtin_schema, copy_json, crd_schema

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
DEPLOYMENT = builtin_schema("apps", "v1", "Deployment")
CONFIG_MAP = builtin_schema("", "v1", "ConfigMap")
CUSTOM = crd_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "a": {"type": "integer"},
                    "b": {"type": "integer"},
                    "nested": {
                        "type": "object",
                        "properties": {"x": {"type": "string"}, "y": {"type": "string"}},
                    },
                    "atomicMap": {
                        "type": "object",
                        "x-kubernetes-map-type": "atomic",
                        "additionalProperties": {"type": "string"},
                    },
                    "map": {"type": "object", "additionalProperties": {"type": "string"}},
                    "atomicList": {"type": "array", "items": {"type": "string"}},
                    "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "items": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name", "protocol"],
                        "items": {
                            "type": "object",
                            "required": ["name"],
                            "properties": {
                                "name": {"type": "string"},
                                "protocol": {"type": "string", "default": "TCP"},
                                "value": {"type": "integer"},
                                "other": {"type": "integer"},
                            },
                        },
                    },
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            },
            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
        },
    }
)


def custom(**spec: Any) -> Json:
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec}


def applied(live: Json | None, manager: str, *, force: bool = False, now: str = NOW, **spec: Any) -> Json:
    return apply(live, custom(**spec), manager=manager, force=force, schema=CUSTOM, subresource="", now=now)


def owned(obj: Json, manager: str, operation: str = "Apply", subresource: str = "") -> Json:
    for entry in obj["metadata"].get("managedFields", ()):
        key = entry["manager"], entry["operation"], entry.get("subresource", "")
        if key == (manager, operation, subresource):
            fields: Json = entry["fieldsV1"]
            return fields
    return {}


def test_apply_creates_and_names_the_owner() -> None:
    live = applied(None, "one", a=1, nested={"x": "1"})
    assert live["spec"] == {"a": 1, "nested": {"x": "1"}}
    assert live["metadata"]["managedFields"] == [
        {
            "manager": "one",
            "operation": "Apply",
            "apiVersion": "example.com/v1",
            "time": NOW,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:a": {}, "f:nested": {"f:x": {}}}},
        }
    ]


def test_another_value_conflicts_and_names_manager_and_field() -> None:
    live = applied(None, "one", a=1, b=1)
    with pytest.raises(ApplyConflict) as conflict:
        applied(live, "two", a=2)
    assert conflict.value.causes == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.a"}
    ]
    assert str(conflict.value) == 'Apply failed with 1 conflict: conflict with "one": .spec.a'
    with pytest.raises(ApplyConflict, match=r'2 conflicts: conflicts with "one":\n- .spec.a\n- .spec.b'):
        applied(live, "two", a=2, b=2)


def test_the_same_value_is_shared() -> None:
    live = applied(applied(None, "one", a=1), "two", a=1)
    assert owned(live, "one") == owned(live, "two") == {"f:spec": {"f:a": {}}}
    live = applied(live, "one", b=1)
    assert live["spec"] == {"a": 1, "b": 1}, "the other manager still wants it"
    assert applied(live, "two")["spec"] == {"b": 1}


def test_force_takes_the_field() -> None:
    live = applied(applied(None, "one", a=1, b=1), "two", force=True, a=2)
    assert live["spec"] == {"a": 2, "b": 1}
    assert owned(live, "one") == {"f:spec": {"f:b": {}}}
    assert owned(live, "two") == {"f:spec": {"f:a": {}}}


def test_omitted_fields_go_and_empty_structs_with_them() -> None:
    live = applied(None, "one", a=1, nested={"x": "1"}, map={"k": "v"})
    live = applied(live, "one", a=1)
    assert live["spec"] == {"a": 1}


def test_fields_of_nobody_stay() -> None:
    live = custom(a=1, b=2)
    live = apply(live, custom(a=1), manager="one", force=False, schema=CUSTOM, subresource="", now=NOW)
    assert owned(live, "before-first-apply", "Update")["f:spec"].keys() == {".", "f:a", "f:b"}
    live = applied(live, "one")
    assert live["spec"] == {"a": 1, "b": 2}


def test_keyed_items_merge_with_default_keys() -> None:
    live = applied(None, "one", items=[{"name": "a", "value": 1}])
    live = applied(live, "two", items=[{"name": "a", "protocol": "TCP", "other": 2}, {"name": "b"}])
    assert live["spec"]["items"] == [
        {"name": "a", "value": 1, "protocol": "TCP", "other": 2},
        {"name": "b"},
    ]
    key = 'k:{"name":"a","protocol":"TCP"}'
    assert owned(live, "one")["f:spec"]["f:items"] == {key: {".": {}, "f:name": {}, "f:value": {}}}
    with pytest.raises(ApplyConflict) as conflict:
        applied(live, "two", items=[{"name": "a", "value": 9}])
    assert conflict.value.causes[0]["field"] == '.spec.items[name="a",protocol="TCP"].value'
    live = applied(live, "one")
    assert live["spec"]["items"] == [{"name": "a", "protocol": "TCP", "other": 2}, {"name": "b"}]
    assert "items" not in applied(live, "two").get("spec", {})


def test_duplicate_keys_and_missing_keys_are_refused() -> None:
    with pytest.raises(TypedError, match="duplicate entries for key"):
        applied(applied(None, "one", items=[{"name": "a"}]), "one", items=[{"name": "b"}, {"name": "b"}])
    with pytest.raises(TypedError, match='omits key field "name"'):
        applied(None, "one", items=[{"value": 1}])


def test_order_of_items_follows_the_configuration() -> None:
    live = applied(None, "one", set=["a", "b", "c"])
    live = applied(live, "two", set=["c", "x", "a"])
    assert [each for each in live["spec"]["set"] if each != "b"] == ["c", "x", "a"]
    assert sorted(live["spec"]["set"]) == ["a", "b", "c", "x"]


def test_sets_are_owned_by_element() -> None:
    live = applied(applied(None, "one", set=["a", "b"]), "two", set=["b", "c"])
    assert live["spec"]["set"] == ["a", "b", "c"]
    assert owned(live, "two")["f:spec"]["f:set"] == {'v:"b"': {}, 'v:"c"': {}}
    assert applied(live, "one")["spec"]["set"] == ["b", "c"]


def test_atomic_lists_and_maps_are_one_value() -> None:
    live = applied(None, "one", atomicList=["a"], atomicMap={"k": "v"})
    assert owned(live, "one") == {"f:spec": {"f:atomicList": {}, "f:atomicMap": {}}}
    with pytest.raises(ApplyConflict) as conflict:
        applied(live, "two", atomicList=["a", "b"], atomicMap={"q": "r"})
    assert [each["field"] for each in conflict.value.causes] == [".spec.atomicList", ".spec.atomicMap"]
    live = applied(live, "two", force=True, atomicList=["b"], atomicMap={"q": "r"})
    assert live["spec"] == {"atomicList": ["b"], "atomicMap": {"q": "r"}}
    assert owned(live, "one") == {}


def test_what_no_schema_describes_is_deduced() -> None:
    live = applied(None, "one", free={"deep": {"k": 1}, "list": [1, {"a": 2}]})
    assert owned(live, "one")["f:spec"]["f:free"] == {
        "f:deep": {".": {}, "f:k": {}},
        "f:list": {},
    }
    live = applied(live, "two", free={"deep": {"q": 2}})
    assert live["spec"]["free"]["deep"] == {"k": 1, "q": 2}
    untyped = apply(
        None,
        {"apiVersion": "v1", "kind": "X", "data": {"a": [1]}},
        manager="m",
        force=False,
        schema=None,
        subresource="",
        now=NOW,
    )
    assert owned(untyped, "m") == {"f:data": {".": {}, "f:a": {}}}


def test_applying_again_changes_nothing_not_even_the_time() -> None:
    live = applied(None, "one", a=1, items=[{"name": "a"}], set=["x"])
    assert applied(live, "one", now=LATER, a=1, items=[{"name": "a"}], set=["x"]) == live


def test_updates_take_what_they_change_and_lose_nothing_else() -> None:
    live = applied(None, "one", a=1, b=1, set=["x"])
    new = copy_json(live)
    new["spec"]["a"] = 2
    new["spec"]["set"].append("y")
    live = track_update(live, new, manager="edit", subresource="", schema=CUSTOM, now=LATER)
    assert owned(live, "one") == {"f:spec": {"f:b": {}, "f:set": {'v:"x"': {}}}}
    assert owned(live, "edit", "Update") == {"f:spec": {"f:a": {}, "f:set": {'v:"y"': {}}}}
    with pytest.raises(ApplyConflict) as conflict:
        applied(live, "one", a=1, b=1)
    assert conflict.value.causes[0]["message"] == 'conflict with "edit" using example.com/v1'
    assert applied(live, "one", force=True, a=1, b=1)["spec"] == {"a": 1, "b": 1, "set": ["y"]}


def test_removing_by_update_removes_ownership() -> None:
    live = applied(None, "one", a=1, b=1)
    new = copy_json(live)
    del new["spec"]["a"]
    live = track_update(live, new, manager="edit", subresource="", schema=CUSTOM, now=LATER)
    assert owned(live, "one") == {"f:spec": {"f:b": {}}}
    assert owned(live, "edit", "Update") == {}


def test_creation_and_status_updates_are_tracked_by_subresource() -> None:
    live = track_update(None, custom(a=1), manager="kubectl", subresource="", schema=CUSTOM, now=NOW)
    assert owned(live, "kubectl", "Update") == {"f:spec": {".": {}, "f:a": {}}}
    live["metadata"]["uid"] = "u"
    new = copy_json(live)
    new["status"] = {"phase": "Ready"}
    new["spec"]["a"] = 5  # the status endpoint does not write it, so nobody owns it by this
    live = track_update(live, new, manager="controller", subresource="status", schema=CUSTOM, now=NOW)
    assert owned(live, "controller", "Update", "status") == {"f:status": {".": {}, "f:phase": {}}}


def test_apply_to_main_and_status_endpoints_write_their_part_only() -> None:
    config = {**custom(a=1), "status": {"phase": "x"}}
    live = apply(None, config, manager="m", force=False, schema=CUSTOM, subresource="", now=NOW)
    assert "status" not in live
    live = apply(
        live,
        {**config, "spec": {"a": 9}},
        manager="m",
        force=False,
        schema=CUSTOM,
        subresource="status",
        now=NOW,
    )
    assert live["spec"] == {"a": 1}
    assert live["status"] == {"phase": "x"}
    assert owned(live, "m") == {"f:spec": {"f:a": {}}}
    assert owned(live, "m", subresource="status") == {"f:status": {"f:phase": {}}}
    free = apply(
        None, config, manager="m", force=False, schema=CUSTOM, subresource="", now=NOW, has_status=False
    )
    assert free["status"] == {"phase": "x"}


def test_managed_fields_can_be_cleared_and_stay_clear() -> None:
    live = applied(None, "one", a=1)
    live["metadata"]["uid"] = "u"
    new = copy_json(live)
    new["metadata"]["managedFields"] = [{}]
    live = track_update(live, new, manager="edit", subresource="", schema=CUSTOM, now=NOW)
    assert "managedFields" not in live["metadata"]
    changed = {**live, "spec": {"a": 2}}
    live = track_update(live, changed, manager="edit", subresource="", schema=CUSTOM, now=NOW)
    assert "managedFields" not in live["metadata"]


def test_clients_that_know_no_managed_fields_do_not_lose_them() -> None:
    live = applied(None, "one", a=1)
    naive = custom(a=1, b=2)
    live = track_update(live, naive, manager="naive", subresource="", schema=CUSTOM, now=LATER)
    assert owned(live, "one") == {"f:spec": {"f:a": {}}}
    assert owned(live, "naive", "Update") == {"f:spec": {"f:b": {}}}


def test_kubectl_takes_over_its_client_side_apply_without_conflict() -> None:
    last = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"1"}}'
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": last}
    created = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "annotations": annotations},
        "data": {"k": "1"},
    }
    live = track_update(
        None, created, manager="kubectl-client-side-apply", subresource="", schema=CONFIG_MAP, now=NOW
    )
    config: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "2"}}
    with pytest.raises(ApplyConflict):
        apply(live, config, manager="other", force=False, schema=CONFIG_MAP, subresource="", now=NOW)
    taken = apply(live, config, manager="kubectl", force=False, schema=CONFIG_MAP, subresource="", now=NOW)
    assert taken["data"] == {"k": "2"}


def test_many_updaters_are_capped() -> None:
    live = track_update(None, custom(map={}), manager="m0", subresource="", schema=CUSTOM, now=NOW)
    live["metadata"]["uid"] = "u"
    for number in range(1, 15):
        new = copy_json(live)
        new["spec"]["map"][f"k{number}"] = "v"
        stamp = f"2026-01-01T00:01:{number:02}Z"
        live = track_update(live, new, manager=f"m{number}", subresource="", schema=CUSTOM, now=stamp)
    managers = [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert len(managers) == 10
    assert "ancient-changes" in managers
    assert "m14" in managers


def test_a_deployment_shared_by_three_managers() -> None:
    container = {"name": "app", "image": "i:1", "ports": [{"containerPort": 80}]}
    base = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}},
        },
    }
    live = apply(None, base, manager="author", force=False, schema=DEPLOYMENT, subresource="", now=NOW)
    sidecar = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "mesh", "image": "m:1"}]}}},
    }
    live = apply(live, sidecar, manager="mesh", force=False, schema=DEPLOYMENT, subresource="", now=NOW)
    scaled = copy_json(live)
    scaled["spec"]["replicas"] = 5
    live = track_update(live, scaled, manager="hpa", subresource="scale", schema=DEPLOYMENT, now=NOW)
    newer = copy_json(base)
    del newer["spec"]["replicas"]  # left to the autoscaler
    newer["spec"]["template"]["spec"]["containers"][0]["image"] = "i:2"
    live = apply(live, newer, manager="author", force=False, schema=DEPLOYMENT, subresource="", now=LATER)
    assert live["spec"]["replicas"] == 5
    images = [each["image"] for each in live["spec"]["template"]["spec"]["containers"]]
    assert images == ["i:2", "m:1"]
    gone = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    live = apply(live, gone, manager="mesh", force=False, schema=DEPLOYMENT, subresource="", now=LATER)
    assert [each["name"] for each in live["spec"]["template"]["spec"]["containers"]] == ["app"]


def test_labels_are_owned_and_what_names_the_object_is_not() -> None:
    metadata = {"name": "n", "namespace": "ns", "labels": {"a": "b"}, "finalizers": ["f/x"]}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    applied = apply(
        None,
        config,
        manager="m",
        force=False,
        schema=CONFIG_MAP,
        subresource="",
        now=NOW,
    )
    (entry,) = applied["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:metadata": {"f:finalizers": {'v:"f/x"': {}}, "f:labels": {"f:a": {}}}}
