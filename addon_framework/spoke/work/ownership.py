"""Whose an object is: works own by way of their AppliedManifestWork, and several may own one object."""

from __future__ import annotations

from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.api.work import AppliedManifestWork
from addon_framework.kube import Client, Conflict, Forbidden, Invalid, NotFound

_GROUP = f"{AppliedManifestWork.RESOURCE.group}/"


def reference_to(applied: Json) -> Json:
    """The owner reference that an object of the work carries."""
    return owner_reference(applied, AppliedManifestWork.RESOURCE)


def references(obj: Json | None) -> list[Json]:
    """All owner references."""
    return list(((obj or {}).get("metadata") or {}).get("ownerReferences") or [])


def works(obj: Json | None) -> list[Json]:
    """Only those to AppliedManifestWorks."""
    kind = AppliedManifestWork.RESOURCE.kind
    return [
        r for r in references(obj) if r.get("kind") == kind and str(r.get("apiVersion")).startswith(_GROUP)
    ]


def is_owned(obj: Json | None, uid: str) -> bool:
    """Whether the AppliedManifestWork of that uid is an owner."""
    return any(reference.get("uid") == uid for reference in references(obj))


async def set_references(client: Client, resource: Resource, obj: Json, wanted: list[Json]) -> Json:
    """Replace the references of exactly the version that was read; Conflict when it has changed since."""
    metadata = obj["metadata"]
    patch = {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "ownerReferences": wanted,
        }
    }
    return await client.patch(resource, metadata["name"], patch, metadata.get("namespace"))


async def release(client: Client, resource: Resource, name: str, namespace: str, uid: str) -> None:
    """Let go of an object, which stays."""
    try:
        obj = await client.get(resource, name, namespace or None)
        if is_owned(obj, uid):
            left = [r for r in references(obj) if r.get("uid") != uid]
            await set_references(client, resource, obj, left)
    except NotFound:
        pass


async def reclaim(client: Client, applied_resource: Json, owner: Json) -> None:
    """Own an object again that is still the one that was applied, and is no other work's."""
    resource, name, namespace = resource_of(applied_resource)
    try:
        obj = await client.get(resource, name, namespace or None)
        if obj["metadata"]["uid"] == applied_resource.get("uid") and not works(obj):
            await set_references(client, resource, obj, [*references(obj), owner])
    except (NotFound, Forbidden, Invalid):  # or nobody may change it: then it stays
        pass


async def let_go(client: Client, applied_resource: Json, uid: str) -> Json | None:
    """Delete an object unless another work owns it too; what is still there of it, None when nothing is."""
    resource, name, namespace = resource_of(applied_resource)
    try:
        obj = await client.get(resource, name, namespace or None)
        if not is_owned(obj, uid):
            return None
        if len(works(obj)) > 1:
            await set_references(client, resource, obj, [r for r in references(obj) if r.get("uid") != uid])
            return None
        if not obj["metadata"].get("deletionTimestamp"):
            await client.delete(resource, name, namespace or None, uid=obj["metadata"]["uid"])
            obj = await client.get(resource, name, namespace or None)
    except NotFound:
        return None
    except Conflict as error:
        raise Conflict(error.status, error.reason, f"{resource.plural} {name}: {error.message}") from error
    return obj


def resource_of(applied_resource: Json) -> tuple[Resource, str, str]:
    """Where an entry of appliedResources is to be found."""
    namespace = applied_resource.get("namespace") or ""
    resource = Resource(
        applied_resource.get("group") or "",
        applied_resource["version"],
        applied_resource["resource"],
        "",
        bool(namespace),
    )
    return resource, applied_resource["name"], namespace
