"""What backends have alike whose sources we can read ourselves: their size, their version, migrations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from runtimes.interface import Backend, Cache, Migration, SecretKey, Source, Task
from runtimes.measure import measure, version
from runtimes.migrate import migrate_task
from runtimes.pods import credential_names
from runtimes.source.stores import STORES


class SourceBackend(Backend):
    """S3, its kin, the web and hubs are listed from here; of other sources nothing is known."""

    def migrate(self, cache: Cache, migration: Migration) -> Task | str | None:
        """By our own program."""
        return migrate_task(cache, migration)

    def lists(self, source: Source) -> bool:
        """Whether it can be seen from anywhere."""
        return readable(source)

    def listed(self, cache: Cache) -> bool:
        """Whether all that it shows can be."""
        return all(map(self.lists, cache.sources))

    async def version(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> str | None:
        """Of what can be listed."""
        if not self.listed(cache):
            return None
        return await asyncio.to_thread(version, cache, secrets)

    async def measure(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> tuple[int, int] | None:
        """What can be listed; other file systems are opaque."""
        if not self.listed(cache):
            return None
        return await asyncio.to_thread(measure, cache, secrets)


def readable(source: Source) -> bool:
    """Past any cache, from anywhere. The keys to a store may be known to its own client only."""
    if source.scheme in STORES and source.scheme != "s3":
        return bool(source.secrets) and set(source.secrets) <= set(credential_names(source.scheme))
    return source.scheme in ("s3", "http", "https", "hf")
