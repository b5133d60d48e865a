"""CustomResourceDefinitions: what their schemas allow, versions, conditions, and their end."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import Api
from tests.conformance.conftest import CRDS, Define, established
from tests.conformance.objects import Custom

SPEC: Json = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "port": {"x-kubernetes-int-or-string": True},
        "note": {"type": "string", "nullable": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "list": {
            "type": "array",
            "maxItems": 3,
            "items": {
                "type": "object",
                "required": ["key"],
                "properties": {"key": {"type": "string"}, "on": {"type": "boolean", "default": True}},
            },
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "when": {"type": "string", "format": "date-time"},
        "unique": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    },
}


async def make(api: Api, custom: Custom, namespace: str, **spec: Any) -> Any:
    return await api.post(custom.path(namespace), custom.object("w", spec=spec), fieldValidation="Ignore")


async def test_25_defaults_and_pruning(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom({"spec": SPEC}))
    sent = {"size": 1, "unknown": 1, "free": {"x": {"y": 1}}, "list": [{"key": "a", "odd": 1}], "note": None}
    made = (await make(api, custom, namespace, **sent)).ok(201)
    assert made["spec"] == {
        "size": 1,
        "color": "red",
        "free": {"x": {"y": 1}},
        "list": [{"key": "a", "on": True}],
        "note": None,
    }


async def test_25_an_object_says_what_it_is(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom({"spec": SPEC}))
    whole = custom.object("w", spec={"size": 1})
    for missing, why in (("kind", "Object 'Kind' is missing"), ("apiVersion", "API version in the data ()")):
        sent = {name: value for name, value in whole.items() if name != missing}
        refused = (await api.post(custom.path(namespace), sent)).is_status(400, "BadRequest")
        assert why in refused["message"]


@pytest.mark.parametrize("port", [80, "http"])
async def test_25_int_or_string(api: Api, namespace: str, define: Define, port: Any) -> None:
    custom = await define(Custom({"spec": SPEC}))
    assert (await make(api, custom, namespace, size=1, port=port)).ok(201)["spec"]["port"] == port


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({}, "spec.size", "FieldValueRequired"),
        ({"size": "big"}, "spec.size", "FieldValueTypeInvalid"),
        ({"size": 0}, "spec.size", "FieldValueInvalid"),
        ({"size": 11}, "spec.size", "FieldValueInvalid"),
        ({"size": True}, "spec.size", "FieldValueTypeInvalid"),
        ({"size": 1, "color": "green"}, "spec.color", "FieldValueNotSupported"),
        ({"size": 1, "name": "UP"}, "spec.name", "FieldValueInvalid"),
        ({"size": 1, "name": "toolong"}, "spec.name", "FieldValueTooLong"),
        ({"size": 1, "port": 1.5}, "spec.port", "FieldValueTypeInvalid"),
        ({"size": 1, "list": [{"key": "a"}, {}]}, "spec.list[1].key", "FieldValueRequired"),
        ({"size": 1, "list": [{"key": "a"}] * 4}, "spec.list", "FieldValueTooMany"),
        ({"size": 1, "labels": {"a": 1}}, "spec.labels.a", "FieldValueTypeInvalid"),
        ({"size": 1, "when": "yesterday"}, "spec.when", "FieldValueTypeInvalid"),
        ({"size": 1, "unique": ["a", "a"]}, "spec.unique[1]", "FieldValueDuplicate"),
    ],
)
async def test_25_wrong_values_are_refused_by_path(
    api: Api, namespace: str, define: Define, spec: Json, field: str, reason: str
) -> None:
    custom = await define(Custom({"spec": SPEC}))
    answer = await make(api, custom, namespace, **spec)
    answer.is_status(422, "Invalid")
    assert answer.causes == {field: reason}


async def test_25_metadata_of_embedded_resources(api: Api, namespace: str, define: Define) -> None:
    """It is read as metadata: what is empty in it is dropped, what is not elsewhere."""
    embedded = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
    }
    custom = await define(
        Custom({"spec": {"type": "object", "properties": {"objects": {"type": "array", "items": embedded}}}})
    )
    metadata = {"name": "a", "labels": {}, "annotations": None, "creationTimestamp": None}
    inner = {"apiVersion": "v1", "kind": "ConfigMap", "data": {}}
    made = (await make(api, custom, namespace, objects=[{**inner, "metadata": metadata}])).ok(201)
    assert made["spec"]["objects"] == [{**inner, "metadata": {"name": "a"}}]


async def test_25_fractions_are_no_integers(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom({"spec": SPEC}))
    answer = await make(api, custom, namespace, size=1.5)
    answer.is_status(422, "Invalid")
    assert answer.causes == {"spec.size": "FieldValueTypeInvalid", "<nil>": "FieldValueInvalid"}


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "object", "properties": {"a": {}}},
        {"properties": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"type": "text"}}},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": {"type": "string", "default": 1}}},
        {"type": "object", "x-kubernetes-validations": [{"rule": "nothing > 1"}]},
    ],
)
async def test_25_schemas_must_be_structural(api: Api, spec: Json) -> None:
    (await api.post(CRDS, Custom({"spec": spec}).definition())).is_status(422, "Invalid")


async def test_25_a_definition_is_validated(api: Api) -> None:
    crd = Custom({}).definition()
    (await api.post(CRDS, {**crd, "metadata": {"name": "other"}})).is_status(422, "Invalid")
    crd["spec"]["versions"][0]["storage"] = False
    (await api.post(CRDS, crd)).is_status(422, "Invalid")


RULES: Json = {
    "type": "object",
    "properties": {
        "min": {"type": "integer"},
        "max": {"type": "integer"},
        "fixed": {
            "type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed cannot be changed"}],
        },
    },
    "x-kubernetes-validations": [
        {
            "rule": "!has(self.min) || !has(self.max) || self.min <= self.max",
            "messageExpression": "self.min > 2 ? 'min is three or more' : 'min is too much'",
        }
    ],
}


async def test_26_rules(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom({"spec": RULES}))
    refused = await make(api, custom, namespace, min=3, max=2)
    assert "spec: Invalid value" in refused.is_status(422, "Invalid")["message"]
    assert refused.body["message"].endswith("min is three or more")
    (await make(api, custom, namespace, min=1, max=2, fixed="a")).ok(201)
    moved = await api.patch(custom.path(namespace, "w"), {"spec": {"fixed": "b"}})
    assert "spec.fixed" in moved.is_status(422, "Invalid")["message"]
    assert "fixed cannot be changed" in moved.body["message"]
    (await api.patch(custom.path(namespace, "w"), {"spec": {"max": 9}})).ok()


async def test_26_rules_that_run_away_are_stopped(api: Api, namespace: str, define: Define) -> None:
    rule = "self.all(x, self.all(y, x >= 0 || y >= 0))"
    numbers = {
        "type": "array",
        "maxItems": 1000,
        "items": {"type": "integer"},
        "x-kubernetes-validations": [{"rule": rule}],
    }
    custom = await define(Custom({"spec": {"type": "object", "properties": {"numbers": numbers}}}))
    (await make(api, custom, namespace, numbers=[1] * 100)).ok(201)
    body = custom.object("long", spec={"numbers": [1] * 1000})
    refused = (await api.post(custom.path(namespace), body)).is_status(422, "Invalid")
    assert (
        "'operation cancelled: actual cost limit exceeded': no further validation rules will be run "
        f"due to call cost exceeds limit for rule: {rule}"
    ) in refused["message"]


@pytest.mark.parametrize(
    ("limit", "rule", "passes"),
    [
        ({}, "self.a.all(x, self.a.all(y, x >= 0 || y >= 0))", False),
        ({}, "self.a.all(x, x > 0)", True),
        ({"maxItems": 100}, "self.a.all(x, self.a.all(y, x >= 0 || y >= 0))", True),
    ],
)
async def test_26_rules_that_may_cost_too_much_are_refused(
    api: Api, limit: Json, rule: str, passes: bool
) -> None:
    numbers = {"type": "array", "items": {"type": "integer"}, **limit}
    spec = {"type": "object", "properties": {"a": numbers}, "x-kubernetes-validations": [{"rule": rule}]}
    answer = await api.post(CRDS, Custom({"spec": spec}).definition(), dryRun="All")
    if passes:
        answer.ok(201)
    else:
        where = "properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds"
        assert where in answer.is_status(422, "Invalid")["message"]


async def test_26_what_was_invalid_may_stay(api: Api, namespace: str, define: Define) -> None:
    """Ratcheting: a stricter schema does not refuse writes that leave old values alone."""
    custom = await define(Custom({"spec": SPEC}))
    (await make(api, custom, namespace, size=9)).ok(201)
    crd = (await api.get(f"{CRDS}/{custom.name}")).ok()
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["size"]["maximum"] = 5
    (await api.put(f"{CRDS}/{custom.name}", crd)).ok()

    async def stricter() -> bool:
        fresh = custom.object("x", spec={"size": 9})
        return (await api.post(custom.path(namespace), fresh, dryRun="All")).code == 422

    await eventually(stricter)
    (await api.patch(custom.path(namespace, "w"), {"spec": {"color": "blue"}})).ok()
    answer = await api.patch(custom.path(namespace, "w"), {"spec": {"size": 8}})
    answer.is_status(422, "Invalid")


async def test_27_conditions_and_names(api: Api, define: Define) -> None:
    custom = await define(Custom({}))
    crd = await established(api, custom)
    for kind in ("NamesAccepted", "Established"):
        condition = get_condition(crd, kind)
        assert condition is not None
        assert condition["status"] == "True"
    assert crd["status"]["acceptedNames"]["kind"] == "Widget"
    assert crd["status"]["acceptedNames"]["listKind"] == "WidgetList"
    assert crd["status"]["storedVersions"] == ["v1"]


async def test_27_versions(api: Api, namespace: str, define: Define) -> None:
    custom = Custom({"spec": SPEC})
    old = {**custom.versions[0], "name": "v1beta1", "storage": False}
    custom.versions += [old, {**old, "name": "v1alpha1", "served": False}]
    await define(custom)
    made = custom.object("w", "v1beta1", spec={"size": 1})
    (await api.post(custom.path(namespace, version="v1beta1"), made)).ok(201)
    for version in ("v1", "v1beta1"):
        found = (await api.get(custom.path(namespace, "w", version))).ok()
        assert found["apiVersion"] == f"{custom.group}/{version}"
        listed = (await api.get(custom.path(namespace, version=version))).ok()
        assert [each["apiVersion"] for each in listed["items"]] == [f"{custom.group}/{version}"]
    assert (await api.get(custom.path(namespace, "w", "v1alpha1"))).code == 404


async def test_28_the_end_of_a_definition(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom({"spec": SPEC}))
    (await make(api, custom, namespace, size=1)).ok(201)
    await api.delete(f"{CRDS}/{custom.name}")

    async def gone() -> bool:
        crd = await api.get(f"{CRDS}/{custom.name}")
        return crd.code == 404 and (await api.get(custom.path(namespace))).code == 404

    await eventually(gone)
    await define(custom)
    assert (await api.get(custom.path(namespace))).ok()["items"] == []


async def test_28_new_fields_reach_watches_under_way(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom({"spec": SPEC}))
    version = (await api.get(custom.path(namespace))).ok()["metadata"]["resourceVersion"]
    async with api.watch(custom.path(namespace), resourceVersion=version) as events:
        crd = (await api.get(f"{CRDS}/{custom.name}")).ok()
        spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["properties"]["extra"] = {"type": "string"}
        (await api.put(f"{CRDS}/{custom.name}", crd)).ok()

        async def known() -> bool:
            made = await make(api, custom, namespace, size=1, extra="x")
            await api.delete(custom.path(namespace, "w"))
            return bool(made.body.get("spec", {}).get("extra") == "x")  # 429 while a server makes it anew

        await eventually(known)
        async for event in events:  # a server may also end the watch, and clients then begin anew
            if event["object"].get("spec", {}).get("extra") == "x":
                break


async def test_32_printer_columns(api: Api, namespace: str, define: Define) -> None:
    columns = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    custom = await define(Custom({"spec": SPEC}, additionalPrinterColumns=columns))
    (await make(api, custom, namespace, size=7)).ok(201)
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = (await api.get(custom.path(namespace), accept=accept)).ok()
    named = [(c["name"], c["priority"]) for c in table["columnDefinitions"]]
    assert named == [("Name", 0), ("Size", 0), ("Color", 1), ("Age", 0)]
    assert table["rows"][0]["cells"][:3] == ["w", 7, "red"]


async def test_37_scale_of_custom_resources(api: Api, namespace: str, define: Define) -> None:
    schema: Json = {
        "spec": {"type": "object", "properties": {"count": {"type": "integer"}}},
        "status": {
            "type": "object",
            "properties": {"count": {"type": "integer"}, "selector": {"type": "string"}},
        },
    }
    scale = {
        "specReplicasPath": ".spec.count",
        "statusReplicasPath": ".status.count",
        "labelSelectorPath": ".status.selector",
    }
    custom = await define(Custom(schema, subresources={"status": {}, "scale": scale}))
    path = custom.path(namespace, "w")
    (await make(api, custom, namespace, count=2)).ok(201)
    status = {"status": {"count": 1, "selector": "a=b"}}
    (await api.patch(f"{path}/status", status)).ok()
    found = (await api.get(f"{path}/scale")).ok()
    assert (found["kind"], found["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (found["spec"], found["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "a=b"})
    found["spec"]["replicas"] = 5
    assert (await api.put(f"{path}/scale", found)).ok()["spec"] == {"replicas": 5}
    assert (await api.get(path)).ok()["spec"]["count"] == 5
    answer = await api.patch(f"{path}/scale", {"spec": {"replicas": -1}})
    answer.is_status(422, "Invalid")
    answer = await api.patch(path, {"spec": {"count": -1}})  # whatever the schema says of it
    answer.is_status(422, "Invalid")
    assert answer.causes == {".spec.count": "FieldValueInvalid"}
