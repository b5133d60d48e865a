"""A runtime's annotation data.fluid.io/metadataList: labels and annotations of its volume and claim. Pure.

    [{"selector": {"kind": "PersistentVolume"}, "labels": {...}, "annotations": {...}}]

Fluid reads names in any case.
"""

from __future__ import annotations

import json
from typing import Any

from addon_framework.api.meta import Json
from runtimes.interface import Cache

ANNOTATION = "data.fluid.io/metadataList"
_KINDS = ("PersistentVolume", "PersistentVolumeClaim")
_METHOD = "fluid.io/node-publish-method"


def given(cache: Cache, kind: str) -> dict[str, dict[str, str]]:
    """`labels` and `annotations` for that kind."""
    found: dict[str, dict[str, str]] = {"labels": {}, "annotations": {}}
    for each in _entries(cache):
        if each["selector"].get("kind") == kind:
            for name, said in found.items():
                said |= each[name]
    return found


def problems(cache: Cache) -> list[str]:
    """What cannot be read, or is of something that is not made."""
    try:
        entries = _entries(cache)
    except ValueError as error:
        return [f"{cache.title}: annotation {ANNOTATION}: {error}"]
    return [
        f"{cache.title}: annotation {ANNOTATION}: entry {number} selects {each['selector']}; there are "
        f"{' and '.join(_KINDS)} of the core group"
        for number, each in enumerate(entries)
        if each["selector"].get("kind") not in _KINDS or each["selector"].get("group")
    ]


def notes(cache: Cache) -> list[str]:
    """What Fluid's CSI driver would do by it."""
    if not any(_METHOD in given(cache, kind)["labels"] for kind in _KINDS):
        return []
    why = "volumes are directories of the node, and nothing publishes them in another way"
    return [f"{cache.title}: annotation {ANNOTATION}: label {_METHOD}: has no effect: {why}"]


def _entries(cache: Cache) -> list[Json]:
    """Raises ValueError."""
    text = (cache.runtime["metadata"].get("annotations") or {}).get(ANNOTATION)
    if not text:
        return []
    try:
        entries = _lower(json.loads(text))
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ValueError("must be a list of objects")
    return [_entry(each, number) for number, each in enumerate(entries)]


def _entry(said: Json, number: int) -> Json:
    made: Json = {name: said.get(name) or {} for name in ("selector", "labels", "annotations")}
    for name, pairs in made.items():
        if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
            raise ValueError(f"{name} of entry {number} must be an object of texts")
    return made


def _lower(entries: Any) -> Any:
    """Names of fields in lower case; those of labels stay as they are."""
    if not isinstance(entries, list):
        return entries
    made = [{k.lower(): v for k, v in e.items()} if isinstance(e, dict) else e for e in entries]
    for each in made:
        if isinstance(each, dict) and isinstance(each.get("selector"), dict):
            each["selector"] = {name.lower(): value for name, value in each["selector"].items()}
    return made
