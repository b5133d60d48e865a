"""Writing only what changed: is a desired object already there, and which patch makes one status another."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from addon_framework.api.meta import Json, Resource
from addon_framework.kube.client import Client


def covers(live: Any, desired: Any) -> bool:
    """Whether `live` holds everything `desired` says; what others added to maps does not count.

    Lists must be as long and cover item by item, so a server's defaults inside an item are no difference.
    """
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            return desired == {} and live is None
        return all(covers(live.get(name), value) for name, value in desired.items())
    if isinstance(desired, list):
        if not isinstance(live, list):
            return desired == [] and live is None
        return len(live) == len(desired) and all(map(covers, live, desired))
    return bool(live == desired) and isinstance(live, bool) == isinstance(desired, bool)


def merge_patch(old: Any, new: Any) -> Any:
    """The RFC 7386 patch that turns `old` into `new`; {} when they are equal."""
    patch: Json = {}
    for name in old.keys() - new.keys():
        patch[name] = None
    for name, value in new.items():
        before = old.get(name)
        if name in old and before == value:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            patch[name] = merge_patch(before, value)
        else:
            patch[name] = value
    return patch


async def patch_status(
    client: Client,
    resource: Resource,
    obj: Json,
    status: Json,
    *,
    optional: Collection[str] = (),
    exact: bool = False,
) -> bool:
    """Makes `obj`'s status `status`, sending only the difference; False when there was none.

    `exact`: the difference to an older copy would make a status of two halves, so it is a Conflict.

    The uid goes along, so that an object that was deleted and made anew is not written to by mistake.
    `optional` fields are dropped by servers that have another's definition of the kind: a difference that is
    only that they are not there is none, or it would be sent for ever.
    """
    old = obj.get("status") or {}
    patch = merge_patch(old, status)
    if not patch or (old and all(field in optional and field not in old for field in patch)):
        return False
    metadata = obj["metadata"]
    known = {"uid": metadata["uid"]} | ({"resourceVersion": metadata["resourceVersion"]} if exact else {})
    body: Json = {"metadata": known, "status": patch}
    await client.patch(resource, metadata["name"], body, metadata.get("namespace"), subresource="status")
    return True
