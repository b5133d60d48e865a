"""Writing only what differs from what the cache shows, so that a settled hub sees no requests."""

from __future__ import annotations

from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client
from addon_framework.kube.apply import covers, patch_status


async def ensure(
    client: Client, live: Json | None, desired: Json, *, field_manager: str, resource: Resource
) -> bool:
    """Apply `desired` unless the live object already says all of it; True when something was written."""
    if live is not None and covers(live, desired):
        return False
    await client.apply(desired, field_manager=field_manager, resource=resource)
    return True


async def remove(client: Client, resource: Resource, live: Json | None) -> bool:
    """Delete the object the cache shows, by uid; True while there is something left to wait for."""
    return live is not None and await client.remove(resource, live)


async def write_status(client: Client, resource: Resource, obj: Json, status: Json) -> bool:
    """Make `obj`'s status `status`, sending only the difference; False when there was none.

    Hub and spoke both write conditions, and a merge patch replaces the whole list. So the patch holds for the
    version that was read only: Conflict otherwise, and the next look sees what the other has written.
    """
    return await patch_status(client, resource, obj, status, exact=True)


async def set_finalizers(client: Client, resource: Resource, obj: Json, finalizers: list[str]) -> None:
    """Replace the finalizers of exactly the version that was read; Conflict when it has changed since."""
    metadata = obj["metadata"]
    body = {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "finalizers": finalizers,
        }
    }
    await client.patch(resource, metadata["name"], body, metadata.get("namespace"))
