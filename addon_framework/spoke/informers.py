"""Informers that come and go with what they are needed for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Informer


class Scope(NamedTuple):
    """What one informer watches: a resource, in one namespace if it has namespaces."""

    resource: Resource
    namespace: str


class InformerPool:
    """One informer per scope that any user asked for; it ends when the last user has let go.

    `run` keeps them; `on_event` gets the scope and the old and new object of every change.
    """

    def __init__(self, client: Client, on_event: Callable[[Scope, Json | None, Json | None], None]) -> None:
        self._client, self._on_event = client, on_event
        self._informers: dict[Scope, Informer[Json]] = {}
        self._tasks: dict[Scope, asyncio.Task[None]] = {}
        self._users: dict[Hashable, frozenset[Scope]] = {}

    def use(self, user: Hashable, scopes: Iterable[Scope]) -> None:
        """Says what `user` needs from now on; nothing: it is done."""
        wanted = frozenset(scopes)
        before = self._users.pop(user, frozenset())
        if wanted:
            self._users[user] = wanted
        for scope in wanted - self._informers.keys():
            self._start(scope)
        for scope in before - wanted:
            if not any(scope in used for used in self._users.values()):
                self._informers.pop(scope, None)
                if task := self._tasks.pop(scope, None):
                    task.cancel()

    def get(self, scope: Scope) -> Informer[Json] | None:
        """The informer of a scope somebody uses."""
        return self._informers.get(scope)

    async def close(self) -> None:
        """Ends all."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._informers.clear()
        self._tasks.clear()
        self._users.clear()

    def _start(self, scope: Scope) -> None:
        informer: Informer[Json] = Informer(self._client, scope.resource, namespace=scope.namespace or None)

        def forward(old: Any, new: Any) -> None:
            self._on_event(scope, old, new)

        informer.on_event(forward)
        self._informers[scope] = informer
        self._tasks[scope] = asyncio.create_task(informer.run())
