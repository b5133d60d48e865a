"""Bringing one object to what its manifest says, by the strategy its work chose, and only if it differs."""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from addon_framework.api.meta import Json
from addon_framework.kube import AlreadyExists, ApiError, Client, Conflict, Invalid, NotFound
from addon_framework.kube.apply import covers
from addon_framework.spoke.names import OBJECT_HASH_ANNOTATION
from addon_framework.spoke.work import ignore, ownership
from addon_framework.spoke.work.objects import SpokeObjects
from addon_framework.spoke.work.paths import Parts
from addon_framework.spoke.work.targets import CREATE_ONLY, READ_ONLY, SERVER_SIDE_APPLY, Options, Target

FIELD_MANAGER = "work-agent"
_TRIES = 4  # to write over the version that was read
REMEMBER_ERROR = 60.0  # seconds in which what was refused is not sent again, unless something changes
_SERVER_FIELDS = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
    "selfLink",
)


class Waiting(ApiError):
    """Nothing can be done before the object itself changes; the watch will say when."""


@dataclass
class Wish:
    """What one work wants of one object. `owner` is its reference there, None where it must not own it.

    `applied_before` says that the very same manifest was applied once, so that what it lacks need not be
    looked for on the object.
    """

    target: Target
    manifest: Json
    options: Options
    work_uid: str
    owner: Json | None
    applied_before: bool
    user: str = ""


@dataclass
class _Memory:
    """After our last attempt: what we sent, what the object was then, and what the server had against it."""

    sent: str
    found: str
    error: ApiError | None = None
    at: float = 0.0


class Applier:
    """Applies wishes. What it remembers only saves requests: a new one would come to the same."""

    def __init__(self, objects: SpokeObjects) -> None:
        self._objects = objects
        self._memory: dict[tuple[str, Target], _Memory] = {}
        self._clients: dict[str, Client] = {"": objects.client}

    async def close(self) -> None:
        """Closes the clients of executors."""
        for user, client in self._clients.items():
            if user:
                await client.close()

    async def apply(self, wish: Wish) -> Json | None:
        """The object as it is then, if it is there. Raises ApiError, and PathError for a bad ignoreFields."""
        live = await self._objects.live(wish.target)
        if wish.options.strategy == READ_ONLY:
            if live is None:
                return None  # as in OCM: there was nothing to do, and Available says that it is not there
            result = live
        elif live is not None and live["metadata"].get("deletionTimestamp"):
            text = f"it is being deleted{_held(live)}; it is made anew after that"
            raise Waiting(409, "BeingDeleted", text)
        elif wish.options.strategy == CREATE_ONLY:
            result = await self._create_only(wish, live)
        else:
            result = await self._server_side(wish, live)
        if wish.owner is None and ownership.is_owned(result, wish.work_uid):  # it was ours once
            left = [r for r in ownership.references(result) if r.get("uid") != wish.work_uid]
            result = await ownership.set_references(self._objects.client, wish.target.resource, result, left)
            self._objects.wrote(wish.target, result)
        return result

    async def _create_only(self, wish: Wish, live: Json | None) -> Json:
        target = wish.target
        if live is None:
            body = _clean(wish)
            if wish.owner is not None:
                body["metadata"]["ownerReferences"] = [*ownership.references(body), wish.owner]
            try:
                made = await self._client(wish).create(target.resource, body, target.namespace or None)
            except AlreadyExists:  # the watch is behind
                live = await self._objects.client.get(target.resource, target.name, target.namespace or None)
            else:
                self._objects.wrote(target, made)
                return made
        if wish.owner is not None and not ownership.is_owned(live, wish.work_uid):
            wanted = [*ownership.references(live), wish.owner]
            live = await ownership.set_references(self._client(wish), target.resource, live, wanted)
            self._objects.wrote(target, live)
        return live

    async def _server_side(self, wish: Wish, live: Json | None) -> Json:
        """Both Update and ServerSideApply: what we do not name, others may set; what we drop is removed."""
        rules = self._rules(wish)
        desired = _clean(wish)
        wanted_hash = ignore.hash_of(wish.manifest) if rules else ""
        if ignore.needs_hash(rules):
            desired["metadata"].setdefault("annotations", {})[OBJECT_HASH_ANNOTATION] = wanted_hash
        paths: list[Parts] = []
        if rules and live is not None:  # jq takes its time
            paths = await asyncio.to_thread(ignore.ignored, rules, desired, live, wanted_hash)
        required = ignore.without(desired, paths)
        sent = _digest([required, wish.options.server_side, wish.options.strategy, wish.user])
        if live is not None and self._is_settled(wish, live, required, sent):
            return live
        key = (wish.work_uid, wish.target)
        self._memory.pop(key, None)
        try:
            result = await self._send(wish, desired, paths, live)
        except ApiError as error:
            if is_final(error):
                now = asyncio.get_running_loop().time()
                self._memory[key] = _Memory(sent, _found(live), error, now)
            raise
        self._objects.wrote(wish.target, result)
        self._memory[key] = _Memory(sent, _found(result))
        return result

    async def _send(self, wish: Wish, desired: Json, paths: list[Parts], live: Json | None) -> Json:
        """Over exactly the version that was looked at. What we send names all works that own the object, and
        one that lets go meanwhile must not come back; and somebody who changes an ignored field must win.
        """
        options: Mapping[str, Any] = {"force": True}  # Update
        if wish.options.strategy == SERVER_SIDE_APPLY:
            options = wish.options.server_side
        manager = options.get("fieldManager") or FIELD_MANAGER
        target, tries = wish.target, _TRIES
        if paths:
            live = await self._fresh(target)
        while True:
            body = ignore.yielding(desired, paths, live, manager) if paths and live else desired
            metadata = {"ownerReferences": _references(wish, desired, live)}
            if live is not None:
                metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
            body = {**body, "metadata": {**body["metadata"], **{k: v for k, v in metadata.items() if v}}}
            try:
                return await self._client(wish).apply(
                    body, field_manager=manager, force=bool(options.get("force")), resource=target.resource
                )
            except Conflict as error:
                tries -= 1
                if error.causes or live is None or not tries:
                    raise
            live = await self._fresh(target)

    async def _fresh(self, target: Target) -> Json | None:
        try:
            return await self._objects.client.get(target.resource, target.name, target.namespace or None)
        except NotFound:
            return None

    def _is_settled(self, wish: Wish, live: Json, required: Json, sent: str) -> bool:
        """Whether nothing is to be sent. Raises the error of a moment ago when only that would come again."""
        memory = self._memory.get((wish.work_uid, wish.target))
        if wish.owner is not None and not ownership.is_owned(live, wish.work_uid):
            return False
        known = wish.applied_before if memory is None else memory.sent == sent and memory.error is None
        if known and covers(live, required):
            return True
        if memory is None or memory.sent != sent or memory.found != _found(live):
            return False
        if memory.error is None:
            return True  # the server says it in other words than ours: units, order, defaults
        if asyncio.get_running_loop().time() - memory.at > REMEMBER_ERROR:
            return False
        raise memory.error

    def forget(self, work_uid: str, keep: frozenset[Target] = frozenset()) -> None:
        """Nothing needs to be remembered of a work's other targets."""
        for key in [k for k in self._memory if k[0] == work_uid and k[1] not in keep]:
            del self._memory[key]

    def _rules(self, wish: Wish) -> list[Json]:
        if wish.options.strategy != SERVER_SIDE_APPLY:
            return []
        return list(wish.options.server_side.get("ignoreFields") or [])

    def _client(self, wish: Wish) -> Client:
        """Ours, or one that may do only what the work's executor may."""
        if wish.user not in self._clients:
            config = replace(self._objects.client.config, impersonate=wish.user)
            self._clients[wish.user] = Client(config)
        return self._clients[wish.user]


def _clean(wish: Wish) -> Json:
    """The manifest without what only a server writes, in its namespace."""
    desired = copy.deepcopy(wish.manifest)
    desired.pop("status", None)
    for name in (*_SERVER_FIELDS, "namespace"):
        desired["metadata"].pop(name, None)
    if wish.target.namespace:
        desired["metadata"]["namespace"] = wish.target.namespace
    return desired


def _references(wish: Wish, desired: Json, live: Json | None) -> list[Json]:
    """The manifest's own, those of other works (one field manager writes for all), and this work's."""
    others = [r for r in ownership.works(live) if r.get("uid") != wish.work_uid]
    ours = [wish.owner] if wish.owner is not None else []
    return [*ownership.references(desired), *others, *ours]


def is_final(error: ApiError) -> bool:
    """The same again would get the same answer: not valid, or a field belongs to somebody else."""
    taken = isinstance(error, Conflict) and bool(error.causes)
    return taken or isinstance(error, Invalid | Waiting) or error.status == 400


def _digest(value: object) -> str:
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _found(live: Json | None) -> str:
    """What we could have an influence on."""
    if live is None:
        return ""
    skipped = ("resourceVersion", "generation", "managedFields")
    metadata = {k: v for k, v in live["metadata"].items() if k not in skipped}
    return _digest([metadata, {k: v for k, v in live.items() if k not in ("metadata", "status")}])


def _held(live: Json) -> str:
    finalizers = ", ".join(live["metadata"].get("finalizers") or [])
    return f" (finalizers: {finalizers})" if finalizers else ""
