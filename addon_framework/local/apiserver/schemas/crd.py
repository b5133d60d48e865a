"""Compiles the openAPIV3Schema of a custom resource version."""

from __future__ import annotations

import re
from copy import copy
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas.builtin import builtin_schema
from addon_framework.local.apiserver.schemas.node import MISSING, SchemaNode
from addon_framework.local.apiserver.schemas.rules import Rule


def object_meta() -> SchemaNode:
    """The schema of metadata, which custom resources get without asking."""
    config_map = builtin_schema("", "v1", "ConfigMap")
    assert config_map is not None, "kubernetes-validate ships ConfigMap"
    return config_map.properties["metadata"]


def crd_schema(schema: Json | None) -> SchemaNode:
    """The node of a whole object. Without a schema every field is kept, as preserveUnknownFields does."""
    node = _compile(schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    _make_object(node)
    _summarise(node)
    return node


def compile_schema(raw: Json) -> SchemaNode:
    """The node of a part of a schema, such as one with a default to check."""
    node = _compile(raw)
    _summarise(node)
    return node


def _make_object(node: SchemaNode) -> None:
    """apiVersion, kind and metadata are part of every object, whatever its schema says of them."""
    for key in ("apiVersion", "kind"):
        node.properties.setdefault(key, SchemaNode("string"))
    said = node.properties.get("metadata")
    node.properties["metadata"] = object_meta()
    if said is not None and said.properties:
        # Only the name may be restricted; the rest of metadata is the server's business.
        restricted = copy(object_meta())
        restricted.properties = {**restricted.properties, **said.properties}
        node.properties["metadata"] = restricted


def _summarise(node: SchemaNode) -> bool:
    """Whether there are rules here or below."""
    if node.builtin and not node.rules:
        return False
    children = [*node.properties.values(), *filter(None, (node.additional, node.items))]
    below = [_summarise(each) for each in children]
    node.has_rules = bool(node.rules) or any(below)
    return node.has_rules


def _compile(raw: Json) -> SchemaNode:
    node = SchemaNode(str(raw.get("type", "")))
    node.raw = raw
    node.nullable = bool(raw.get("nullable"))
    node.preserve = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
    node.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
    node.int_or_string = bool(raw.get("x-kubernetes-int-or-string"))
    node.list_type = raw.get("x-kubernetes-list-type", "")
    node.list_map_keys = tuple(raw.get("x-kubernetes-list-map-keys", ()))
    node.map_atomic = raw.get("x-kubernetes-map-type") == "atomic"
    node.properties = {key: _compile(value) for key, value in raw.get("properties", {}).items()}
    node.required = tuple(raw.get("required", ()))
    additional = raw.get("additionalProperties")
    if isinstance(additional, dict):
        node.additional, node.open = _compile(additional), True
    elif additional:
        node.open = True
    if isinstance(raw.get("items"), dict):
        node.items = _compile(raw["items"])
        node.key_defaults = {
            key: node.items.properties[key].default
            for key in node.list_map_keys
            if key in node.items.properties and node.items.properties[key].default is not MISSING
        }
    if "default" in raw:
        node.default = raw["default"]
    _values(node, raw)
    if node.embedded:
        _make_object(node)
    node.rules = tuple(Rule(rule) for rule in raw.get("x-kubernetes-validations", ()))
    return node


def _values(node: SchemaNode, raw: Json) -> None:
    node.enum = raw.get("enum")
    node.format = raw.get("format", "")
    if raw.get("pattern"):
        node.pattern = _go_pattern(raw["pattern"])
    node.min_length, node.max_length = raw.get("minLength"), raw.get("maxLength")
    node.minimum, node.maximum = raw.get("minimum"), raw.get("maximum")
    node.exclusive_minimum = bool(raw.get("exclusiveMinimum"))
    node.exclusive_maximum = bool(raw.get("exclusiveMaximum"))
    node.multiple_of = raw.get("multipleOf")
    node.min_items, node.max_items = raw.get("minItems"), raw.get("maxItems")
    node.unique_items = bool(raw.get("uniqueItems"))
    node.min_properties, node.max_properties = raw.get("minProperties"), raw.get("maxProperties")
    node.all_of = _several(raw.get("allOf"))
    node.any_of = _several(raw.get("anyOf"))
    node.one_of = _several(raw.get("oneOf"))
    if isinstance(raw.get("not"), dict):
        node.not_ = _compile(raw["not"])


def _several(raws: Any) -> tuple[SchemaNode, ...]:
    return tuple(_compile(each) for each in raws or ())


_POSIX_CLASSES = {
    "[:alpha:]": "a-zA-Z",
    "[:digit:]": "0-9",
    "[:alnum:]": "a-zA-Z0-9",
    "[:upper:]": "A-Z",
    "[:lower:]": "a-z",
    "[:space:]": r"\s",
    "[:xdigit:]": "0-9A-Fa-f",
    "[:word:]": r"\w",
}


def _go_pattern(pattern: str) -> re.Pattern[str] | None:
    """RE2 as Python's re: `$` and `\\z` mean the very end, classes are ASCII. None if it is no expression."""
    for name, members in _POSIX_CLASSES.items():
        pattern = pattern.replace(name, members)
    text = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]|\$", _end_of_text, pattern)
    try:
        return re.compile(text, re.ASCII)
    except re.error:
        return None


def _end_of_text(match: re.Match[str]) -> str:
    found = match.group()
    return r"\Z" if found in ("$", r"\z") else found
