"""One stored object under several API versions.

Versions of custom kinds differ only in their name (conversion strategy None). Events are the one built-in
kind that two groups show in forms of their own.
"""

from __future__ import annotations

from addon_framework.api.meta import Json

_NEW_EVENTS = "events.k8s.io/v1"
# https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
_NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}


def in_version(obj: Json, api_version: str) -> Json:
    """The object as that version shows it; the same one where nothing differs."""
    current = obj.get("apiVersion")
    if current == api_version:
        return obj
    if obj.get("kind") == "Event" and _NEW_EVENTS in (current, api_version):
        names = _NEW_NAMES if api_version == _NEW_EVENTS else _OLD_NAMES
        obj = {names.get(name, name): value for name, value in obj.items()}
    return {**obj, "apiVersion": api_version}
