"""A volume and its claim go when nobody reads through them any more.

Kubernetes keeps a claim while a pod names it, one that has ended, too: a Job that nobody removes would keep a
Dataset's claim for ever, and the next Dataset of that name from having one. So we let go of the claim, which
is ours; its volume follows by itself.
https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

from collections.abc import Callable

from addon_framework.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Conflict, Key, NotFound
from addon_framework.kube.ensure import set_finalizers
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.names import volume_name
from addons.cache_runtime.agent.volumes import is_stranger

PROTECTION = "kubernetes.io/pvc-protection"


def volumes_of(cache: Callable[[Resource], AnyInformer], key: Key) -> list[tuple[Resource, Json]]:
    """A Dataset's claim and volume, as far as they are there and nobody else's."""
    found = (
        (PERSISTENTVOLUMECLAIMS, cache(PERSISTENTVOLUMECLAIMS).get(key)),
        (PERSISTENTVOLUMES, cache(PERSISTENTVOLUMES).get(Key("", volume_name(key)))),
    )
    return [(resource, obj) for resource, obj in found if obj is not None and not is_stranger(obj, key)]


async def release(client: Client, cache: Callable[[Resource], AnyInformer], key: Key) -> str:
    """Deletes what is a Dataset's, which no pod uses any more; what is still there and why, or ""."""
    left = volumes_of(cache, key)
    for resource, obj in left:
        if not obj["metadata"].get("deletionTimestamp"):
            await client.remove(resource, obj)
        elif PROTECTION in _finalizers(obj):
            await _let_go(client, obj)
    return f"waiting for {' and '.join(_told(obj) for _, obj in left)} to go" if left else ""


async def _let_go(client: Client, claim: Json) -> None:
    others = [name for name in _finalizers(claim) if name != PROTECTION]
    try:
        await set_finalizers(client, PERSISTENTVOLUMECLAIMS, claim, others)
    except (Conflict, NotFound):
        pass  # somebody else was first: we hear of it


def _finalizers(obj: Json) -> list[str]:
    return list(obj["metadata"].get("finalizers") or [])


def _told(obj: Json) -> str:
    """With whom it waits for, where that is neither Kubernetes nor we."""
    names = [name for name in _finalizers(obj) if not name.startswith("kubernetes.io/")]
    held = f" (finalizers {', '.join(names)})" if names else ""
    return f"{obj['kind']} {obj['metadata']['name']}{held}"
