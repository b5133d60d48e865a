"""Whether the schema of a CustomResourceDefinition is structural, as the server demands it."""

from __future__ import annotations

import re
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import cause
from addon_framework.local.apiserver.schemas.cause import Cause
from addon_framework.local.apiserver.schemas.celbudget import runs_away
from addon_framework.local.apiserver.schemas.crd import compile_schema
from addon_framework.local.apiserver.schemas.defaulting import copy_json
from addon_framework.local.apiserver.schemas.fields import prune
from addon_framework.local.apiserver.schemas.rules import compile_rule, escape
from addon_framework.local.apiserver.schemas.validate import check

_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_TYPES = frozenset({"array", "boolean", "integer", "number", "object", "string"})
_NEVER = ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems")
_COSTLY = (
    "estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding "
    "maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
)
# Value validations may restrict what the structure declares, never declare structure themselves.
_NOT_IN_CHOICES = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)


def structural_errors(schema: Json, *, path: str = "spec.validation.openAPIV3Schema") -> list[Cause]:
    """Every reason why the server would refuse this openAPIV3Schema, with paths below `path`."""
    causes: list[Cause] = []
    _structure(schema, "root", path, causes)
    return sorted(causes, key=str)


def _structure(raw: Any, level: str, path: str, causes: list[Cause]) -> None:
    if not isinstance(raw, dict):
        return
    for key in _NEVER:
        if raw.get(key):
            causes.append(cause.forbidden(f"{path}.{key}", f"{key} is not supported"))
    if raw.get("uniqueItems"):
        causes.append(
            cause.forbidden(
                f"{path}.uniqueItems",
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            )
        )
    _type(raw, level, path, causes)
    _extensions(raw, path, causes)
    _additional(raw, level, path, causes)
    _metadata(raw, level, path, causes)
    _pattern(raw, path, causes)
    _choices(raw, raw, path, causes)
    for index, rule in enumerate(raw.get("x-kubernetes-validations") or ()):
        _rule(rule, raw, level, f"{path}.x-kubernetes-validations[{index}]", causes)
    _default(raw, level, path, causes)
    for key, value in (raw.get("properties") or {}).items():
        if not (level == "root" and key == "metadata"):
            _structure(value, "field", f"{path}.properties[{key}]", causes)
    if isinstance(raw.get("additionalProperties"), dict):
        _structure(raw["additionalProperties"], "field", f"{path}.additionalProperties", causes)
    if isinstance(raw.get("items"), dict):
        _structure(raw["items"], "item", f"{path}.items", causes)
    elif raw.get("items") is not None:
        causes.append(cause.forbidden(f"{path}.items", "items must be a schema object and not an array"))


def _type(raw: Json, level: str, path: str, causes: list[Cause]) -> None:
    found = raw.get("type", "")
    if found and found not in _TYPES:
        causes.append(cause.not_supported(f"{path}.type", found, sorted(_TYPES)))
    if found == "array" and raw.get("items") is None:
        causes.append(cause.required(f"{path}.items", "must be specified"))
    if level == "root" and found and found != "object":
        causes.append(cause.invalid(f"{path}.type", found, "must be object at the root"))
    embedded = raw.get("x-kubernetes-embedded-resource")
    if embedded and found != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        causes.append(
            cause.invalid(f"{path}.type", found, detail) if found else cause.required(f"{path}.type", detail)
        )
    elif not (
        found or raw.get("x-kubernetes-int-or-string") or raw.get("x-kubernetes-preserve-unknown-fields")
    ):
        detail = {
            "root": "must not be empty at the root",
            "item": "must not be empty for specified array items",
            "field": "must not be empty for specified object fields",
        }[level]
        causes.append(cause.required(f"{path}.type", detail))


def _extensions(raw: Json, path: str, causes: list[Cause]) -> None:
    found = raw.get("type", "")
    if raw.get("x-kubernetes-int-or-string"):
        for key in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if raw.get(key):
                detail = "must be false if x-kubernetes-int-or-string is true"
                causes.append(cause.invalid(f"{path}.{key}", True, detail))
        if found:
            detail = "must be empty if x-kubernetes-int-or-string is true"
            causes.append(cause.invalid(f"{path}.type", found, detail))
    if raw.get("x-kubernetes-preserve-unknown-fields") is False:
        causes.append(
            cause.invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
        )
    if raw.get("x-kubernetes-preserve-unknown-fields") and found and found != "object":
        causes.append(
            cause.invalid(
                f"{path}.type", found, "must be object if x-kubernetes-preserve-unknown-fields is true"
            )
        )
    _lists(raw, path, causes)
    map_type = raw.get("x-kubernetes-map-type")
    if map_type is not None:
        if map_type not in ("granular", "atomic"):
            causes.append(
                cause.not_supported(f"{path}.x-kubernetes-map-type", map_type, ["atomic", "granular"])
            )
        if found != "object":
            causes.append(
                cause.invalid(f"{path}.type", found, "must be object if x-kubernetes-map-type is specified")
            )


def _lists(raw: Json, path: str, causes: list[Cause]) -> None:
    kind = raw.get("x-kubernetes-list-type")
    keys = raw.get("x-kubernetes-list-map-keys") or []
    if kind is None:
        if keys:
            detail = "must be map if x-kubernetes-list-map-keys is non-empty"
            causes.append(cause.required(f"{path}.x-kubernetes-list-type", detail))
        return
    if kind not in ("atomic", "set", "map"):
        causes.append(cause.not_supported(f"{path}.x-kubernetes-list-type", kind, ["atomic", "map", "set"]))
    if raw.get("type") != "array":
        causes.append(
            cause.invalid(
                f"{path}.type", raw.get("type", ""), "must be array if x-kubernetes-list-type is specified"
            )
        )
    items = raw.get("items") if isinstance(raw.get("items"), dict) else {}
    assert isinstance(items, dict)
    if kind == "map":
        _map_list(items, keys, path, causes)
    elif keys:
        detail = "must be empty if x-kubernetes-list-type is not map"
        causes.append(cause.forbidden(f"{path}.x-kubernetes-list-map-keys", detail))
    if kind == "set" and items.get("nullable"):
        causes.append(
            cause.forbidden(f"{path}.items.nullable", "cannot be nullable when x-kubernetes-list-type is set")
        )
    if kind == "set" and (
        (items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic")
        or (items.get("type") == "array" and items.get("x-kubernetes-list-type", "atomic") != "atomic")
    ):
        key = "x-kubernetes-map-type" if items["type"] == "object" else "x-kubernetes-list-type"
        detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
        causes.append(cause.invalid(f"{path}.items.{key}", items.get(key), detail))


def _map_list(items: Json, keys: list[str], path: str, causes: list[Cause]) -> None:
    if not keys:
        detail = "must not be empty if x-kubernetes-list-type is map"
        causes.append(cause.required(f"{path}.x-kubernetes-list-map-keys", detail))
    if items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        causes.append(cause.invalid(f"{path}.items.type", items.get("type", ""), detail))
    properties = items.get("properties") or {}
    mandatory = items.get("required") or []
    for index, key in enumerate(keys):
        where = f"{path}.x-kubernetes-list-map-keys[{index}]"
        if key in keys[:index]:
            causes.append(cause.duplicate(where, key))
        found = properties.get(key)
        if found is None:
            causes.append(cause.invalid(where, key, "entries must all be names of item properties"))
            continue
        if found.get("type") in ("object", "array"):
            causes.append(
                cause.invalid(
                    f"{path}.items.properties[{key}].type",
                    found["type"],
                    "must be a scalar type if parent array's x-kubernetes-list-type is map",
                )
            )
        if key not in mandatory and "default" not in found:
            causes.append(
                cause.required(
                    f"{path}.items.properties[{key}].default",
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a "
                    "required property",
                )
            )


def _additional(raw: Json, level: str, path: str, causes: list[Cause]) -> None:
    additional = raw.get("additionalProperties")
    if additional is None:
        return
    where = f"{path}.additionalProperties"
    if additional is False:
        causes.append(cause.forbidden(where, "additionalProperties cannot be set to false"))
        return
    if raw.get("properties"):
        causes.append(cause.forbidden(where, "additionalProperties and properties are mutual exclusive"))
    if level == "root":
        causes.append(cause.forbidden(where, "must not be used at the root"))
    if raw.get("x-kubernetes-embedded-resource"):
        causes.append(cause.forbidden(where, "must not be used if x-kubernetes-embedded-resource is set"))


def _metadata(raw: Json, level: str, path: str, causes: list[Cause]) -> None:
    properties = raw.get("properties") or {}
    embedded = raw.get("x-kubernetes-embedded-resource")
    if embedded and not raw.get("x-kubernetes-preserve-unknown-fields") and not properties:
        causes.append(
            cause.required(
                f"{path}.properties",
                "must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields",
            )
        )
    if level != "root" and not embedded:
        return
    for key, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        found = properties.get(key)
        if found is not None and found.get("type") != wanted:
            causes.append(
                cause.invalid(f"{path}.properties[{key}].type", found.get("type", ""), f"must be {wanted}")
            )
    meta = properties.get("metadata")
    if level == "root" and isinstance(meta, dict):
        extra = set(meta) - {"type", "properties", "description"}
        extra |= set(meta.get("properties") or {}) - {"name", "generateName"}
        if extra:
            causes.append(
                cause.forbidden(
                    f"{path}.properties[metadata]",
                    "must not specify anything other than name and generateName, but metadata is "
                    "implicitly specified",
                )
            )


def _pattern(raw: Json, path: str, causes: list[Cause]) -> None:
    pattern = raw.get("pattern")
    if not pattern:
        return
    try:
        re.compile(pattern)
    except re.error as error:
        detail = f"must be a valid regular expression, but isn't: {error}"
        causes.append(cause.invalid(f"{path}.pattern", pattern, detail))


def _rule(rule: Json, raw: Json, level: str, path: str, causes: list[Cause]) -> None:
    if not str(rule.get("rule", "")).strip():
        causes.append(cause.required(f"{path}.rule", "rule is not specified"))
        return
    message = rule.get("message")
    if message is not None and not str(message).strip():
        causes.append(cause.invalid(f"{path}.message", message, "message must be non-empty if specified"))
    elif "\n" in str(message or ""):
        causes.append(cause.invalid(f"{path}.message", message, "message must not contain line breaks"))
    elif not message and "\n" in str(rule["rule"]).strip() and not rule.get("messageExpression"):
        causes.append(
            cause.required(f"{path}.message", "message must be specified if rule contains line breaks")
        )
    compiled = compile_rule(rule)
    if compiled.error:
        causes.append(cause.invalid(f"{path}.rule", rule["rule"], compiled.error))
    elif runs_away(rule["rule"], raw):
        causes.append(cause.forbidden(f"{path}.rule", _COSTLY))
    for key in ("rule", "messageExpression"):
        for name in _undefined(str(rule.get(key) or ""), raw, root=level == "root"):
            detail = f"compilation failed: ERROR: <input>:1:1: undefined field '{name}'"
            causes.append(cause.invalid(f"{path}.{key}", rule[key], detail))


_CHAIN = re.compile(r"(?<![\w.])(?:self|oldSelf)((?:\.[A-Za-z_]\w*(?!\w*\s*\())+)")
_TEXT = re.compile(r"""r?("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")


def _undefined(expression: str, raw: Json, *, root: bool) -> list[str]:
    """Fields that an expression reads and the schema does not have, which the server's type check refuses."""
    found = []
    for match in _CHAIN.finditer(_TEXT.sub("''", expression)):
        node: Any = raw
        for depth, name in enumerate(match[1][1:].split(".")):
            properties = node.get("properties") or {}
            if root and depth == 0 and name in ("apiVersion", "kind", "metadata"):
                break
            if node.get("type") != "object" or not properties:
                break
            known = {escape(key): value for key, value in properties.items()}
            if name not in known:
                found.append(name)
                break
            node = known[name]
    return found


def _default(raw: Json, level: str, path: str, causes: list[Cause]) -> None:
    if "default" not in raw:
        return
    where = f"{path}.default"
    if level == "root":
        causes.append(cause.forbidden(where, "must not be set at the root"))
        return
    node = compile_schema(raw)
    value = copy_json(raw["default"])
    if isinstance(value, dict) and prune(value, node):
        causes.append(cause.invalid(where, raw["default"], "must not have unknown fields"))
    for found in check(value, node):
        tail = found.field[len("<nil>") :] if found.field.startswith("<nil>") else found.field
        causes.append(Cause(where + (f".{tail}" if tail else ""), found.reason, found.message))


def _choices(raw: Json, structure: Json, path: str, causes: list[Cause]) -> None:
    """allOf, anyOf, oneOf and not, at any depth."""
    free = bool(raw.get("x-kubernetes-int-or-string"))
    for key in ("allOf", "anyOf", "oneOf"):
        choices = raw.get(key) or ()
        if free and key == "anyOf" and list(choices) == _INT_OR_STRING:
            continue
        for index, choice in enumerate(choices):
            if free and key == "allOf" and index == 0 and choice.get("anyOf") == _INT_OR_STRING:
                continue
            _nested(choice, structure, f"{path}.{key}[{index}]", causes)
    if isinstance(raw.get("not"), dict):
        _nested(raw["not"], structure, f"{path}.not", causes)


def _nested(raw: Json, structure: Json, path: str, causes: list[Cause]) -> None:
    for key, detail in _NOT_IN_CHOICES:
        if raw.get(key) not in (None, "", False, []):
            causes.append(cause.forbidden(f"{path}.{key}", detail))
    _pattern(raw, path, causes)
    _choices(raw, structure, path, causes)
    properties = raw.get("properties") or {}
    declared = structure.get("properties") or {}
    for key, value in properties.items():
        where = f"{path}.properties[{key}]"
        if key == "metadata":
            causes.append(cause.forbidden(where, "must not be specified in a nested context"))
            continue
        if key not in declared:
            causes.append(_undeclared(where, path, f"properties[{key}]"))
            continue
        _nested(value, declared[key], where, causes)
    if isinstance(raw.get("items"), dict):
        if not isinstance(structure.get("items"), dict):
            causes.append(_undeclared(f"{path}.items", path, "items"))
        else:
            _nested(raw["items"], structure["items"], f"{path}.items", causes)


def _undeclared(where: str, path: str, tail: str) -> Cause:
    structural = re.sub(r"\.(allOf|anyOf|oneOf)\[\d+\]|\.not(?=\.|$)", "", f"{path}.{tail}")
    return cause.required(structural, f"because it is defined in {where}")
