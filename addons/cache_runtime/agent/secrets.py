"""Secrets that users made, followed one by one: a new value is a reason to do something again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from addon_framework.api.core import SECRETS
from addon_framework.api.meta import Json
from addon_framework.kube import Client, Informer, Key
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.making import secrets_of
from addons.cache_runtime.agent.names import DATASETS, short_hash

Name = tuple[str, Key]  # kind and key of whoever needs one
_SYNC = 30.0  # seconds


class SecretWatch:
    """Wakes those who need a Secret when it changes, whoever made it."""

    def __init__(self, client: Client, wake: Callable[[Name], None]) -> None:
        self._client, self._wake = client, wake
        self._followed: dict[Key, tuple[Informer[Json], asyncio.Task[None]]] = {}
        self._wanted: dict[Name, set[Key]] = {}

    async def versions(self, owner: Name, names: set[Key]) -> dict[Key, str]:
        """A hash of each Secret's values; "" where there is none."""
        self._want(owner, names)
        found: dict[Key, str] = {}
        for name in sorted(names):
            if name not in self._followed:
                self._follow(name)
            informer, _ = self._followed[name]
            async with asyncio.timeout(_SYNC):
                await informer.synced()
            secret = informer.get(name)
            data = json.dumps((secret or {}).get("data") or {}, sort_keys=True)
            found[name] = short_hash(data) if secret is not None else ""
        return found

    async def read_by(self, binding: Binding) -> str:
        """A hash of those that a cache's pods read when they start; "" where they read none."""
        key = Key(binding.cache.namespace, binding.cache.name)
        parts = binding.backend.components(binding.cache)
        names = {Key(key.namespace, name) for part in parts for name in secrets_of(part.pod)}
        found = await self.versions((DATASETS.kind, key), names)
        return short_hash(json.dumps(sorted(found.items()))) if found else ""

    def forget(self, owner: Name) -> None:
        """It needs none any more."""
        self._want(owner, set())
        self._wanted.pop(owner, None)

    def close(self) -> None:
        """Ends the watches."""
        for _, task in self._followed.values():
            task.cancel()
        self._followed.clear()

    def _want(self, owner: Name, names: set[Key]) -> None:
        if self._wanted.get(owner) == names:
            return
        self._wanted[owner] = names
        needed = {name for wanted in self._wanted.values() for name in wanted}
        for name in self._followed.keys() - needed:
            self._followed.pop(name)[1].cancel()

    def _follow(self, name: Key) -> None:
        informer: Informer[Json] = Informer(
            self._client, SECRETS, namespace=name.namespace, field_selector=f"metadata.name={name.name}"
        )

        def event(old: Json | None, new: Json | None) -> None:
            for owner, wanted in list(self._wanted.items()):
                if name in wanted:
                    self._wake(owner)

        informer.on_event(event)
        self._followed[name] = (informer, asyncio.create_task(informer.run()))
