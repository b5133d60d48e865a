"""Paths in a ManifestWork: Kubernetes' JSONPath, JSON pointers, and path expressions of jq. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from addon_framework.api.jsonpath import PathError, json_path
from addon_framework.api.meta import Json
from addon_framework.spoke.work import jq_paths

Parts = tuple[str | int, ...]


class Match(NamedTuple):
    """Where a path led, and what was there."""

    parts: Parts
    value: Any


def find_json_path(path: str, obj: Any) -> list[Match]:
    """All matches of a Kubernetes JSONPath, with or without braces. Raises PathError."""
    return [Match(tuple(match.parts), match.obj) for match in json_path(path).finditer(obj)]


def find_jq(path: str, obj: Any) -> list[Match]:
    """All matches of a path expression of jq; what it names and is not there is no match."""
    try:
        found = jq_paths.paths(path, orjson.dumps(obj, option=orjson.OPT_SORT_KEYS))
    except jq_paths.JqError as error:
        raise PathError(f"{path!r}: {error}") from error
    matches = []
    for parts in map(tuple, found):
        try:
            matches.append(Match(parts, get(obj, parts)))
        except (KeyError, IndexError, TypeError):
            continue
    return matches


def find_pointer(pointer: str, obj: Any) -> list[Match]:
    """The match of an RFC 6901 pointer, if any."""
    if not pointer.startswith("/"):
        raise PathError(f"JSON pointer {pointer!r} must begin with /")
    parts: list[str | int] = []
    value = obj
    for token in (t.replace("~1", "/").replace("~0", "~") for t in pointer[1:].split("/")):
        if isinstance(value, list) and token.isdigit() and int(token) < len(value):
            parts.append(int(token))
            value = value[int(token)]
        elif isinstance(value, dict) and token in value:
            parts.append(token)
            value = value[token]
        else:
            return []
    return [Match(tuple(parts), value)]


def get(obj: Any, parts: Parts) -> Any:
    """The value there; KeyError or IndexError when there is none."""
    for part in parts:
        obj = obj[part]
    return obj


def put(obj: Any, parts: Parts, value: Any) -> None:
    """Set the value there."""
    get(obj, parts[:-1])[parts[-1]] = value


def drop(obj: Json, parts: Parts) -> None:
    """Remove what is there, and maps that are empty without it."""
    parent = get(obj, parts[:-1])
    del parent[parts[-1]]
    if parent == {} and parts[:-1] and isinstance(parts[-2], str):
        drop(obj, parts[:-1])
