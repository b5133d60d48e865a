"""The description of the `thin` backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from addon_framework.api.data import DataLoad, ThinRuntime, ThinRuntimeProfile
from addon_framework.api.meta import Json
from runtimes.fuse import ClientBackend
from runtimes.interface import Cache, CacheState, Component, Missing, Profile, Source, Task
from runtimes.sources import SourceBackend
from runtimes.thin import checks, pods, rclone, s3fs
from runtimes.thin import profile as profiles

BUILT_IN = {"s3fs": s3fs.pod, "rclone": rclone.pod}


class ThinBackend(ClientBackend, SourceBackend):
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
            return checks.of_profile(cache)
        if name in BUILT_IN:
            return checks.of_built_in(cache, name)
        known = " or ".join(BUILT_IN)
        if not name:
            return [f"{cache.title}: spec.profileName: is needed; built in are {known}"]
        return [
            Missing(
                f"{cache.title}: spec.profileName: ThinRuntimeProfile {name} does not exist; create it, "
                f"or use the built-in {known}"
            )
        ]

    def profile_problems(self, profile: Json) -> list[str]:
        """What a profile is to say for itself."""
        return checks.alone(profile)

    def without_effect(self, cache: Cache) -> Mapping[str, str]:
        """What clients are not told."""
        return checks.without_effect(cache)

    def components(self, cache: Cache) -> list[Component]:
        """The client, and workers where a profile has them."""
        if cache.profile is None:
            made = BUILT_IN[cache.spec["profileName"]](cache, pods.effective(cache, "fuse"))
            return [Component("client", made)]
        config = {profiles.config_map(cache): {"config.json": profiles.configuration(cache)}}
        client = Component(
            "client",
            profiles.pod(cache),
            config_maps=config,
            labels=pods.metadata(cache, "labels"),
            annotations=pods.metadata(cache, "annotations"),
            kernel="fuse" not in profiles.file_system(cache),
        )
        if not pods.effective(cache, "worker").get("enabled"):
            return [client]
        return [Component("worker", pods.worker(cache), self.scale(cache) or 1), client]

    def shown(self, cache: Cache) -> list[Source] | None:
        """The built-in ones mount their source itself; what a profile's image does is its own affair."""
        return None if cache.profile is not None else [replace(source, path="/") for source in cache.sources]

    def warm(self, cache: Cache, load: DataLoad) -> Task | None:
        """What keeps nothing cannot be warmed."""
        return None

    def state(self, cache: Cache, reports: Sequence[Json]) -> CacheState:
        """Nothing is kept between reads."""
        return CacheState(cached=0)
