"""What the controllers of all kinds share: turns, Secrets, sources that are looked at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from addon_framework.api.core import SECRETS
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError, Client, Informer, Key
from addons.cache_runtime.agent.backends import Binding, Resolver
from addons.cache_runtime.agent.credentials import CredentialsError
from addons.cache_runtime.agent.dataset import DatasetController
from addons.cache_runtime.agent.names import short_hash
from addons.cache_runtime.agent.operations.kinds import Kind
from addons.cache_runtime.agent.operations.turns import Name, Turns

Wake = Callable[[Name], None]
_SYNC = 30.0


class Shared:
    """One per agent."""

    def __init__(
        self,
        kinds: Sequence[Kind],
        resolver: Resolver,
        datasets: DatasetController,
        client: Client,
        wake: Wake,
    ) -> None:
        self.kinds, self.resolver, self.datasets = kinds, resolver, datasets
        self.turns = Turns(wake)
        self.secrets = SecretWatch(client, wake)
        self.sources = SourceWatch(datasets, wake)

    def forget(self, name: Name) -> None:
        """An operation is gone."""
        self.turns.end(name)
        self.secrets.forget(name)
        self.sources.forget(name)

    def close(self) -> None:
        """Ends all watches."""
        self.secrets.close()
        self.sources.close()


class SecretWatch:
    """Follows each Secret that an operation needs, whoever made it: a new value is a reason to try again."""

    def __init__(self, client: Client, wake: Wake) -> None:
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


@dataclass
class Seen:
    """What is known of a source: its version, or that it has none, or why it cannot be read now."""

    inputs: str
    version: str = ""
    problem: str = ""
    unsupported: bool = False
    task: asyncio.Task[None] | None = None


class SourceWatch:
    """Lists sources again and again, since no object store tells us of changes. OnEvent goes by it."""

    def __init__(self, datasets: DatasetController, wake: Wake, *, period: float = 10.0) -> None:
        self._datasets, self._wake, self._period = datasets, wake, period
        self._seen: dict[Name, Seen] = {}

    def look(self, owner: Name, inputs: str, binding: Binding) -> Seen:
        """What is known now; from now on changes wake the owner."""
        known = self._seen.get(owner)
        if known is not None and known.inputs == inputs:
            return known
        self.forget(owner)
        fresh = self._seen[owner] = Seen(inputs)
        fresh.task = asyncio.create_task(self._run(owner, fresh, binding))
        return fresh

    def forget(self, owner: Name) -> None:
        """Nobody cares any more."""
        known = self._seen.pop(owner, None)
        if known is not None and known.task is not None:
            known.task.cancel()

    def close(self) -> None:
        """Ends all."""
        for owner in list(self._seen):
            self.forget(owner)

    async def _run(self, owner: Name, into: Seen, binding: Binding) -> None:
        while True:
            try:
                secrets = await self._datasets.credentials.values(binding.cache)
                version = await binding.backend.version(binding.cache, secrets)
            except (OSError, CredentialsError, ApiError) as error:
                if into.problem != str(error):  # a source that cannot be read has not changed
                    into.problem = str(error)
                    self._wake(owner)
            else:
                into.problem = ""
                into.unsupported = version is None
                if version != into.version or version is None:
                    into.version = version or ""
                    self._wake(owner)
                if version is None:
                    return
            await asyncio.sleep(self._period)
