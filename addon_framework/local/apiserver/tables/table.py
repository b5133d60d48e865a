"""Table responses, which kubectl get asks for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from addon_framework.api.jsonpath import PathError, json_path
from addon_framework.api.meta import Json
from addon_framework.local.apiserver.tables import cells
from addon_framework.local.apiserver.tables.builtin import Row, printers


def to_table(
    resource: str, objects: list[Json], columns: list[Json] | None, include_object: str, now: datetime
) -> Json:
    """The Table of some objects of a resource such as deployments.apps.

    `columns` are a custom resource's additionalPrinterColumns (None where it has none or the kind is built
    in); `include_object` is None, Metadata (also for "") or Object.
    """
    if columns:
        definitions, row = _custom(columns)
    else:
        known = printers()
        printer = known.get(resource, known["default"])
        definitions, row = [_definition(*column) for column in printer.columns], printer.row
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": definitions,
        "rows": [{"cells": row(obj, now), **_object(obj, include_object)} for obj in objects],
    }


def _object(obj: Json, include: str) -> Json:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": obj}
    return {"object": partial_metadata(obj)}


def partial_metadata(obj: Json) -> Json:
    """PartialObjectMetadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj.get("metadata", {}),
    }


def _definition(name: str, kind: str, priority: int = 0, description: str = "", format: str = "") -> Json:
    return {
        "name": name,
        "type": kind,
        "format": "name" if name == "Name" else format,
        "description": description,
        "priority": priority,
    }


def _custom(columns: list[Json]) -> tuple[list[Json], Row]:
    """What a custom resource's additionalPrinterColumns ask for, after its name."""
    definitions = [_definition("Name", "string", description="Name must be unique within a namespace.")]
    finders: list[tuple[Any, str]] = []
    for column in columns:
        name, kind = column.get("name", ""), str(column.get("type", "string"))
        about = column.get("description", ""), column.get("format", "")
        definitions.append(_definition(name, kind, column.get("priority", 0), *about))
        try:
            finders.append((json_path(str(column.get("jsonPath", ""))), kind))
        except PathError:
            finders.append((None, kind))

    def row(obj: Json, now: datetime) -> list[Any]:
        matches = [(path.match(obj) if path is not None else None, kind) for path, kind in finders]
        shown = [_cell(match.obj, kind, now) if match is not None else None for match, kind in matches]
        return [obj["metadata"].get("name", ""), *shown]

    return definitions, row


def _cell(value: Any, kind: str, now: datetime) -> Any:
    if value is None:
        return None
    if kind == "string":
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    if kind == "date":
        return cells.age(value, now) if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if kind == "integer" else value
