"""Unknown fields: removed from what is stored (pruning), named to whoever sent them."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas.builtin import SCHEMA_OR_ELSE
from addon_framework.local.apiserver.schemas.node import SchemaNode

_OF_EVERY_OBJECT = frozenset({"apiVersion", "kind", "metadata"})


def prune(obj: Json, schema: SchemaNode) -> list[str]:
    """Remove, in place, every field that the schema does not know. Returns their paths."""
    found: list[str] = []
    _walk(obj, schema, "", found, remove=True)
    return found


def unknown_fields(obj: Json, schema: SchemaNode) -> list[str]:
    """The paths of fields that the schema does not know, as fieldValidation reports them."""
    found: list[str] = []
    _walk(obj, schema, "", found, remove=False)
    return found


def _walk(value: Any, node: SchemaNode, path: str, found: list[str], *, remove: bool) -> None:
    if node.atomic_children or node.name in SCHEMA_OR_ELSE:
        return
    if isinstance(value, dict):
        properties, additional = node.properties, node.additional
        keep = node.preserve or node.open
        unknown: list[str] = []
        for key, item in value.items():
            child = properties.get(key) or additional
            if child is not None:
                if isinstance(item, (dict, list)):
                    _walk(item, child, f"{path}.{key}" if path else key, found, remove=remove)
            elif not keep and not (node.embedded and key in _OF_EVERY_OBJECT):
                unknown.append(key)
        for key in unknown:
            found.append(f"{path}.{key}" if path else key)
            if remove:
                del value[key]
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            if isinstance(item, (dict, list)):
                _walk(item, node.items, f"{path}[{index}]", found, remove=remove)
