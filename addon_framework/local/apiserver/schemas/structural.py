"""Whether the schema of a CustomResourceDefinition is structural, as the server demands it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import NoneType
from typing import Any

from addon_framework.api.meta import Json, copy_json
from addon_framework.local.apiserver.schemas import cause
from addon_framework.local.apiserver.schemas.cause import Cause
from addon_framework.local.apiserver.schemas.celbudget import runs_away
from addon_framework.local.apiserver.schemas.celtext import hidden
from addon_framework.local.apiserver.schemas.celtype import type_of
from addon_framework.local.apiserver.schemas.crd import compile_schema
from addon_framework.local.apiserver.schemas.fields import prune
from addon_framework.local.apiserver.schemas.rules import Rule, escape
from addon_framework.local.apiserver.schemas.validate import check

_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_NEVER = ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "uniqueItems")
_COSTLY = (
    "estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding "
    "maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
)
_UNTYPED = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
# Value validations may restrict what the structure declares, never declare structure themselves.
_NOT_IN_CHOICES = {
    "type": "empty",
    "additionalProperties": "undefined",
    "default": "undefined",
    "title": "empty",
    "description": "empty",
    "nullable": "false",
    "x-kubernetes-preserve-unknown-fields": "false",
    "x-kubernetes-embedded-resource": "false",
    "x-kubernetes-int-or-string": "false",
    "x-kubernetes-list-map-keys": "empty",
    "x-kubernetes-list-type": "undefined",
    "x-kubernetes-map-type": "undefined",
    "x-kubernetes-validations": "empty",
}


def structural_errors(schema: Json, *, path: str = "spec.validation.openAPIV3Schema") -> list[Cause]:
    """Every reason why the server would refuse this openAPIV3Schema, with paths below `path`."""
    return sorted(_structure(schema, "root", path), key=str)


def _structure(raw: Any, level: str, path: str) -> Iterator[Cause]:
    if not isinstance(raw, dict):
        return
    for key in _NEVER:
        if raw.get(key):
            yield cause.forbidden(f"{path}.{key}", f"{key} is not supported")
    yield from _type(raw, level, path)
    yield from _extensions(raw, path)
    yield from _lists(raw, path)
    yield from _additional(raw, level, path)
    yield from _metadata(raw, level, path)
    yield from _pattern(raw, path)
    yield from _choices(raw, raw, path)
    for index, rule in enumerate(raw.get("x-kubernetes-validations") or ()):
        yield from _rule(rule, raw, level, f"{path}.x-kubernetes-validations[{index}]")
    yield from _default(raw, level, path)
    for key, value in (raw.get("properties") or {}).items():
        if not (level == "root" and key == "metadata"):
            yield from _structure(value, "field", f"{path}.properties[{key}]")
    yield from _structure(raw.get("additionalProperties"), "field", f"{path}.additionalProperties")
    yield from _structure(raw.get("items"), "item", f"{path}.items")
    if not isinstance(raw.get("items"), (dict, NoneType)):
        yield cause.forbidden(f"{path}.items", "items must be a schema object and not an array")


def _type(raw: Json, level: str, path: str) -> Iterator[Cause]:
    found, where = raw.get("type", ""), f"{path}.type"
    if found and found not in _TYPES:
        yield cause.not_supported(where, found, _TYPES)
    if found == "array" and raw.get("items") is None:
        yield cause.required(f"{path}.items", "must be specified")
    if level == "root" and found and found != "object":
        yield cause.invalid(where, found, "must be object at the root")
    free = raw.get("x-kubernetes-int-or-string") or raw.get("x-kubernetes-preserve-unknown-fields")
    if raw.get("x-kubernetes-embedded-resource"):
        why = "must be object if x-kubernetes-embedded-resource is true"
        if not found:
            yield cause.required(where, why)
        elif found != "object":
            yield cause.invalid(where, found, why)
    elif not found and not free:
        yield cause.required(where, _UNTYPED[level])


def _extensions(raw: Json, path: str) -> Iterator[Cause]:
    found, where = raw.get("type", ""), f"{path}.type"
    preserve, map_type = raw.get("x-kubernetes-preserve-unknown-fields"), raw.get("x-kubernetes-map-type")
    if raw.get("x-kubernetes-int-or-string"):
        for key in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if raw.get(key):
                why = "must be false if x-kubernetes-int-or-string is true"
                yield cause.invalid(f"{path}.{key}", True, why)
        if found:
            yield cause.invalid(where, found, "must be empty if x-kubernetes-int-or-string is true")
    if preserve is False:
        at = f"{path}.x-kubernetes-preserve-unknown-fields"
        yield cause.invalid(at, False, "must be true or undefined")
    if preserve and found and found != "object":
        why = "must be object if x-kubernetes-preserve-unknown-fields is true"
        yield cause.invalid(where, found, why)
    if map_type is not None:
        if map_type not in ("granular", "atomic"):
            yield cause.not_supported(f"{path}.x-kubernetes-map-type", map_type, ["atomic", "granular"])
        if found != "object":
            yield cause.invalid(where, found, "must be object if x-kubernetes-map-type is specified")


def _lists(raw: Json, path: str) -> Iterator[Cause]:
    where, keys_at = f"{path}.x-kubernetes-list-type", f"{path}.x-kubernetes-list-map-keys"
    kind, keys = raw.get("x-kubernetes-list-type"), raw.get("x-kubernetes-list-map-keys") or []
    items: Json = raw["items"] if isinstance(raw.get("items"), dict) else {}
    if kind is None:
        if keys:
            yield cause.required(where, "must be map if x-kubernetes-list-map-keys is non-empty")
        return
    if kind not in ("atomic", "set", "map"):
        yield cause.not_supported(where, kind, ["atomic", "map", "set"])
    if raw.get("type") != "array":
        why = "must be array if x-kubernetes-list-type is specified"
        yield cause.invalid(f"{path}.type", raw.get("type", ""), why)
    if kind == "map":
        yield from _map_list(items, keys, path)
    elif keys:
        yield cause.forbidden(keys_at, "must be empty if x-kubernetes-list-type is not map")
    if kind == "set":
        yield from _set_list(items, f"{path}.items")


def _set_list(items: Json, path: str) -> Iterator[Cause]:
    if items.get("nullable"):
        why = "cannot be nullable when x-kubernetes-list-type is set"
        yield cause.forbidden(f"{path}.nullable", why)
    for compound, key, unless in (("object", "map", ""), ("array", "list", "atomic")):
        said = items.get(f"x-kubernetes-{key}-type", unless)
        if items.get("type") == compound and said != "atomic":
            why = "must be atomic as item of a list with x-kubernetes-list-type=set"
            yield cause.invalid(f"{path}.x-kubernetes-{key}-type", said or None, why)


def _map_list(items: Json, keys: list[str], path: str) -> Iterator[Cause]:
    if not keys:
        why = "must not be empty if x-kubernetes-list-type is map"
        yield cause.required(f"{path}.x-kubernetes-list-map-keys", why)
    if items.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        yield cause.invalid(f"{path}.items.type", items.get("type", ""), why)
    for index, key in enumerate(keys):
        where, field = f"{path}.x-kubernetes-list-map-keys[{index}]", f"{path}.items.properties[{key}]"
        found = (items.get("properties") or {}).get(key)
        if key in keys[:index]:
            yield cause.duplicate(where, key)
        if found is None:
            yield cause.invalid(where, key, "entries must all be names of item properties")
            continue
        if found.get("type") in ("object", "array"):
            why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield cause.invalid(f"{field}.type", found["type"], why)
        if key not in (items.get("required") or ()) and "default" not in found:
            why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required"
            yield cause.required(f"{field}.default", f"{why} property")


def _additional(raw: Json, level: str, path: str) -> Iterator[Cause]:
    additional, where = raw.get("additionalProperties"), f"{path}.additionalProperties"
    if additional is None:
        return
    if additional is False:
        yield cause.forbidden(where, "additionalProperties cannot be set to false")
        return
    if raw.get("properties"):
        yield cause.forbidden(where, "additionalProperties and properties are mutual exclusive")
    if level == "root":
        yield cause.forbidden(where, "must not be used at the root")
    if raw.get("x-kubernetes-embedded-resource"):
        yield cause.forbidden(where, "must not be used if x-kubernetes-embedded-resource is set")


def _metadata(raw: Json, level: str, path: str) -> Iterator[Cause]:
    properties, embedded = raw.get("properties") or {}, raw.get("x-kubernetes-embedded-resource")
    if embedded and not raw.get("x-kubernetes-preserve-unknown-fields") and not properties:
        why = "must not be empty if x-kubernetes-embedded-resource is true without "
        yield cause.required(f"{path}.properties", f"{why}x-kubernetes-preserve-unknown-fields")
    if level != "root" and not embedded:
        return
    for key, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        found = properties.get(key)
        if found is not None and found.get("type") != wanted:
            where = f"{path}.properties[{key}].type"
            yield cause.invalid(where, found.get("type", ""), f"must be {wanted}")
    meta = properties.get("metadata")
    if level == "root" and isinstance(meta, dict):
        extra = set(meta) - {"type", "properties", "description"}
        extra |= set(meta.get("properties") or {}) - {"name", "generateName"}
        if extra:
            why = "must not specify anything other than name and generateName: the rest is implied"
            yield cause.forbidden(f"{path}.properties[metadata]", why)


def _pattern(raw: Json, path: str) -> Iterator[Cause]:
    pattern = raw.get("pattern")
    try:
        re.compile(pattern or "")
    except re.error as error:
        why = f"must be a valid regular expression, but isn't: {error}"
        yield cause.invalid(f"{path}.pattern", pattern, why)


def _rule(rule: Json, raw: Json, level: str, path: str) -> Iterator[Cause]:
    text, message = str(rule.get("rule", "")), rule.get("message")
    if not text.strip():
        yield cause.required(f"{path}.rule", "rule is not specified")
        return
    if message and not str(message).strip():
        yield cause.invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif "\n" in str(message or ""):
        yield cause.invalid(f"{path}.message", message, "message must not contain line breaks")
    elif not message and "\n" in text.strip() and not rule.get("messageExpression"):
        yield cause.required(f"{path}.message", "message must be specified if rule contains line breaks")
    if (reason := rule.get("reason")) is not None and reason not in _REASONS:
        yield cause.not_supported(f"{path}.reason", reason, _REASONS)
    if (field := rule.get("fieldPath")) and field_at(raw, field) is None:
        yield cause.invalid(f"{path}.fieldPath", field, "must be a valid path")
    compiled = Rule(rule)
    if compiled.error:
        yield cause.invalid(f"{path}.rule", text, compiled.error)
    elif runs_away(text, raw):
        yield cause.forbidden(f"{path}.rule", _COSTLY)
    for key, wanted in (("rule", "bool"), ("messageExpression", "string")):
        if type_of(said := str(rule.get(key) or ""), raw) not in ("", wanted):
            yield cause.invalid(f"{path}.{key}", said, f"cel expression must evaluate to a {wanted}")
    for key in ("rule", "messageExpression"):
        for name in _undefined(str(rule.get(key) or ""), raw, root=level == "root"):
            why = f"compilation failed: ERROR: <input>:1:1: undefined field '{name}'"
            yield cause.invalid(f"{path}.{key}", rule[key], why)


_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]")


def field_at(raw: Any, path: str) -> Any:
    """The schema of the field that a path such as .spec.color leads to; None where it leads nowhere."""
    if not re.fullmatch(f"(?:{_STEP.pattern})+", path):
        return None
    for dotted, quoted in _STEP.findall(path):
        known = raw if isinstance(raw, dict) else {}
        raw = (known.get("properties") or {}).get(dotted or quoted, known.get("additionalProperties"))
    return raw


_CHAIN = re.compile(r"(?<![\w.])(?:self|oldSelf)((?:\.[A-Za-z_]\w*(?!\w*\s*\())+)")


def _undefined(expression: str, raw: Json, *, root: bool) -> Iterator[str]:
    """Fields that an expression reads and the schema does not have, which the server's type check refuses."""
    for match in _CHAIN.finditer(hidden(expression)):
        node: Any = raw
        for depth, name in enumerate(match[1][1:].split(".")):
            properties = node.get("properties") or {}
            if root and depth == 0 and name in ("apiVersion", "kind", "metadata"):
                break
            if node.get("type") != "object" or not properties:
                break
            known = {escape(key): value for key, value in properties.items()}
            if name not in known:
                yield name
                break
            node = known[name]


def _default(raw: Json, level: str, path: str) -> Iterator[Cause]:
    if "default" not in raw:
        return
    where = f"{path}.default"
    if level == "root":
        yield cause.forbidden(where, "must not be set at the root")
        return
    node, value = compile_schema(raw), copy_json(raw["default"])
    if isinstance(value, dict) and prune(value, node):
        yield cause.invalid(where, raw["default"], "must not have unknown fields")
    for found in check(value, node):
        tail = found.field.removeprefix("<nil>")
        yield found._replace(field=where + (f".{tail}" if tail else ""))


def _choices(raw: Json, structure: Json, path: str) -> Iterator[Cause]:
    """allOf, anyOf, oneOf and not, at any depth."""
    free = bool(raw.get("x-kubernetes-int-or-string"))
    for key in ("allOf", "anyOf", "oneOf"):
        choices = raw.get(key) or ()
        if free and key == "anyOf" and list(choices) == _INT_OR_STRING:
            continue
        for index, choice in enumerate(choices):
            if not (free and key == "allOf" and index == 0 and choice.get("anyOf") == _INT_OR_STRING):
                yield from _nested(choice, structure, f"{path}.{key}[{index}]")
    if isinstance(raw.get("not"), dict):
        yield from _nested(raw["not"], structure, f"{path}.not")


def _nested(raw: Json, structure: Json, path: str) -> Iterator[Cause]:
    for key, how in _NOT_IN_CHOICES.items():
        if raw.get(key) not in (None, "", False, []):
            yield cause.forbidden(f"{path}.{key}", f"must be {how} to be structural")
    yield from _pattern(raw, path)
    yield from _choices(raw, structure, path)
    declared = structure.get("properties") or {}
    for key, value in (raw.get("properties") or {}).items():
        where = f"{path}.properties[{key}]"
        if key == "metadata":
            yield cause.forbidden(where, "must not be specified in a nested context")
        elif key not in declared:
            yield _undeclared(where)
        else:
            yield from _nested(value, declared[key], where)
    if isinstance(raw.get("items"), dict):
        where = f"{path}.items"
        if isinstance(structure.get("items"), dict):
            yield from _nested(raw["items"], structure["items"], where)
        else:
            yield _undeclared(where)


def _undeclared(where: str) -> Cause:
    structural = re.sub(r"\.(allOf|anyOf|oneOf)\[\d+\]|\.not(?=\.|$)", "", where)
    return cause.required(structural, f"because it is defined in {where}")
