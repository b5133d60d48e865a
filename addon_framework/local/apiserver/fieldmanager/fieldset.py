"""Sets of fields, in the form of fieldsV1: trees of path elements.

A path element is `f:name`, `k:{"key":"value"}`, `v:value` or `i:0`. Inside, every member has a "." below it,
also where fieldsV1 writes an empty object, so that each operation is one plain recursion.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import orjson

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import SchemaNode

FieldSet = dict[str, Any]
MEMBER = "."
_HERE: FieldSet = {}
_KEPT = 1024  # of the sets in use


def leaf() -> FieldSet:
    """A member with nothing below it."""
    return {MEMBER: _HERE}


def from_v1(fields: Json) -> FieldSet:
    """A set from the fieldsV1 of a managedFields entry. Never change it: equal ones are one."""
    return _set_of(orjson.dumps(fields, option=orjson.OPT_NON_STR_KEYS))


def to_v1(fields: FieldSet) -> Json:
    """The fieldsV1 of a set, in the order the server writes it. Never change it: equal ones are one.

    A fleet has the same kinds of objects many times, and of each their fields are half.
    """
    return _fields_of(orjson.dumps(_written(fields)))


@functools.lru_cache(_KEPT)
def _set_of(text: bytes) -> FieldSet:
    return _read(orjson.loads(text))


@functools.lru_cache(_KEPT)
def _fields_of(text: bytes) -> Json:
    found: Json = orjson.loads(text)
    return found


def _read(fields: Json) -> FieldSet:
    return {
        key: _HERE if key == MEMBER else (_read(below) if below else leaf()) for key, below in fields.items()
    }


def _written(fields: FieldSet) -> Json:
    out: Json = {}
    for key in sorted(fields):
        below = fields[key]
        out[key] = {} if key == MEMBER or (len(below) == 1 and MEMBER in below) else _written(below)
    return out


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in either."""
    if not one or not other:
        return one or other
    out = dict(one)
    for key, below in other.items():
        mine = out.get(key)
        out[key] = below if mine is None or key == MEMBER else union(mine, below)
    return out


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in the first and not in the second."""
    if not other:
        return one
    out: FieldSet = {}
    for key, below in one.items():
        theirs = other.get(key)
        if theirs is None:
            out[key] = below
        elif key != MEMBER:
            rest = difference(below, theirs)
            if rest:
                out[key] = rest
    return out


def without(one: FieldSet, other: FieldSet) -> FieldSet:
    """The first less every member of the second with all that is below it."""
    out: FieldSet = {}
    for key, below in one.items():
        theirs = other.get(key)
        if theirs is None:
            out[key] = below
        elif MEMBER not in theirs and key != MEMBER:
            rest = without(below, theirs)
            if rest:
                out[key] = rest
    return out


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in both."""
    out: FieldSet = {}
    for key, below in one.items():
        theirs = other.get(key)
        if theirs is None:
            continue
        if key == MEMBER:
            out[key] = below
        else:
            both = intersection(below, theirs)
            if both:
                out[key] = both
    return out


def paths(fields: FieldSet, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every member as a tuple of path elements."""
    for key in sorted(fields):
        if key == MEMBER:
            yield prefix
        else:
            yield from paths(fields[key], (*prefix, key))


def show(path: tuple[str, ...]) -> str:
    """A path as conflicts print it: .spec.containers[name="a"].image."""
    parts = []
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            parts.append(f".{rest}")
        elif kind == "k":
            keys = orjson.loads(rest)
            parts.append(
                "[" + ",".join(f"{key}={orjson.dumps(value).decode()}" for key, value in keys.items())
            )
            parts.append("]")
        elif kind == "v":
            parts.append(f"[={rest}]")
        else:
            parts.append(f"[{rest}]")
    return "".join(parts)


def with_named_parents(fields: FieldSet, node: SchemaNode | None) -> FieldSet:
    """Also the struct fields on the way to each member: removing all of a struct removes the struct."""
    out: FieldSet = {}
    for key, below in fields.items():
        if key == MEMBER:
            out[key] = below
            continue
        kind, _, name = key.partition(":")
        named = kind == "f" and node is not None and name in node.properties
        child = None if node is None else (node.child(name) if kind == "f" else node.items)
        filled = with_named_parents(below, child)
        if named and MEMBER not in filled:
            filled[MEMBER] = _HERE
        out[key] = filled
    return out
