"""What all workloads do with pods: own them, tell whether they are ready, make and delete them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import PODS
from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.api.selectors import selects
from addon_framework.api.time import parse_time
from addon_framework.kube import AlreadyExists, ApiError, Client, Conflict, Invalid, Key, NotFound
from addon_framework.kube.informer import AnyInformer
from addon_framework.local.events import Recorder

_BY_OWNER = "controller-uid"


def controller_of(obj: Json) -> Json | None:
    """The owner reference with `controller: true`."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def owner_keys(owners: Callable[[], AnyInformer], kind: str) -> Callable[[Json], Iterable[Key]]:
    """Maps an object to the key of its controller of `kind`, or to those that may adopt it."""

    def keys(obj: Json) -> Iterable[Key]:
        owner, namespace = controller_of(obj), obj["metadata"].get("namespace", "")
        if owner is not None:
            if owner["kind"] == kind:
                yield Key(namespace, owner["name"])
            return
        labels = obj["metadata"].get("labels") or {}
        for each in owners().in_namespace(namespace) if labels else ():
            if selects(each["spec"].get("selector"), labels):
                yield Key(namespace, each["metadata"]["name"])

    return keys


def owned_by(informer: AnyInformer, owner: Json) -> list[Json]:
    """The objects of an informer that `owner` controls."""
    return _by_controller(informer, owner["metadata"]["uid"])


def _by_controller(informer: AnyInformer, key: str) -> list[Json]:
    informer.add_index(_BY_OWNER, _controller_key)
    return informer.by_index(_BY_OWNER, key)


def _controller_key(obj: Json) -> list[str]:
    owner = controller_of(obj)
    return [owner["uid"] if owner else f"nobody in {obj['metadata'].get('namespace', '')}"]


async def claim(
    client: Client,
    informer: AnyInformer,
    owner: Json,
    of: Resource,
    fits: Callable[[Json], bool] = lambda _: True,
) -> list[Json]:
    """What is the owner's by its selector: nobody's objects are adopted, its own that no longer match let go.

    `fits`: what else an object must be to be adopted.

    https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions
    """
    selector, metadata, kind = owner["spec"]["selector"], owner["metadata"], informer.resource
    found = []
    for obj in owned_by(informer, owner):
        if selects(selector, obj["metadata"].get("labels") or {}):
            found.append(obj)
        elif not metadata.get("deletionTimestamp"):
            await _refer(client, kind, obj, {"$patch": "delete", "uid": metadata["uid"]})
    orphans = [
        obj
        for obj in _by_controller(informer, f"nobody in {metadata['namespace']}")
        if selects(selector, obj["metadata"].get("labels") or {})
        and not obj["metadata"].get("deletionTimestamp")
        and not has_ended(obj)
        and fits(obj)
    ]
    if orphans and await _may_adopt(client, owner, of):
        reference = owner_reference(owner, of, controller=True)
        found += [done for obj in orphans if (done := await _refer(client, kind, obj, reference))]
    return found


async def _may_adopt(client: Client, owner: Json, of: Resource) -> bool:
    """By the server, not by a cache: an owner that goes and leaves its objects must not take them back."""
    metadata = owner["metadata"]
    try:
        now = await client.get(of, metadata["name"], metadata["namespace"])
    except NotFound:
        return False
    return bool(now["metadata"]["uid"] == metadata["uid"] and not now["metadata"].get("deletionTimestamp"))


async def _refer(client: Client, kind: Resource, obj: Json, reference: Json) -> Json | None:
    """Adds an owner, or takes one away; None when the object is gone, or another one by now."""
    metadata = obj["metadata"]
    patch = {"metadata": {"uid": metadata["uid"], "ownerReferences": [reference]}}
    try:
        return await client.patch(kind, metadata["name"], patch, metadata["namespace"], kind="strategic")
    except (NotFound, Conflict, Invalid):
        return None


def has_ended(pod: Json) -> bool:
    """No container of it will run any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_active(pod: Json) -> bool:
    """Neither finished nor going away."""
    return not pod["metadata"].get("deletionTimestamp") and not has_ended(pod)


def is_ready(pod: Json) -> bool:
    """Active, and its Ready condition is true."""
    return is_active(pod) and is_true(pod, "Ready")


def ready_for(pod: Json, seconds: int, now: datetime) -> float | None:
    """Seconds until a pod has been ready for `minReadySeconds`: 0 when it is available; None: not ready."""
    if not is_ready(pod):
        return None
    since = (get_condition(pod, "Ready") or {}).get("lastTransitionTime")
    if not seconds or not since:
        return 0.0
    return max(0.0, seconds - (now - parse_time(since)).total_seconds())


def available(pods: Iterable[Json], seconds: int) -> tuple[int, float | None]:
    """How many are available, and when the next one will be by nothing but time."""
    now = datetime.now(UTC)
    waits = [left for pod in pods if (left := ready_for(pod, seconds, now)) is not None]
    return waits.count(0.0), min((left for left in waits if left), default=None)


def counted(**numbers: int) -> Json:
    """Without those that are 0, which API servers leave out, too."""
    return {name: number for name, number in numbers.items() if number}


def child_of(owner: Json, of: Resource, kind: Resource, given: Json | None, **metadata: Any) -> Json:
    """An object that `owner` controls, with the labels and annotations of a template's metadata."""
    meta: Json = {
        "namespace": owner["metadata"]["namespace"],
        **{each: dict((given or {}).get(each) or {}) for each in ("labels", "annotations")},
        "ownerReferences": [owner_reference(owner, of, controller=True)],
        **metadata,
    }
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}


def pod_from(template: Json, owner: Json, of: Resource, **metadata: Any) -> Json:
    """A pod of an owner's template."""
    if "name" not in metadata:
        metadata = {"generateName": f"{owner['metadata']['name']}-"} | metadata
    pod = child_of(owner, of, PODS, template.get("metadata"), **metadata)
    return {**pod, "spec": template["spec"]}


class Pods:
    """Makes and deletes pods of one owner kind, and says so by events."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def create(self, client: Client, owner: Json, pod: Json) -> Json | None:
        """None when its namespace is on its way out and nothing new may come in."""
        try:
            created = await client.create(PODS, pod)
        except AlreadyExists:
            raise
        except ApiError as error:
            if is_closing(error):
                return None
            self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        message = f"Created pod: {created['metadata']['name']}"
        self._recorder.event(owner, "Normal", "SuccessfulCreate", message)
        return created

    async def delete(self, client: Client, owner: Json, pod: Json) -> None:
        """Exactly this pod; gone is fine."""
        if await client.remove(PODS, pod):
            message = f"Deleted pod: {pod['metadata']['name']}"
            self._recorder.event(owner, "Normal", "SuccessfulDelete", message)


def is_closing(error: ApiError) -> bool:
    """Whether nothing new may come into a namespace, since it is on its way out."""
    return any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes)


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
