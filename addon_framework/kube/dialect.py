"""Add-ons on hubs of any age: all code speaks v1alpha1; where a hub serves only v1beta1 the client converts.

Which one a hub serves is discovered once per client and kind. A hub with both is spoken to in v1alpha1, and
its own conversion does the rest, whatever it stores.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from addon_framework.api.addon_v1beta1 import KINDS, NEW, OLD, convert
from addon_framework.api.meta import Json
from addon_framework.kube.errors import ApiError, Forbidden, NotFound

OLD_ROOT, NEW_ROOT = f"/apis/{OLD}", f"/apis/{NEW}"
_KINDS = {kind.RESOURCE.plural: kind.RESOURCE.kind for kind in KINDS}
_LINKED = ("registrations", "kubeClientDriver")  # one list in v1beta1
Get = Callable[[str], Awaitable[Json]]


class Dialect:
    """What changes in requests and answers; nothing where `plurals`, the kinds to convert, are none."""

    def __init__(self, plurals: Collection[str], *, all_new: bool = False) -> None:
        self._kinds = {plural: _KINDS[plural] for plural in plurals}
        self._all_new = all_new

    def path(self, path: str) -> str:
        """Where the request goes."""
        if self._all_new and path == OLD_ROOT:
            return NEW_ROOT
        return path.replace(OLD_ROOT, NEW_ROOT, 1) if self._kind(path) else path

    async def outgoing(self, path: str, body: Json, get: Get) -> Json:
        """A body for that (v1alpha1) path: an object, or a merge patch of one."""
        if not self._kinds or not isinstance(body, dict):
            return body
        body = self._owners(body, OLD, NEW)
        kind = self._kind(path)
        if kind is None or body.get("kind") == "DeleteOptions":
            return body
        converted = convert({**body, "kind": kind}, NEW)
        if "apiVersion" in body:
            return converted
        patched = body.get("status")
        if isinstance(patched, dict) and any(name in patched for name in _LINKED):
            await self._link(path, patched, converted, get)
        return {name: value for name, value in converted.items() if name not in ("apiVersion", "kind")}

    def incoming(self, path: str, answer: Json) -> Json:
        """What the server said to a request for that path: an object or a list."""
        if not self._kinds:
            return answer
        kind = self._kind(path)
        if isinstance(items := answer.get("items"), list):
            return {**answer, "items": [self._read(item, kind) for item in items]}
        return self._read(answer, kind) if answer.get("kind") != "Status" else answer

    def _read(self, obj: Json, kind: str | None) -> Json:
        obj = self._owners(obj, NEW, OLD)
        return convert({**obj, "kind": kind}, OLD) if kind else obj

    def _kind(self, path: str) -> str | None:
        if not path.startswith(f"{OLD_ROOT}/"):
            return None
        parts = path[len(OLD_ROOT) + 1 :].split("/")
        return self._kinds.get(parts[2] if parts[0] == "namespaces" and len(parts) > 2 else parts[0])

    def _owners(self, obj: Json, before: str, after: str) -> Json:
        owners = (obj.get("metadata") or {}).get("ownerReferences")
        if not owners or not any(owner.get("apiVersion") == before for owner in owners):
            return obj
        kinds = self._kinds.values()
        changed = [
            {**owner, "apiVersion": after}
            if owner.get("apiVersion") == before and owner.get("kind") in kinds
            else owner
            for owner in owners
        ]
        return {**obj, "metadata": {**obj["metadata"], "ownerReferences": changed}}

    async def _link(self, path: str, patched: Json, converted: Json, get: Get) -> None:
        """A patch of one of the two fields that are one in v1beta1 needs the other, of the same version."""
        live = self.incoming(path, await get(self.path(path.removesuffix("/status"))))
        both = {name: patched.get(name, (live.get("status") or {}).get(name)) for name in _LINKED}
        whole = convert({"kind": live["kind"], "status": both}, NEW)
        converted["status"]["registrations"] = whole["status"]["registrations"]
        version = live["metadata"]["resourceVersion"]
        converted["metadata"] = {"resourceVersion": version, **(converted.get("metadata") or {})}


def is_of_addons(path: str) -> bool:
    """Whether a request is for what has two versions."""
    return path.startswith(OLD_ROOT)


async def learn(get: Get) -> Dialect | None:
    """Ask what is served; None while nothing is, such as before the CRDs are there."""
    old = await _served(get, OLD_ROOT)
    if old >= _KINDS.keys():
        return Dialect(())
    new = await _served(get, NEW_ROOT)
    if not old and not new:
        return None
    return Dialect((new - old) & _KINDS.keys(), all_new=not old)


def no_longer_served(path: str, error: ApiError) -> bool:
    """Whether an answer says that the kind, and not only the object, is not there."""
    return is_of_addons(path) and error.status == 404 and not (error.details or {}).get("name")


async def _served(get: Get, root: str) -> set[str]:
    try:
        answer = await get(root)
    except (NotFound, Forbidden):
        return set()
    return {entry["name"] for entry in answer.get("resources") or []}
