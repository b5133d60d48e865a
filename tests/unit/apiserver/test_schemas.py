"""Schemas: the server's words for what is wrong, pruning, defaulting, ratcheting."""

# ruff: noqa: E501 - a table of cases reads best with the wanted message on one line

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import (
    builtin_schema,
    copy_json,
    crd_schema,
    decode_error,
    default,
    prune,
    structural_errors,
    unknown_fields,
    validate,
)
from addon_framework.local.apiserver.validation.limits import errors


def of(**properties: Any) -> Json:
    spec = {"type": "object", "properties": properties}
    return {"type": "object", "properties": {"spec": spec}}


def causes(
    properties: Json, spec: Json, old: Json | None = None, *, rules: list[Json] | None = None
) -> list[str]:
    raw = of(**properties)
    if rules:
        raw["properties"]["spec"]["x-kubernetes-validations"] = rules
    assert structural_errors(raw) == []
    before = None if old is None else {"spec": old}
    return [str(each) for each in validate({"spec": spec}, crd_schema(raw), old=before)]


STRING, INTEGER = {"type": "string"}, {"type": "integer"}


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        (INTEGER, "x", 'Invalid value: "string": spec.f in body must be of type integer: "string"'),
        (INTEGER, True, 'Invalid value: "boolean": spec.f in body must be of type integer: "boolean"'),
        (STRING, None, 'Invalid value: "null": spec.f in body must be of type string: "null"'),
        (STRING, True, 'Invalid value: "boolean": spec.f in body must be of type string: "boolean"'),
        (
            {"type": "array", "items": STRING},
            {},
            'Invalid value: "object": spec.f in body must be of type array: "object"',
        ),
        (
            {"x-kubernetes-int-or-string": True},
            1.5,
            'Invalid value: "number": spec.f in body must be of type integer,string: "number"',
        ),
        ({**STRING, "enum": ["a", "b"]}, "c", 'Unsupported value: "c": supported values: "a", "b"'),
        (
            {**STRING, "minLength": 2},
            "c",
            'Invalid value: "c": spec.f in body should be at least 2 chars long',
        ),
        ({**STRING, "maxLength": 2}, "ccc", "Too long: may not be more than 2 bytes"),
        ({**STRING, "pattern": "^a+$"}, "b\n", "Invalid value: \"b\\n\": spec.f in body should match '^a+$'"),
        (
            {**STRING, "pattern": "^a+$"},
            "aa\n",
            "Invalid value: \"aa\\n\": spec.f in body should match '^a+$'",
        ),
        (
            {**STRING, "format": "date-time"},
            "x",
            'Invalid value: "x": spec.f in body must be of type date-time: "x"',
        ),
        (
            {**INTEGER, "minimum": 1},
            0,
            "Invalid value: 0: spec.f in body should be greater than or equal to 1",
        ),
        ({**INTEGER, "maximum": 1}, 2, "Invalid value: 2: spec.f in body should be less than or equal to 1"),
        (
            {**INTEGER, "minimum": 1, "exclusiveMinimum": True},
            1,
            "Invalid value: 1: spec.f in body should be greater than 1",
        ),
        ({**INTEGER, "multipleOf": 3}, 4, "Invalid value: 4: spec.f in body should be a multiple of 3"),
        (
            {"type": "array", "items": STRING, "maxItems": 1},
            ["a", "b"],
            "Too many: 2: must have at most 1 item",
        ),
        (
            {"type": "array", "items": STRING, "minItems": 1},
            [],
            "Invalid value: 0: spec.f in body should have at least 1 items",
        ),
        (
            {"type": "object", "additionalProperties": STRING, "maxProperties": 0},
            {"a": "b"},
            "Too many: 1: must have at most 0 items",
        ),
    ],
)
def test_values_are_refused_in_the_servers_words(schema: Json, value: Any, message: str) -> None:
    assert causes({"f": schema}, {"f": value}) == [f"spec.f: {message}"]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (INTEGER, 1.0),
        ({"type": "number"}, 1),
        ({**STRING, "nullable": True}, None),
        ({"x-kubernetes-int-or-string": True}, "80%"),
        ({"x-kubernetes-int-or-string": True}, 80),
        ({**STRING, "format": "made-up"}, "x"),
        ({**STRING, "pattern": "^a$|b"}, "xbx"),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"a": [1, None]}),
    ],
)
def test_values_are_accepted(schema: Json, value: Any) -> None:
    assert causes({"f": schema}, {"f": value}) == []


def test_paths_go_through_lists_and_maps() -> None:
    rows = {"type": "array", "items": {"type": "object", "required": ["n"], "properties": {"n": INTEGER}}}
    table = {"type": "object", "additionalProperties": INTEGER}
    assert causes({"rows": rows, "table": table}, {"rows": [{"n": 1}, {}], "table": {"k.x": "v"}}) == [
        "spec.rows[1].n: Required value",
        'spec.table.k.x: Invalid value: "string": spec.table.k.x in body must be of type integer: "string"',
    ]


def test_choices_are_reported_without_a_field() -> None:
    raw = {**STRING, "anyOf": [{"minLength": 5}, {"pattern": "^x"}]}
    found = causes({"f": raw}, {"f": "a"})
    assert found[0] == '<nil>: Invalid value: "": "spec.f" must validate at least one schema (anyOf)'
    one = {**STRING, "oneOf": [{"minLength": 1}, {"maxLength": 9}]}
    assert causes({"f": one}, {"f": "a"}) == [
        '<nil>: Invalid value: "": "spec.f" must validate one and only one schema (oneOf). '
        "Found 2 valid alternatives"
    ]
    negative = {**STRING, "not": {"enum": ["a"]}}
    assert causes({"f": negative}, {"f": "a"}) == [
        '<nil>: Invalid value: "": "spec.f" must not validate the schema (not)'
    ]


def test_list_types_refuse_duplicates_that_are_new() -> None:
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name", "p"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": STRING, "p": {**STRING, "default": "TCP"}},
        },
    }
    doubled = {"f": [{"name": "a"}, {"name": "a", "p": "TCP"}]}
    assert causes({"f": keyed}, doubled) == ['spec.f[1]: Duplicate value: {"name":"a","p":"TCP"}']
    unique = {"type": "array", "x-kubernetes-list-type": "set", "items": STRING}
    assert causes({"f": unique}, {"f": ["a", "b", "a"]}) == ['spec.f[2]: Duplicate value: "a"']
    assert causes({"f": unique, "g": STRING}, {"f": ["a", "a"], "g": "new"}, {"f": ["a", "a"]}) == []


def test_what_did_not_change_is_not_judged_again() -> None:
    schema = {"f": {**STRING, "minLength": 5}, "g": STRING}
    assert causes(schema, {"f": "old", "g": "2"}, {"f": "old", "g": "1"}) == []
    assert len(causes(schema, {"f": "new", "g": "2"}, {"f": "old", "g": "1"})) == 1
    assert len(causes({"f": INTEGER, "g": STRING}, {"f": True, "g": "2"}, {"f": 1})) == 1, "true is not 1"


RULED = {
    "n": {**INTEGER, "x-kubernetes-validations": [{"rule": "self < 5", "message": "too big"}]},
    "m": STRING,
}


def test_rules_say_why() -> None:
    assert causes(RULED, {"n": 7}) == ["spec.n: Invalid value: 7: too big"]
    rule = {"rule": "self.n < 5", "messageExpression": "'n is ' + string(self.n)", "fieldPath": ".n"}
    assert causes({"n": INTEGER}, {"n": 7}, rules=[rule]) == ["spec.n: Invalid value: n is 7"]
    plain = {"rule": "self.n < 5", "reason": "FieldValueForbidden"}
    assert causes({"n": INTEGER}, {"n": 7}, rules=[plain]) == ["spec: Forbidden: failed rule: self.n < 5"]


def test_rules_compare_with_the_old_value() -> None:
    fixed = {**STRING, "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]}
    assert causes({"f": fixed}, {"f": "a"}) == []
    assert causes({"f": fixed}, {"f": "b"}, {"f": "a"}) == ['spec.f: Invalid value: "b": is immutable']
    optional = [{"rule": "oldSelf.hasValue() || self == 'first'", "optionalOldSelf": True}]
    start = {**STRING, "x-kubernetes-validations": optional}
    assert len(causes({"f": start}, {"f": "x"})) == 1
    assert causes({"f": start}, {"f": "x"}, {"f": "first"}) == []


def test_rules_ratchet_and_wait_for_the_right_shape() -> None:
    assert causes(RULED, {"n": 7, "m": "new"}, {"n": 7, "m": "old"}) == []
    found = causes(RULED, {"n": 7, "m": 1})
    assert found[-1].startswith('<nil>: Invalid value: "null": some validation rules were not checked')
    assert not any("too big" in each for each in found)


def test_keyed_items_are_compared_with_their_old_selves() -> None:
    rule = {"rule": "self.v >= oldSelf.v", "message": "may only grow"}
    rows = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": STRING, "v": INTEGER},
            "x-kubernetes-validations": [rule],
        },
    }
    old = {"f": [{"name": "a", "v": 1}, {"name": "b", "v": 5}]}
    new = {"f": [{"name": "b", "v": 4}, {"name": "a", "v": 2}, {"name": "c", "v": 0}]}
    assert causes({"f": rows}, new, old) == ["spec.f[0]: Invalid value: may only grow"]


@pytest.mark.parametrize(
    ("rule", "value", "right"),
    [
        ("quantity(self).isLessThan(quantity('1Gi'))", "1Mi", True),
        ("isQuantity(self)", "1x", False),
        ("isURL(self) && url(self).getHostname() == 'a.b'", "https://a.b:1/c", True),
        ("cidr('10.0.0.0/8').containsIP(self)", "10.1.1.1", True),
        ("isIP(self) && ip(self).family() == 4", "::1", False),
        ("self.find('[0-9]+') == '12'", "ab12", True),
        ("'%s!'.format([self]) == 'a!'", "a", True),
        ("size(self) == 1", "é", True),
        ("cel.bind(x, self + 'b', x == 'ab')", "a", True),
        ("semver(self).isLessThan(semver('1.10.0'))", "1.9.0", True),
        ("!format.dns1123Label().validate(self).hasValue()", "A_", False),
        ("self.split(',').isSorted()", "a,b", True),
        ("math.greatest(1, size(self)) == 3", "abc", True),
    ],
)
def test_kubernetes_functions(rule: str, value: str, right: bool) -> None:
    schema = {**STRING, "x-kubernetes-validations": [{"rule": rule}]}
    assert (causes({"f": schema}, {"f": value}) == []) is right


def test_optional_selection_and_escaped_names() -> None:
    names = {"a": INTEGER, "dash-ed": INTEGER, "namespace": STRING}
    rules = [
        {"rule": "self.?a.orValue(1) == 1"},
        {"rule": "self.__namespace__ == 'x'"},
        {"rule": "self.dash__dash__ed == 2"},
        {"rule": "self.?a.optMap(v, v + 1).orValue(2) == 2"},
    ]
    spec = {"dash-ed": 2, "namespace": "x"}
    assert causes(names, spec, rules=rules) == []


def test_rules_that_cannot_work_refuse_the_definition() -> None:
    def errors(rule: str) -> list[str]:
        raw = of(a=STRING)
        raw["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": rule}]
        return [each.message for each in structural_errors(raw)]

    assert "undefined field 'b'" in errors("self.b == 'x'")[0]
    assert "undeclared reference to 'foo'" in errors("foo(self.a)")[0]
    assert "undeclared reference to 'x'" in errors("x == 'x'")[0]
    assert "compilation failed" in errors("self.a ==")[0]
    assert errors(" ") == ["Required value: rule is not specified"]


def test_pruning_and_unknown_fields() -> None:
    schema = crd_schema(
        of(
            known=STRING,
            rows={"type": "array", "items": {"type": "object", "properties": {"a": STRING}}},
            free={
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {"in": {"type": "object", "properties": {"a": STRING}}},
            },
            pod={
                "type": "object",
                "x-kubernetes-embedded-resource": True,
                "x-kubernetes-preserve-unknown-fields": True,
            },
            table={"type": "object", "additionalProperties": {"type": "object", "properties": {"a": STRING}}},
        )
    )
    obj: Json = {
        "apiVersion": "v1",
        "kind": "X",
        "metadata": {"name": "a", "nope": 1},
        "extra": 1,
        "spec": {
            "known": "x",
            "nope": {},
            "rows": [{"a": "1", "b": 2}],
            "free": {"z": 1, "in": {"a": "1", "b": 2}},
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}},
            "table": {"k": {"a": "1", "b": 2}},
        },
    }
    wanted = [
        "metadata.nope",
        "spec.rows[0].b",
        "spec.free.in.b",
        "spec.table.k.b",
        "spec.nope",
        "extra",
    ]
    assert sorted(unknown_fields(obj, schema)) == sorted(wanted)
    assert sorted(prune(obj, schema)) == sorted(wanted)
    assert obj["spec"]["free"] == {"z": 1, "in": {"a": "1"}}
    assert unknown_fields(obj, schema) == []


def test_defaults_are_copied_top_down_and_nulls_give_way() -> None:
    schema = crd_schema(
        of(
            a={**INTEGER, "default": 1},
            nested={"type": "object", "default": {}, "properties": {"b": {**STRING, "default": "x"}}},
            rows={
                "type": "array",
                "items": {"type": "object", "properties": {"c": {"type": "boolean", "default": False}}},
            },
            gone=STRING,
            kept={**STRING, "nullable": True},
        )
    )
    one: Json = {"spec": {"a": None, "rows": [{}, {"c": True}], "gone": None, "kept": None}}
    default(one, schema)
    assert one["spec"] == {
        "a": 1,
        "nested": {"b": "x"},
        "rows": [{"c": False}, {"c": True}],
        "kept": None,
    }
    other: Json = {"spec": {}}
    default(other, schema)
    other["spec"]["nested"]["b"] = "changed"
    again: Json = {"spec": {}}
    default(again, schema)
    assert again["spec"]["nested"] == {"b": "x"}, "defaults are not shared between objects"


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (
            {"properties": {}},
            "spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root",
        ),
        (
            {"type": "object", "properties": {"a": {}}},
            "spec.validation.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "array"}}},
            "spec.validation.openAPIV3Schema.properties[a].items: Required value: must be specified",
        ),
        (
            of(a={**STRING, "anyOf": [{"type": "string"}]}),
            "spec.validation.openAPIV3Schema.properties[spec].properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            of(a={**INTEGER, "default": "x"}),
            'spec.validation.openAPIV3Schema.properties[spec].properties[a].default: Invalid value: "string":  in body must be of type integer: "string"',
        ),
        (
            of(
                a={
                    "type": "array",
                    "items": {"type": "object", "properties": {"n": STRING}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["n"],
                }
            ),
            "spec.validation.openAPIV3Schema.properties[spec].properties[a].items.properties[n].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            {"type": "object", "additionalProperties": STRING},
            "spec.validation.openAPIV3Schema.additionalProperties: Forbidden: must not be used at the root",
        ),
    ],
)
def test_schemas_must_be_structural(raw: Json, wanted: str) -> None:
    assert wanted in [str(each) for each in structural_errors(raw)]


def test_builtin_kinds_report_types_as_go_does() -> None:
    schema = builtin_schema("apps", "v1", "Deployment")
    assert schema is not None
    assert decode_error({"spec": {"replicas": "x"}}, schema) == (
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    )
    containers = {"spec": {"template": {"spec": {"containers": [{"image": 1}]}}}}
    assert decode_error(containers, schema) == (
        "json: cannot unmarshal number into Go struct field "
        "Container.spec.template.spec.containers.image of type string"
    )
    fine = {"metadata": {"labels": None}, "spec": {"replicas": 2.0, "template": {"spec": {"containers": []}}}}
    assert decode_error(fine, schema) is None
    assert builtin_schema("apps", "v1", "Nonsense") is None


def test_builtin_kinds_name_what_is_missing_and_unknown() -> None:
    schema = builtin_schema("", "v1", "Pod")
    assert schema is not None
    pod: Json = {"spec": {"containers": [{"image": "i", "env": [{"value": "v"}], "typo": 1}]}, "status": {}}
    assert [str(each) for each in errors(pod, "core.v1.Pod")][:2] == [
        "spec.containers[0].name: Required value",
        "spec.containers[0].env[0].name: Required value",
    ]
    assert [str(each) for each in errors({"spec": {}}, "core.v1.Pod")] == ["spec.containers: Required value"]
    assert unknown_fields(pod, schema) == ["spec.containers[0].typo"]
    before = copy_json(pod)
    assert errors(pod, "core.v1.Pod")
    assert pod == before
