"""What still holds a cluster that is leaving, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import CONDITION_AVAILABLE

FEW = 3  # named one by one
_SAYING = (("HookManifestCompleted", "False"), ("Deleting", "True"))  # of an add-on, of a work


def remaining(cluster: Json, resource: Resource, objects: Sequence[Json]) -> str:
    """The objects by name, with what each of them says that it waits for, or else its finalizers."""
    parts = []
    for obj in sorted(objects, key=lambda o: str(o["metadata"]["name"]))[:FEW]:
        reason = why(obj)
        parts.append(obj["metadata"]["name"] + (f" ({reason})" if reason else ""))
    more = len(objects) - len(parts)
    listed = "; ".join(parts) + (f" and {more} more" if more > 0 else "")
    text = f"waiting for {len(objects)} {resource.plural} to go: {listed}"
    available = get_condition(cluster, CONDITION_AVAILABLE)
    if available is not None and available["status"] != "True":
        name = cluster["metadata"]["name"]
        text += f"; its agent, which must take them away, is not available: fleetadm detach {name} --force"
    return text


def why(obj: Json) -> str:
    """What one object waits for before it goes."""
    for kind, status in _SAYING:
        condition = get_condition(obj, kind)
        if condition is not None and condition["status"] == status and condition.get("message"):
            return str(condition["message"])
    finalizers = obj["metadata"].get("finalizers") or []
    return f"finalizers: {', '.join(finalizers)}" if finalizers else ""


def blocks_otherwise(old: Json | None, new: Json | None) -> bool:
    """Whether an event changes what is to be said."""
    if old is None or new is None:
        return True
    return bool(new["metadata"].get("deletionTimestamp")) and why(old) != why(new)
