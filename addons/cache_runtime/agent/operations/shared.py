"""What the controllers of all kinds share: turns, Secrets, sources that are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from addon_framework.kube import ApiError, Client
from addons.cache_runtime.agent.backends import Binding, Resolver
from addons.cache_runtime.agent.credentials import CredentialsError
from addons.cache_runtime.agent.dataset import DatasetController
from addons.cache_runtime.agent.operations.kinds import Kind
from addons.cache_runtime.agent.operations.turns import Turns
from addons.cache_runtime.agent.secrets import Name, SecretWatch

Wake = Callable[[Name], None]


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
            except Exception as error:  # an answer that nobody expected is a problem like any other
                known = isinstance(error, OSError | CredentialsError | ApiError)
                problem = str(error) if known else f"{type(error).__name__}: {error}"
                if into.problem != problem:  # a source that cannot be read has not changed
                    into.problem = problem
                    self._wake(owner)
            else:
                news = into.problem or version is None or version != into.version
                into.problem, into.unsupported, into.version = "", version is None, version or ""
                if news:
                    self._wake(owner)
                if version is None:
                    return
            await asyncio.sleep(self._period)
