"""Validation of an object against its schema, with ratcheting: what did not change is not judged again."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import orjson

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import cause
from addon_framework.local.apiserver.schemas.cause import Cause
from addon_framework.local.apiserver.schemas.celbudget import Budget
from addon_framework.local.apiserver.schemas.formats import CHECKS
from addon_framework.local.apiserver.schemas.node import MISSING, SchemaNode

_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
# Failures that hide the value from rules, so that none is run.
_BLOCKING = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
_INT_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


def validate(obj: Json, schema: SchemaNode, *, old: Json | None = None) -> list[Cause]:
    """Every reason to refuse the object; on an update, rules and limits apply to what changed.

    Built-in kinds are judged elsewhere, see validation.
    """
    if schema.builtin:
        return []
    causes: list[Cause] = []
    before = MISSING if old is None else old
    _check(obj, schema, "", before, causes)
    _judge_all(obj, schema, before, causes)
    return causes


def check(value: Any, node: SchemaNode) -> list[Cause]:
    """Why one value does not fit one place; paths are relative to it."""
    causes: list[Cause] = []
    _check(value, node, "", MISSING, causes)
    _judge_all(value, node, MISSING, causes)
    return causes


def _judge_all(value: Any, node: SchemaNode, old: Any, causes: list[Cause]) -> None:
    """Rules run on objects of the right shape only."""
    if not node.has_rules:
        return
    if any(each.reason in _BLOCKING for each in causes):
        causes.append(
            cause.invalid(
                "<nil>",
                None,
                "some validation rules were not checked because the object was invalid; "
                "correct the existing errors to complete validation",
            )
        )
        return
    _rules(value, node, "", old, causes, Budget())


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: unlike Python's ==, true is not 1."""
    return bool(one == other) and (
        one is other
        or orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
    )


def _check(value: Any, node: SchemaNode, path: str, old: Any, causes: list[Cause]) -> None:
    if (old is not MISSING and same(value, old)) or not _values(value, node, path, causes):
        return
    if isinstance(value, dict):
        _object(value, node, path, old, causes)
    elif isinstance(value, list):
        _list(value, node, path, old, causes)


def _rules(value: Any, node: SchemaNode, path: str, old: Any, causes: list[Cause], budget: Budget) -> None:
    """The CEL rules here and below; where nothing changed only transition rules count."""
    if value is None or not node.has_rules:
        return
    if node.rules:
        unchanged = old is not MISSING and same(value, old)
        for rule in node.rules:
            if budget.left <= 0:
                return
            causes += rule.judge(value, old, path, node, unchanged, budget)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            child = node.child(key)
            if child is not None and child.has_rules:
                where = f"{path}.{key}" if path else key
                _rules(item, child, where, before.get(key, MISSING), causes, budget)
    elif isinstance(value, list) and node.items is not None and node.items.has_rules:
        past = _by_key(old, node)
        for index, item in enumerate(value):
            known = past.get(_key(item, node), MISSING) if past else MISSING
            _rules(item, node.items, f"{path}[{index}]", known, causes, budget)


def _values(value: Any, node: SchemaNode, path: str, causes: list[Cause]) -> bool:
    """Checks of the value itself. False if its type is wrong, so that nothing below makes sense."""
    if value is None:
        if node.nullable or not (node.type or node.int_or_string):
            return True
        causes.append(_wrong_type(path, "null", node.type or "integer,string"))
        return False
    kind = type(value)
    if node.int_or_string:
        if kind is not int and kind is not str:
            causes.append(_wrong_type(path, _NAMES[kind], "integer,string"))
            return False
    elif node.type and not _fits(value, kind, node.type):
        causes.append(_wrong_type(path, _NAMES[kind], node.type))
        if node.enum is not None:
            causes.append(cause.not_supported(path, value, node.enum))
        if kind is float and node.type == "integer":
            form = f"with format {node.format}" if node.format else "(default format)"
            detail = f"Checked value must be of type integer {form} in {path}"
            causes.append(cause.invalid("<nil>", "", detail))
        return False
    if node.any_of or node.one_of or node.all_of or node.not_ is not None:
        _combined(value, node, path, causes)
    if kind is str:
        _string(value, node, path, causes)
    elif (kind is int or kind is float) and not node.int_or_string:
        _number(value, node, path, causes)
    elif kind is list:
        if node.max_items is not None and len(value) > node.max_items:
            causes.append(cause.too_many(path, len(value), node.max_items))
        if node.min_items is not None and len(value) < node.min_items:
            causes.append(_broken(path, len(value), f"should have at least {node.min_items} items"))
        if node.unique_items and _repeated(value):
            causes.append(_broken(path, "", "shouldn't contain duplicates"))
    elif kind is dict:
        if node.max_properties is not None and len(value) > node.max_properties:
            causes.append(cause.too_many(path, len(value), node.max_properties))
        if node.min_properties is not None and len(value) < node.min_properties:
            causes.append(_broken(path, len(value), f"should have at least {node.min_properties} properties"))
    if node.enum is not None and not any(same(value, each) for each in node.enum):
        causes.append(cause.not_supported(path, value, node.enum))
    return True


def _fits(value: Any, kind: type, wanted: str) -> bool:
    name = _NAMES[kind]
    if name == wanted:
        return True
    if wanted == "number":
        return name == "integer"
    return wanted == "integer" and name == "number" and float(value).is_integer()


def _wrong_type(path: str, got: str, wanted: str) -> Cause:
    shown = path or "<nil>"
    return cause.type_invalid(shown, got, f'{path} in body must be of type {wanted}: "{got}"')


def _broken(path: str, value: Any, detail: str) -> Cause:
    return cause.invalid(path, value, f"{path} in body {detail}")


def _string(value: str, node: SchemaNode, path: str, causes: list[Cause]) -> None:
    if node.max_length is not None and len(value) > node.max_length:
        causes.append(cause.too_long(path, node.max_length))
    if node.min_length is not None and len(value) < node.min_length:
        causes.append(_broken(path, value, f"should be at least {node.min_length} chars long"))
    if node.pattern is not None and node.pattern.search(value) is None:
        causes.append(_broken(path, value, f"should match '{node.raw.get('pattern', node.pattern.pattern)}'"))
    if node.format:
        check = CHECKS.get(node.format)
        if check is not None and not check(value):
            wanted = orjson.dumps(value).decode()
            causes.append(
                cause.type_invalid(path, value, f"{path} in body must be of type {node.format}: {wanted}")
            )


def _number(value: float, node: SchemaNode, path: str, causes: list[Cause]) -> None:
    for limit, excluded, over, how in (
        (node.minimum, node.exclusive_minimum, operator.gt, "greater"),
        (node.maximum, node.exclusive_maximum, operator.lt, "less"),
    ):
        if limit is not None and not over(value, limit) and (excluded or value != limit):
            or_equal = "" if excluded else " or equal to"
            causes.append(_broken(path, value, f"should be {how} than{or_equal} {cause.render(limit)}"))
    step = node.multiple_of
    if step and not float(value / step).is_integer():
        causes.append(_broken(path, value, f"should be a multiple of {cause.render(step)}"))
    limits = _INT_RANGES.get(node.format)
    if limits is not None and not limits[0] <= value <= limits[1]:
        wanted = f"Checked value must be of type {node.type} with format {node.format} in {path}"
        causes.append(cause.invalid("<nil>", value, wanted))


def _repeated(values: list[Any]) -> bool:
    seen = {orjson.dumps(each, option=orjson.OPT_SORT_KEYS) for each in values}
    return len(seen) < len(values)


def _combined(value: Any, node: SchemaNode, path: str, causes: list[Cause]) -> None:
    """allOf, anyOf, oneOf, not. The server reports a failed choice without a field, hence <nil>."""

    def attempts(choices: tuple[SchemaNode, ...]) -> Iterator[list[Cause]]:
        for choice in choices:
            found: list[Cause] = []
            _check(value, choice, path, MISSING, found)
            yield found

    for found in attempts(node.all_of):
        causes += found
    if node.any_of:
        results = list(attempts(node.any_of))
        if all(results):
            causes.append(_no_choice(path, "must validate at least one schema (anyOf)"))
            causes += _nearest(results)
    if node.one_of:
        results = list(attempts(node.one_of))
        valid = sum(not each for each in results)
        if valid != 1:
            how = "Found none valid" if valid == 0 else f"Found {valid} valid alternatives"
            causes.append(_no_choice(path, f"must validate one and only one schema (oneOf). {how}"))
            if valid == 0:
                causes += _nearest(results)
    if node.not_ is not None and not next(attempts((node.not_,))):
        causes.append(_no_choice(path, "must not validate the schema (not)"))


def _nearest(results: list[list[Cause]]) -> list[Cause]:
    """What is wrong with the choice that fits best."""
    return min(results, key=lambda each: len(each))


def _no_choice(path: str, detail: str) -> Cause:
    return cause.invalid("<nil>", "", f'"{path}" {detail}')


def _object(value: Json, node: SchemaNode, path: str, old: Any, causes: list[Cause]) -> None:
    for key in node.required:
        if key not in value:
            causes.append(cause.required(f"{path}.{key}" if path else key))
    before = old if isinstance(old, dict) else {}
    properties, additional = node.properties, node.additional
    for key, item in value.items():
        child = properties.get(key) or additional
        if child is None:
            continue
        below = f"{path}.{key}" if path else key
        if child.builtin:
            _restricted(item, child, below, causes)
        else:
            _check(item, child, below, before.get(key, MISSING), causes)


def _restricted(meta: Any, node: SchemaNode, path: str, causes: list[Cause]) -> None:
    """A custom resource may restrict metadata.name and metadata.generateName."""
    for key in ("name", "generateName") if isinstance(meta, dict) else ():
        child = node.properties.get(key)
        if child is not None and not child.builtin and key in meta:
            _check(meta[key], child, f"{path}.{key}", MISSING, causes)


def _list(value: list[Any], node: SchemaNode, path: str, old: Any, causes: list[Cause]) -> None:
    before = _by_key(old, node)
    if node.list_type in ("map", "set"):
        seen: set[bytes] = set()
        repeated_before = _duplicates(old, node) if isinstance(old, list) else set()
        for index, item in enumerate(value):
            key = _key(item, node)
            if node.list_type == "map" and item is not None and not isinstance(item, dict):
                causes.append(
                    cause.invalid(f"{path}[{index}]", item, "must be an object for an array of list-type map")
                )
            if key in seen and key not in repeated_before:
                shown = orjson.loads(key)
                causes.append(cause.duplicate(f"{path}[{index}]", shown))
            seen.add(key)
    if node.items is None:
        return
    for index, item in enumerate(value):
        past = before.get(_key(item, node), MISSING) if before else MISSING
        _check(item, node.items, f"{path}[{index}]", past, causes)


def _by_key(old: Any, node: SchemaNode) -> dict[bytes, Any]:
    """Items of the old list that new ones can be compared with: only keyed lists have such."""
    if node.list_type != "map" or not isinstance(old, list):
        return {}
    return {_key(each, node): each for each in old}


def _duplicates(values: list[Any], node: SchemaNode) -> set[bytes]:
    seen: set[bytes] = set()
    repeated: set[bytes] = set()
    for each in values:
        key = _key(each, node)
        (repeated if key in seen else seen).add(key)
    return repeated


def _key(item: Any, node: SchemaNode) -> bytes:
    if node.list_type == "map" and isinstance(item, dict):
        identity = {key: item.get(key, node.key_defaults.get(key)) for key in node.list_map_keys}
        item = {key: each for key, each in identity.items() if each is not None}
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
