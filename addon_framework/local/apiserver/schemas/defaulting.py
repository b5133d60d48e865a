"""Defaults of custom resources, written into the object."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json, copy_json
from addon_framework.local.apiserver.schemas.node import MISSING, SchemaNode


def default(obj: Json, schema: SchemaNode) -> None:
    """Fill absent fields, in place, top down; drop nulls where the schema does not allow them."""
    _fill(obj, schema)


def _fill(value: Any, node: SchemaNode) -> None:
    if node.builtin:
        return
    if isinstance(value, dict):
        for key, child in node.properties.items():
            if child.default is not MISSING:
                present = value.get(key, MISSING)
                if present is MISSING or (present is None and not child.nullable):
                    value[key] = copy_json(child.default)
        nulls = []
        for key, item in value.items():
            found = node.child(key)
            if found is None or found.builtin:
                continue
            if item is None:
                if not found.nullable and (found.type or found.int_or_string):
                    if found.default is MISSING:
                        nulls.append(key)
                    else:
                        value[key] = copy_json(found.default)
            elif isinstance(item, (dict, list)):
                _fill(item, found)
        for key in nulls:
            del value[key]
    elif isinstance(value, list) and node.items is not None:
        items = node.items
        for index, item in enumerate(value):
            if item is None and items.default is not MISSING and not items.nullable:
                value[index] = copy_json(items.default)
            else:
                _fill(item, items)
