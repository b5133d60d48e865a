"""Whether a write changes anything, and whether it changes what counts in metadata.generation."""

from __future__ import annotations

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.registry import Kind, Version


def unchanged(old: Json, new: Json) -> bool:
    """Equal but for the times in managedFields, which alone are no reason to write."""
    if old.keys() != new.keys():
        return False
    if any(old[name] != new[name] for name in old if name != "metadata"):
        return False
    return _plain(old["metadata"]) == _plain(new["metadata"])


def _plain(metadata: Json) -> Json:
    skipped = ("managedFields", "resourceVersion")
    plain = {k: v for k, v in metadata.items() if k not in skipped and v not in ({}, [])}
    plain["managedFields"] = [
        {k: v for k, v in entry.items() if k != "time"} for entry in metadata.get("managedFields") or ()
    ]
    return plain


def spec_changed(kind: Kind, version: Version, old: Json, new: Json) -> bool:
    """Everything but metadata and status of custom kinds, spec of others."""
    if not kind.custom:
        return bool(old.get("spec") != new.get("spec"))
    ignored = {"metadata", "apiVersion"} | ({"status"} if version.status else set())
    return any(old.get(name) != new.get(name) for name in (old.keys() | new.keys()) - ignored)
