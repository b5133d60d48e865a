"""Comparing, merging and cutting objects as their schema says: structs, maps, sets, keyed and atomic lists.

Where the schema says nothing the shape is deduced: maps are merged by key, lists are one value.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, NamedTuple

import orjson

from addon_framework.local.apiserver.fieldmanager.fieldset import MEMBER, FieldSet, leaf, show
from addon_framework.local.apiserver.schemas.node import MISSING, SchemaNode


class TypedError(ValueError):
    """The object does not have the shape that its schema demands."""


class Comparison(NamedTuple):
    """How the second of two objects differs from the first; no field is in two of the sets."""

    removed: FieldSet
    modified: FieldSet
    added: FieldSet


def is_map(value: Any, node: SchemaNode | None) -> bool:
    """Whether a value is looked into by key."""
    return isinstance(value, dict) and (
        node is None
        or not (node.map_atomic or node.int_or_string or (node.atomic_children and not node.type))
    )


def is_list(value: Any, node: SchemaNode | None) -> bool:
    """Whether a value is looked into by element."""
    return isinstance(value, list) and node is not None and node.list_type in ("map", "set")


def child_of(node: SchemaNode | None, key: str) -> SchemaNode | None:
    """The node below a key; what a RawExtension holds is compared as a whole."""
    if node is None:
        return None
    if node.atomic_children:
        return _OPAQUE
    return node.child(key)


_OPAQUE = SchemaNode()
_OPAQUE.atomic_children = True


def element(item: Any, node: SchemaNode, index: int) -> str:
    """The path element of a list item."""
    if node.list_type == "set":
        return "v:" + orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()
    if not isinstance(item, dict):
        raise TypedError(f"element {index}: associative list with keys may not have non-map elements")
    keys = {}
    for key in node.list_map_keys:
        value = item.get(key)
        if value is None:
            value = node.key_defaults.get(key)
        if value is not None:
            keys[key] = value
        elif not node.builtin:
            raise TypedError(
                f"element {index}: associative list with keys has an element that omits key field "
                f"{orjson.dumps(key).decode()} (and doesn't have default value)"
            )
    return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()


def field_set(value: Any, node: SchemaNode | None, *, unique: bool = False) -> FieldSet:
    """Everything that a configuration speaks about. TypedError where items must be `unique` and are not."""
    if is_map(value, node):
        out: FieldSet = {}
        properties = node.properties if node is not None else {}
        for key, item in value.items():
            below = field_set(item, child_of(node, key), unique=unique)
            if key not in properties or item is None or item == {}:
                below[MEMBER] = {}
            if below:
                out[f"f:{key}"] = below
        return out
    if is_list(value, node):
        assert node is not None
        out = {}
        seen: set[str] = set()
        for index, item in enumerate(value):
            key = element(item, node, index)
            if key in seen and unique:
                raise TypedError(f"duplicate entries for key {show((key,))}")
            below = leaf() if key in seen else field_set(item, node.items, unique=unique)
            below[MEMBER] = {}
            out[key] = below
            seen.add(key)
        return out
    return leaf()


def compare(old: Any, new: Any, node: SchemaNode | None) -> Comparison:
    """The fields that differ. Either side may be MISSING."""
    out = Comparison({}, {}, {})
    if old is not new:
        _compare(old, new, node, out)
    return out


def _same(old: Any, new: Any) -> bool:
    there = old is not MISSING and new is not MISSING
    return there and bool(old == new) and type(old) is type(new)


def _compare(old: Any, new: Any, node: SchemaNode | None, out: Comparison) -> None:
    if _same(old, new):
        return
    absent, gone = old is MISSING or old is None, new is MISSING or new is None
    present = old if gone else new
    if is_map(present, node) and (absent or gone or isinstance(old, dict)) and (old or new):
        before, after = (old if isinstance(old, dict) else {}), (new if isinstance(new, dict) else {})
        for key in before.keys() | after.keys():
            one, other = before.get(key, MISSING), after.get(key, MISSING)
            _below(f"f:{key}", one, other, child_of(node, key), out)
    elif is_list(present, node) and (absent or gone or isinstance(old, list)) and (old or new):
        assert node is not None
        before_items = _indexed(old, node) if isinstance(old, list) else {}
        after_items = _indexed(new, node) if isinstance(new, list) else {}
        for key in before_items.keys() | after_items.keys():
            _element(key, before_items.get(key, ()), after_items.get(key, ()), node, out)
    elif old is not MISSING and new is not MISSING:
        # A map or keyed list that is something else now, or was: what was below it is gone, or new.
        for value, found in ((old, out.removed), (new, out.added)):
            if is_map(value, node) or is_list(value, node):
                found.update({key: below for key, below in field_set(value, node).items() if key != MEMBER})
        out.modified[MEMBER] = {}
    if old is MISSING:
        out.added[MEMBER] = {}
    elif new is MISSING:
        out.removed[MEMBER] = {}


def _below(key: str, old: Any, new: Any, node: SchemaNode | None, out: Comparison) -> None:
    if not _same(old, new):
        found = Comparison({}, {}, {})
        _compare(old, new, node, found)
        for target, fields in zip(out, found, strict=True):
            if fields:
                target[key] = fields


def _element(key: str, old: Any, new: Any, node: SchemaNode, out: Comparison) -> None:
    """Items with one key on both sides; repeated ones are compared as one value."""
    if len(old) <= 1 and len(new) <= 1:
        before, after = (old[0] if old else MISSING), (new[0] if new else MISSING)
        _below(key, before, after, node.items, out)
    elif len(old) >= 2 and len(new) >= 2:
        if old != new:
            out.modified[key] = leaf()
    elif len(old) >= 2:
        if new:
            _below(key, MISSING, new[0], node.items, out)
        out.removed.setdefault(key, {})[MEMBER] = {}
    else:
        if old:
            _below(key, old[0], MISSING, node.items, out)
        out.added.setdefault(key, {})[MEMBER] = {}


def _indexed(items: list[Any], node: SchemaNode) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for index, item in enumerate(items):
        out.setdefault(element(item, node, index), []).append(item)
    return out


def merge(live: Any, config: Any, node: SchemaNode | None) -> Any:
    """The live value with everything the configuration says written over it; shares parts of both."""
    if config is MISSING:
        return live
    if live is MISSING:
        return config
    if is_map(config, node) and isinstance(live, dict):
        out = dict(live)
        for key, item in config.items():
            out[key] = merge(live.get(key, MISSING), item, child_of(node, key))
        return out
    if is_list(config, node) and isinstance(live, list):
        assert node is not None
        return _merge_list(live, config, node)
    if config is None and live and (is_map(live, node) or is_list(live, node)):
        return live
    return config


def _merge_list(live: list[Any], config: list[Any], node: SchemaNode) -> list[Any]:
    """Configured items in the configuration's order; each other item as early as its place in live allows."""
    configured: dict[str, Any] = {}
    for index, item in enumerate(config):
        key = element(item, node, index)
        if key in configured:
            raise TypedError(f"duplicate entries for key {show((key,))}")
        configured[key] = item
    waiting = deque((element(item, node, index), item) for index, item in enumerate(live))
    counts = Counter(key for key, _ in waiting)
    # Repeated items cannot be told apart, so a configured one replaces them all.
    existing = {key: item for key, item in waiting if counts[key] == 1}
    shared = deque(key for key in configured if key in counts)
    out: list[Any] = []

    def let_pass() -> None:
        """The live items before the next one that both have; shared ones out of order lose their place."""
        while waiting and not (shared and waiting[0][0] == shared[0]):
            key, item = waiting.popleft()
            if key not in configured:
                out.append(item)

    for key, item in configured.items():
        let_pass()
        out.append(merge(existing.get(key, MISSING), item, node.items))
        if shared and shared[0] == key:
            shared.popleft()
    let_pass()
    return out


def remove(value: Any, fields: FieldSet, node: SchemaNode | None) -> Any:
    """The value less the given fields and items. MISSING if everything below it went.

    What is not itself to be removed stays, though it may be left empty.
    """
    if not fields or not value:
        return value
    if is_map(value, node):
        out = {}
        for key, item in value.items():
            below = fields.get(f"f:{key}")
            if below is None:
                out[key] = item
            elif MEMBER not in below:
                rest = remove(item, below, child_of(node, key))
                out[key] = type(item)() if rest is MISSING else rest
        return out or MISSING
    if is_list(value, node):
        assert node is not None
        items = []
        for index, item in enumerate(value):
            below = fields.get(element(item, node, index))
            if below is None:
                items.append(item)
            elif MEMBER not in below:
                rest = remove(item, below, node.items)
                items.append({} if rest is MISSING else rest)
        return items or MISSING
    return value
