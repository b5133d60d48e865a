"""What is on the cluster, as far as works concern it: watched, so that drift is seen and reading is free."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

import structlog

from addon_framework.api.meta import Json
from addon_framework.kube import Client, Key, NotFound
from addon_framework.spoke.informers import InformerPool, Scope
from addon_framework.spoke.work.targets import Target

log = structlog.get_logger(__name__)
SYNC_TIMEOUT = 3.0  # a kind that cannot be listed is read one by one


class SpokeObjects:
    """Live objects by target, and who is to be told of their changes.

    A user is whatever a listener can make a key of; it names all its targets with `watch`.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._pool = InformerPool(client, self._changed)
        self._targets: dict[Hashable, frozenset[Target]] = {}
        self._users: defaultdict[Target, set[Hashable]] = defaultdict(set)
        self.refusals: dict[Target, str] = {}  # why the cluster would not delete an object
        self._listeners: list[Callable[[Hashable], None]] = []

    def listen(self, listener: Callable[[Hashable], None]) -> None:
        """Calls back with a user whenever one of its targets has changed."""
        self._listeners.append(listener)

    def watch(self, user: Hashable, targets: Iterable[Target]) -> None:
        """What `user` cares for from now on; nothing: it is done."""
        wanted = frozenset(targets)
        before = self._targets.pop(user, frozenset())
        for target in before - wanted:
            self._users[target].discard(user)
            if not self._users[target]:
                del self._users[target]
                self.refusals.pop(target, None)
        for target in wanted - before:
            self._users[target].add(user)
        if wanted:
            self._targets[user] = wanted
        self._pool.use(user, {target.scope for target in wanted})

    def tell(self, user: Hashable) -> None:
        """As if one of its targets had changed."""
        for listener in self._listeners:
            listener(user)

    def watched(self, user: Hashable) -> frozenset[Target]:
        """What `user` cares for now."""
        return self._targets.get(user, frozenset())

    async def live(self, target: Target) -> Json | None:
        """The object as it is now, our own last write included."""
        informer = self._pool.get(target.scope)
        if informer is not None:
            try:
                async with asyncio.timeout(SYNC_TIMEOUT):
                    await informer.synced()
            except TimeoutError:
                informer = None
        if informer is not None:
            return informer.get(Key(target.namespace, target.name))
        try:
            return await self.client.get(target.resource, target.name, target.namespace or None)
        except NotFound:
            return None

    def wrote(self, target: Target, obj: Json) -> None:
        """Our write's answer counts until the watch has something to say of the object."""
        obj["metadata"].pop("managedFields", None)
        if (informer := self._pool.get(target.scope)) is not None:
            informer.expect(obj)

    async def close(self) -> None:
        """Stops watching."""
        await self._pool.close()

    def _changed(self, scope: Scope, old: Json | None, new: Json | None) -> None:
        metadata = (new or old or {})["metadata"]
        target = Target(scope.resource, metadata.get("namespace") or "", metadata["name"])
        for user in tuple(self._users.get(target, ())):
            self.tell(user)
