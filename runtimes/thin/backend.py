"""The description of the `thin` backend. Pure but for `measure`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from addon_framework.api.data import DataLoad, ThinRuntime, ThinRuntimeProfile
from addon_framework.api.meta import Json
from runtimes.interface import (
    Backend,
    Cache,
    CacheState,
    Component,
    Migration,
    Missing,
    Profile,
    SecretKey,
    Source,
    Task,
    Volume,
)
from runtimes.measure import measure, version
from runtimes.migrate import migrate_task
from runtimes.node.command import clean_pod
from runtimes.thin import profile as profiles
from runtimes.thin import rclone, s3fs

BUILT_IN = {"s3fs": s3fs.pod, "rclone": rclone.pod}


class ThinBackend(Backend):
    """A FUSE client per node. A profile in the cluster comes before the built-in one of the same name."""

    type = "thin"
    resource = ThinRuntime.RESOURCE
    profile = Profile(ThinRuntimeProfile.RESOURCE, "profileName")

    def validate(self, cache: Cache) -> list[str]:
        """By profile."""
        name = cache.spec.get("profileName") or ""
        if not cache.sources:
            return [f"Dataset {cache.namespace}/{cache.name}: spec.mounts: at least one is needed"]
        if cache.profile is not None:
            return profiles.validate(cache)
        if name in BUILT_IN:
            return s3fs.validate(cache, name)
        known = " or ".join(BUILT_IN)
        if not name:
            return [f"{cache.title}: spec.profileName: is needed; built in are {known}"]
        return [
            Missing(
                f"{cache.title}: spec.profileName: ThinRuntimeProfile {name} does not exist; create it, "
                f"or use the built-in {known}"
            )
        ]

    def components(self, cache: Cache) -> list[Component]:
        """The client alone."""
        if cache.profile is None:
            made = BUILT_IN[cache.spec["profileName"]](cache, cache.spec.get("fuse") or {})
            return [Component("client", made)]
        config = {profiles.config_map(cache): {"config.json": profiles.configuration(cache)}}
        return [Component("client", profiles.pod(cache), config_maps=config)]

    def volume(self, cache: Cache) -> Volume:
        """The mount; there is nothing to see before."""
        return Volume(cache.mount_point, after="client")

    def shown(self, cache: Cache) -> list[Source] | None:
        """The built-in ones mount their source itself; what a profile's image does is its own affair."""
        return None if cache.profile is not None else [replace(source, path="/") for source in cache.sources]

    def warm(self, cache: Cache, load: DataLoad) -> Task | None:
        """What keeps nothing cannot be warmed."""
        return None

    def clean(self, cache: Cache) -> Task:
        """Ends a mount whose client could not."""
        return Task(clean_pod(cache.image, unmount=[cache.mount_point]))

    def state(self, cache: Cache, reports: Sequence[Json]) -> CacheState:
        """Nothing is kept between reads."""
        return CacheState(cached=0)

    def migrate(self, cache: Cache, migration: Migration) -> Task | str:
        """By our own program."""
        return migrate_task(cache, migration)

    async def version(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> str | None:
        """Of what can be listed."""
        return await asyncio.to_thread(version, cache, secrets)

    async def measure(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> tuple[int, int] | None:
        """What S3 and the web say; other file systems are opaque."""
        return await asyncio.to_thread(measure, cache, secrets)
