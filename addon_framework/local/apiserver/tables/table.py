"""Table responses, which kubectl get asks for."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import orjson

from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.local.apiserver.tables import cells
from addon_framework.local.apiserver.tables.builtin import BY_NAME, PRINTERS
from addon_framework.local.apiserver.tables.jsonpath import PathError, parse

_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name must be unique within a namespace.",
    "priority": 0,
}


class Listed(Protocol):
    """What a table needs to know of a resource."""

    @property
    def group(self) -> str: ...

    @property
    def plural(self) -> str: ...


def to_table(
    resource: Listed,
    objects: list[Json],
    columns: list[Json] | None,
    include_object: str,
    now: datetime | str,
) -> Json:
    """The Table of some objects.

    `columns` are a custom resource's additionalPrinterColumns (None where it has none or the kind is built
    in); `include_object` is None, Metadata (also for "") or Object.
    """
    moment = parse_time(now) if isinstance(now, str) else now
    if columns:
        definitions, rows = _custom(objects, columns, moment)
    else:
        printer = PRINTERS.get((resource.group, resource.plural), BY_NAME)
        definitions = [
            {
                "name": name,
                "type": kind,
                "format": "name" if name == "Name" else "",
                "description": "",
                "priority": priority,
            }
            for name, kind, priority in printer.columns
        ]
        rows = [printer.row(obj, moment) for obj in objects]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": definitions,
        "rows": [
            {"cells": row, **_object(obj, include_object)} for row, obj in zip(rows, objects, strict=True)
        ],
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


def _custom(objects: list[Json], columns: list[Json], now: datetime) -> tuple[list[Json], list[list[Any]]]:
    definitions: list[Json] = [_NAME]
    finders = []
    for column in columns:
        definitions.append(
            {
                "name": column.get("name", ""),
                "type": column.get("type", "string"),
                "format": column.get("format", ""),
                "description": column.get("description", ""),
                "priority": column.get("priority", 0),
            }
        )
        try:
            finders.append(parse(str(column.get("jsonPath", ""))))
        except PathError:
            finders.append(lambda _obj: [])
    rows = []
    for obj in objects:
        row: list[Any] = [obj["metadata"].get("name", "")]
        for column, find in zip(columns, finders, strict=True):
            found = find(obj)
            row.append(_cell(found[0], str(column.get("type", "string")), now) if found else None)
        rows.append(row)
    return definitions, rows


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
