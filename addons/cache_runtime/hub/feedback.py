"""What clusters say of a work's objects. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addons.cache_runtime.hub.names import NO_COPY


def feedback(work: Json, kind: str, name: str = "") -> Json:
    """What the object of the kind (and name) said, by field; empty before it said anything.

    Where the cluster has another object of that name, which the work may not replace, that is a failure.
    """
    for manifest in _manifests(work):
        meta = _meta(manifest)
        if meta.get("kind") == kind and name in ("", meta.get("name")):
            if NO_COPY in (why := _refusal(manifest)):
                return {"phase": "Failed", "message": why}
            values = (manifest.get("statusFeedback") or {}).get("values") or []
            return {value["name"]: _scalar(value.get("fieldValue") or {}) for value in values}
    return {}


def own(work: Json) -> str:
    """Why nothing of a work is the fleet's where it went: its Dataset's name is taken there; "" elsewhere."""
    why = next((_refusal(m) for m in _manifests(work) if _meta(m).get("kind") == "Dataset"), "")
    return why if NO_COPY in why else ""


def takes_part(said: Json) -> bool:
    """Whether what a cluster says of an object is about the fleet's, or will be."""
    return said.get("phase") != "Failed" or NO_COPY not in str(said.get("message", ""))


def problem(work: Json) -> str:
    """Why the work is not applied, where its agent says so."""
    for manifest in _manifests(work):
        if message := _refusal(manifest):
            meta = _meta(manifest)
            return f"{meta.get('kind')} {meta.get('name')}: {message}"
    return ""


def refusal(work: Json, kind: str, name: str) -> str:
    """Why one object of the work is not applied."""
    for manifest in _manifests(work):
        meta = _meta(manifest)
        if (meta.get("kind"), meta.get("name")) == (kind, name):
            return _refusal(manifest)
    return ""


def _meta(manifest: Json) -> Json:
    return manifest.get("resourceMeta") or {}


def _refusal(manifest: Json) -> str:
    found = get_condition(manifest.get("conditions") or [], "Applied") or {}
    return str(found.get("message", "")) if found.get("status") == "False" else ""


def _manifests(work: Json) -> Iterator[Json]:
    yield from ((work.get("status") or {}).get("resourceStatus") or {}).get("manifests") or []


def _scalar(value: Json) -> Any:
    for key in ("integer", "string", "boolean", "jsonRaw"):
        if key in value:
            return value[key]
    return None
