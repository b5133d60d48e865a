"""`ignoreFields` of server-side apply: fields that others may set, and who has set them. Pure."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from addon_framework.api.meta import Json
from addon_framework.kube.apply import covers
from addon_framework.spoke.names import OBJECT_HASH_ANNOTATION
from addon_framework.spoke.work.paths import (
    Match,
    Parts,
    drop,
    find_jq,
    find_json_path,
    find_pointer,
    get,
    put,
)

ON_CHANGE = "OnSpokeChange"


def hash_of(manifest: Json) -> str:
    """What the hub wants, in one word."""
    return hashlib.sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).hexdigest()


def needs_hash(rules: Iterable[Json]) -> bool:
    """Whether some fields count again when the hub changes its mind, so that what it said must be kept."""
    return any(rule.get("condition") == ON_CHANGE for rule in rules)


def ignored(rules: Sequence[Json], manifest: Json, live: Json, hash_: str) -> list[Parts]:
    """Where the manifest has fields that are not to be applied over `live`. Raises PathError.

    `hash_` is that of what the hub wants now; the object carries that of what was applied last.
    """
    annotations = live["metadata"].get("annotations") or {}
    same = annotations.get(OBJECT_HASH_ANNOTATION) == hash_
    found: dict[Parts, None] = {}
    finders: tuple[tuple[str, Callable[[str, Any], list[Match]]], ...] = (
        ("jsonPointers", find_pointer),
        ("jsonPaths", find_json_path),
        ("jqPathExpressions", find_jq),
    )
    for rule in rules:
        if rule.get("condition") == ON_CHANGE and not same:
            continue
        for field, find in finders:
            for path in rule.get(field) or []:
                found |= dict.fromkeys(match.parts for match in find(path, manifest) if match.parts)
    # A field inside an ignored one goes with it; the later items of a list first, so that indexes hold.
    outer = [p for p in found if not any(p[:n] in found for n in range(1, len(p)))]
    return sorted(outer, key=lambda parts: [str(part).rjust(8) for part in parts], reverse=True)


def without(manifest: Json, paths: Iterable[Parts]) -> Json:
    """The manifest less these fields: what must be true of the live object."""
    result = copy.deepcopy(manifest)
    for parts in paths:
        drop(result, parts)
    return result


def yielding(manifest: Json, paths: Iterable[Parts], live: Json, manager: str) -> Json:
    """What to apply so that these fields stay as they are in `live` (which has its managedFields).

    What another manager owns is left out. What only we own would vanish if it were left out, so it is
    applied with the value it has.
    """
    result = copy.deepcopy(manifest)
    for parts in paths:
        there = counterpart(manifest, live, parts)
        if there is None or _others_own(live, there, manager):
            drop(result, parts)
        else:
            put(result, parts, copy.deepcopy(get(live, there)))
    return result


def counterpart(manifest: Any, live: Any, parts: Parts) -> Parts | None:
    """The same place in the live object; items of lists are found by their name if they have one."""
    result: list[str | int] = []
    for part in parts:
        if isinstance(part, int) and isinstance(live, list):
            item = manifest[part]
            name = item.get("name") if isinstance(item, dict) else None
            index = next(
                (i for i, x in enumerate(live) if name and isinstance(x, dict) and x.get("name") == name),
                part,
            )
            if index >= len(live):
                return None
            result.append(index)
            live = live[index]
        elif isinstance(part, str) and isinstance(live, dict) and part in live:
            result.append(part)
            live = live[part]
        else:
            return None
        manifest = manifest[part]
    return tuple(result)


def _others_own(live: Json, parts: Parts, manager: str) -> bool:
    return any(
        entry.get("manager") != manager and _owns(entry.get("fieldsV1") or {}, live, parts)
        for entry in live["metadata"].get("managedFields") or []
        if not entry.get("subresource")
    )


def _owns(fields: Json, live: Any, parts: Parts) -> bool:
    """Whether a set of managed fields holds the place. An empty set below is a leaf, or all that is there."""
    for depth, part in enumerate(parts):
        if not fields:
            return depth > 0
        if isinstance(part, str):
            found = fields.get(f"f:{part}")
        else:
            keys = ((key, below) for key, below in fields.items() if key.startswith("k:"))
            found = next((below for key, below in keys if covers(live[part], orjson.loads(key[2:]))), None)
        if found is None:
            return False
        fields, live = found, live[part]
    return True
