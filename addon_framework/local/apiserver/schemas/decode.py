"""Type errors of built-in kinds: the server decodes JSON into Go structs and answers 400 with Go's words."""

from __future__ import annotations

import base64
import binascii
from copy import copy
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from addon_framework.api.time import parse_time
from addon_framework.local.apiserver.schemas.builtin import SCHEMA_OR_ELSE
from addon_framework.local.apiserver.schemas.node import SchemaNode

_GO = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


class _Mismatch(Exception):
    """The first place where a value does not fit its Go type."""


def decode_error(obj: Json, schema: SchemaNode) -> str | None:
    """Why the object cannot be read as its built-in kind; None if it can."""
    try:
        if schema.builtin:
            _decode(obj, schema, "", _struct(schema))
        elif (metadata := _metadata(schema)) is not None:
            _decode(obj.get("metadata"), metadata, "metadata", "ObjectMeta")
    except _Mismatch as mismatch:
        return str(mismatch)
    return None


def _metadata(schema: SchemaNode | None) -> SchemaNode | None:
    found = schema.properties.get("metadata") if schema is not None else None
    return found if found is not None and found.builtin else None


def _struct(node: SchemaNode) -> str:
    return node.name.rpartition(".")[2]


def _mismatch(value: Any, node: SchemaNode, path: str, struct: str) -> _Mismatch:
    got = _GO[type(value)]
    if isinstance(value, float) and node.type == "integer":
        got = f"number {value}"
    return _Mismatch(
        f"json: cannot unmarshal {got} into Go struct field {struct}.{path} of type {_go_type(node)}"
    )


def _go_type(node: SchemaNode) -> str:
    if node.name:
        parts = node.name.split(".")
        return f"{parts[-2]}.{parts[-1]}"
    if node.type == "array":
        return "[]" + (_go_type(node.items) if node.items is not None else "interface {}")
    if node.type == "object":
        return "map[string]" + (_go_type(node.additional) if node.additional is not None else "interface {}")
    if node.type == "integer":
        return node.format or "int"
    return {"boolean": "bool", "number": "float64"}.get(node.type, node.type or "interface {}")


def _decode(value: Any, node: SchemaNode, path: str, struct: str) -> None:
    if value is None or (node.atomic_children and node.type != "object"):
        return
    kind = type(value)
    if kind is not dict and node.name in SCHEMA_OR_ELSE:
        return
    if node.int_or_string or node.quantity:
        _scalar(value, node, path, struct)
    elif kind is dict:
        if node.type != "object":
            raise _mismatch(value, node, path, struct)
        if node.atomic_children:
            return
        own = _struct(node) if node.name else struct
        properties, additional = node.properties, node.additional
        for key, item in value.items():
            child = properties.get(key)
            if child is not None:
                _decode(item, child, f"{path}.{key}" if path else key, own)
            elif additional is not None:
                _decode(item, additional, path, own)
    elif kind is list:
        if node.type != "array":
            raise _mismatch(value, node, path, struct)
        if node.items is not None:
            for item in value:
                _decode(item, node.items, path, struct)
    else:
        _scalar(value, node, path, struct)


def _scalar(value: Any, node: SchemaNode, path: str, struct: str) -> None:
    kind = type(value)
    if node.quantity:
        if kind not in (str, int, float):
            raise _mismatch(value, node, path, struct)
        try:
            parse_quantity(value)
        except ValueError:
            raise _Mismatch(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            ) from None
        return
    if node.int_or_string:
        if kind is not str and kind is not int:
            raise _mismatch(value, node, path, struct)
        if kind is int and not -(2**31) <= value < 2**31:
            raise _Mismatch(f"json: cannot unmarshal number {value} into Go value of type int32")
        return
    wanted = node.type
    if wanted == "string":
        if kind is not str:
            raise _mismatch(value, node, path, struct)
        if node.format:
            _formatted(value, node.format)
    elif wanted == "integer":
        if kind is not int and not (kind is float and float(value).is_integer()):
            raise _mismatch(value, node, path, struct)
        bits = 31 if node.format == "int32" else 63
        if not -(2**bits) <= value < 2**bits:
            raise _Mismatch(
                f"json: cannot unmarshal number {value} into Go struct field {struct}.{path} "
                f"of type {_go_type(node)}"
            )
    elif (
        (wanted == "boolean" and kind is not bool)
        or (wanted == "number" and kind not in (int, float))
        or wanted in ("object", "array")
    ):
        raise _mismatch(value, node, path, struct)


def _formatted(value: str, name: str) -> None:
    if name == "byte":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise _Mismatch("illegal base64 data at input byte 0") from None
    elif name == "date-time":
        try:
            moment = parse_time(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise _Mismatch(
                f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse "{value}" as "2006"'
            )


_ZERO: dict[str, Any] = {"object": {}, "string": "", "integer": 0, "number": 0, "boolean": False, "array": []}


_NONE_IS_SAID = {("autoscaling.v2.HPAScalingRules", "policies")}  # where nothing is not the same as none


def as_stored(obj: Json, schema: SchemaNode | None) -> None:
    """In place, an object of a built-in kind as it is once the server's structs have held it."""
    if schema is None or not schema.builtin:
        _metadata_as_go_reads(obj, schema)
        return
    for name in ("spec", "status"):
        if obj.get(name) is None and name in schema.properties and schema.properties[name].name:
            obj[name] = {}
    _as_go_reads(obj, schema)


def _metadata_as_go_reads(value: Any, node: SchemaNode | None) -> None:
    """Of a custom resource, and of the resources embedded in it, metadata is a struct as well."""
    if node is None or node.builtin:
        _as_go_reads(value, node)
    elif isinstance(value, dict):
        for key, below in value.items():
            if isinstance(below, (dict, list)):
                _metadata_as_go_reads(below, node.child(key))
    elif isinstance(value, list):
        for below in value:
            _metadata_as_go_reads(below, node.items)


def _as_go_reads(value: Any, node: SchemaNode | None) -> None:
    """In place, what is left of null, [] and {} after a Go struct has held them.

    Null is the zero value, in a field as if it were not there; so are empty lists and maps that are optional.
    A struct or a number that is required is there, if empty. Quantities are texts.
    """
    if node is None:
        return
    if isinstance(value, dict):
        for key in node.required:
            child = node.properties.get(key)
            if value.get(key) is None and child is not None:
                if _is_struct(child):
                    value[key] = {}
                elif child.type in ("integer", "boolean") and not child.int_or_string:
                    value[key] = _ZERO[child.type]
        for key, below in list(value.items()):
            child = node.child(key)
            if key in node.properties and (below is None or (not below and _may_go(key, node, child))):
                del value[key]
            elif below is None and node.additional is not None:
                value[key] = "0" if node.additional.quantity else copy(_ZERO.get(node.additional.type))
            elif child is not None and child.quantity and not isinstance(below, str):
                value[key] = format(below, "d" if isinstance(below, int) else "g")
            elif isinstance(below, (dict, list)):
                _as_go_reads(below, child)
    elif isinstance(value, list) and node.items is not None:
        for index, below in enumerate(value):
            if below is None and node.items.type in _ZERO:
                value[index] = below = copy(_ZERO[node.items.type])
            if isinstance(below, (dict, list)):
                _as_go_reads(below, node.items)


def _may_go(key: str, node: SchemaNode, child: SchemaNode | None) -> bool:
    if child is None or key in node.required or child.atomic_children or (node.name, key) in _NONE_IS_SAID:
        return False
    return child.type == "array" or (child.type == "object" and child.additional is not None)


def _is_struct(node: SchemaNode) -> bool:
    """And no pointer to one, as selectors are."""
    return bool(node.properties) and not node.name.endswith(".LabelSelector")
