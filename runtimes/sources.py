"""What backends have alike whose sources we can read ourselves: their size, their version, migrations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from runtimes.interface import Backend, Cache, Migration, SecretKey, Task
from runtimes.measure import measure, version
from runtimes.migrate import migrate_task


class SourceBackend(Backend):
    """S3, the web and hubs are listed from here; of other sources nothing is known."""

    def listed(self, cache: Cache) -> Cache:
        """The same cache, whose sources have the options that runtimes.source knows."""
        return cache

    def migrate(self, cache: Cache, migration: Migration) -> Task | str | None:
        """By our own program."""
        return migrate_task(cache, migration)

    async def version(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> str | None:
        """Of what can be listed."""
        return await asyncio.to_thread(version, self.listed(cache), secrets)

    async def measure(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> tuple[int, int] | None:
        """What can be listed; other file systems are opaque."""
        return await asyncio.to_thread(measure, self.listed(cache), secrets)
