"""What all workloads do with pods: own them, tell whether they are ready, make and delete them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from addon_framework.api.conditions import is_true
from addon_framework.api.core import PODS
from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.kube import Client, Forbidden, Key, NotFound
from addon_framework.kube.informer import AnyInformer

_BY_OWNER = "controller-uid"


def controller_of(obj: Json) -> Json | None:
    """The owner reference with `controller: true`."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def owner_key(kind: str) -> Callable[[Json], Iterable[Key]]:
    """Maps an object to the key of its controller of `kind`."""

    def keys(obj: Json) -> Iterable[Key]:
        owner = controller_of(obj)
        if owner is not None and owner["kind"] == kind:
            yield Key(obj["metadata"].get("namespace", ""), owner["name"])

    return keys


def owned_by(informer: AnyInformer, owner: Json) -> list[Json]:
    """The objects of an informer that `owner` controls."""
    informer.add_index(_BY_OWNER, lambda obj: [c["uid"]] if (c := controller_of(obj)) else [])
    return informer.by_index(_BY_OWNER, owner["metadata"]["uid"])


def is_active(pod: Json) -> bool:
    """Neither finished nor going away."""
    phase = (pod.get("status") or {}).get("phase")
    return not pod["metadata"].get("deletionTimestamp") and phase not in ("Succeeded", "Failed")


def is_ready(pod: Json) -> bool:
    """Active, and its Ready condition is true."""
    return is_active(pod) and is_true(pod, "Ready")


def pod_from(template: Json, owner: Json, resource: Resource, **metadata: Any) -> Json:
    """A pod of an owner's template."""
    given = template.get("metadata") or {}
    meta: Json = {
        "namespace": owner["metadata"]["namespace"],
        "labels": dict(given.get("labels") or {}),
        "annotations": dict(given.get("annotations") or {}),
        "ownerReferences": [owner_reference(owner, resource, controller=True)],
    }
    if "name" not in metadata:
        meta["generateName"] = f"{owner['metadata']['name']}-"
    meta |= metadata
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}


async def create_pod(client: Client, pod: Json) -> Json | None:
    """Creates a pod; None when its namespace is on its way out and nothing new may come in."""
    try:
        return await client.create(PODS, pod)
    except Forbidden as error:
        if any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
            return None
        raise


async def delete_pod(client: Client, pod: Json) -> None:
    """Deletes exactly this pod; gone is fine."""
    metadata = pod["metadata"]
    try:
        await client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
    except NotFound:
        return


class Expectations:
    """What a controller has just created and its cache has not seen yet.

    Without it a second pass would count too few pods and make too many. The pod's own event brings the
    controller back; one that never comes, made and gone while the watch was down, is waited for `patience`.
    """

    patience = 5.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pending: dict[Key, dict[str, float]] = {}

    def expect(self, key: Key, uid: str) -> None:
        """A pod with this uid will appear."""
        self._pending.setdefault(key, {})[uid] = self._clock()

    def unmet(self, key: Key, pods: Iterable[Json]) -> float | None:
        """Seconds after which to look again while pods are missing in `pods`; None when all are there."""
        pending = self._pending.get(key)
        if not pending:
            return None
        for pod in pods:
            pending.pop(pod["metadata"]["uid"], None)
        oldest = self._clock() - self.patience
        for uid in [uid for uid, since in pending.items() if since <= oldest]:
            del pending[uid]
        if pending:
            return self.patience
        del self._pending[key]
        return None

    def forget(self, key: Key) -> None:
        """The owner is gone."""
        self._pending.pop(key, None)
