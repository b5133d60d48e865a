"""Whether a StatefulSet's claims go with it, or with their pod when it is scaled down: by owner references.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#persistentvolumeclaim-retention
"""

from __future__ import annotations

from addon_framework.api.core import PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from addon_framework.api.meta import Json, owner_reference
from addon_framework.kube import Client, Key, NotFound
from addon_framework.kube.informer import AnyInformer


def owners(stateful_set: Json, condemned: Json | None) -> list[Json]:
    """Whom a claim should go with; `condemned` is its pod, when that goes for being too much."""
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    if condemned is not None and policy.get("whenScaled") == "Delete":
        return [owner_reference(condemned, PODS)]
    if policy.get("whenDeleted") == "Delete":
        return [owner_reference(stateful_set, STATEFULSETS, controller=True)]
    return []


async def settle(
    client: Client, claims: AnyInformer, stateful_set: Json, pod: Json, *, leaves: bool = False
) -> None:
    """Writes the owners of a pod's claims; `leaves`: the pod is about to go, since there are too many.

    References of others, such as a user's, stay.
    """
    wanted = owners(stateful_set, pod if leaves else None)
    namespace = stateful_set["metadata"]["namespace"]
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        name = f"{template['metadata']['name']}-{pod['metadata']['name']}"
        claim = claims.get(Key(namespace, name))
        if claim is None:
            continue
        there = claim["metadata"].get("ownerReferences") or []
        ours = (stateful_set["metadata"]["name"], pod["metadata"]["name"])
        others = [r for r in there if r["kind"] not in ("StatefulSet", "Pod") or r["name"] not in ours]
        if {r["uid"] for r in there} == {r["uid"] for r in [*others, *wanted]}:
            continue
        patch = {"metadata": {"uid": claim["metadata"]["uid"], "ownerReferences": [*others, *wanted] or None}}
        try:
            await client.patch(PERSISTENTVOLUMECLAIMS, name, patch, namespace)
        except NotFound:
            continue
