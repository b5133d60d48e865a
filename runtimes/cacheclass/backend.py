"""The description of the `cache` backend."""

from __future__ import annotations

import json
from collections.abc import Mapping

from addon_framework.api.data import CacheRuntime, CacheRuntimeClass, DataLoad
from addon_framework.api.meta import Json
from runtimes.cacheclass import pods, summary
from runtimes.cacheclass.checks import of_class, problems
from runtimes.cacheclass.configuration import FILE, config_map, configuration
from runtimes.cacheclass.contract import command, operation_of, refused
from runtimes.cacheclass.parts import Part, parts
from runtimes.cacheclass.tiers import tiers
from runtimes.fuse import ClientBackend
from runtimes.interface import (
    Backup,
    Cache,
    CacheState,
    Component,
    Exec,
    Migration,
    Profile,
    Service,
    Task,
)
from runtimes.loading import option_problems
from runtimes.migrate import migrate_task
from runtimes.sources import SourceBackend
from runtimes.workloads import NATIVE, configured


class ClassBackend(ClientBackend, SourceBackend):
    """Pods, commands and operations are those of the CacheRuntimeClass that the runtime names."""

    type = "cache"
    resource = CacheRuntime.RESOURCE
    profile = Profile(CacheRuntimeClass.RESOURCE, "runtimeClassName")
    status_of_parts = True

    def validate(self, cache: Cache) -> list[str]:
        """Of the class too, since nobody else looks at it."""
        return problems(cache)

    def profile_problems(self, profile: Json) -> list[str]:
        """What a class is to say for itself."""
        return of_class(profile)

    def without_effect(self, cache: Cache) -> Mapping[str, str]:
        """What the contract has no word for."""
        return {"Dataset.spec.owner": "only the class's programs know whose its files are; see spec.options"}

    def components(self, cache: Cache) -> list[Component]:
        """As many as the class has."""
        found = [part for part in parts(cache).values() if part.runs]
        shared = {config_map(cache): {FILE: configuration(cache)}, **pods.config_maps(cache)}
        return [_component(part, shared if part is found[0] else {}) for part in found]

    def shown(self, cache: Cache) -> None:
        """Only the class's programs know what they show where."""

    def prepare(self, cache: Cache) -> Exec | None:
        """mountUFS."""
        return command(cache, "mountUFS", pods.inputs(cache))

    def prepared(self, cache: Cache, output: str) -> str:
        """Once the program has read the newest configuration, what it mounted is what the Dataset has."""
        wanted = {source.path for source in cache.sources if source.scheme not in NATIVE}
        try:
            mounted = set(json.loads(output)["mounted"] or ())
        except (ValueError, KeyError, TypeError):
            return f'mountUFS printed {output.strip()[:200]!r} instead of {{"mounted": ["/path"]}}'
        missing, other = sorted(wanted - mounted), sorted(mounted - wanted)
        return "; ".join(
            f"mountUFS says that {', '.join(paths)} {what}"
            for paths, what in ((missing, "is not mounted yet"), (other, "is still mounted"))
            if paths
        )

    def summary(self, cache: Cache) -> Exec | None:
        """reportSummary."""
        return command(cache, "reportSummary")

    def summarize(self, cache: Cache, output: str) -> CacheState:
        """JSON."""
        return summary.state(output)

    def warm(self, cache: Cache, load: DataLoad) -> Task | None:
        """Once, since the cache is shared; as soon as a client is ready, since by then it answers."""
        _, operation = operation_of(cache, "DataLoad")
        if operation is None:
            return None
        return Task(pods.load(cache, operation, load), after="client", once=True)

    def load_problems(self, cache: Cache, load: DataLoad) -> list[str]:
        """The contract has no place for options."""
        return option_problems(load, ())

    def directories(self, cache: Cache) -> list[str]:
        """Of the tiers; the class may be gone."""
        sections = [Part(cache, role, {}, cache.spec.get(role) or {}) for role in ("worker", "client")]
        named = [path for part in sections for tier in tiers(part) for path in tier.directories]
        return list(dict.fromkeys(named))

    def scale(self, cache: Cache) -> int | None:
        """Its workers."""
        worker = parts(cache).get("worker")
        return worker.replicas or None if worker else None

    def migrate(self, cache: Cache, migration: Migration) -> Task | str:
        """By our own program; Fluid has no contract for one of the class's."""
        return refused(cache, "DataMigrate", "our own program migrates") or migrate_task(cache, migration)

    def backup(self, cache: Cache, backup: Backup) -> Task | str | None:
        """There is no contract for it."""
        return refused(cache, "DataBackup", "there is nothing to back up") or None


def _component(part: Part, config: Mapping[str, Mapping[str, str]]) -> Component:
    own = {"cacheruntime.fluid.io/name": part.cache.name, "cacheruntime.fluid.io/component-name": part.name}
    return Component(
        part.role,
        pods.pod(part),
        None if part.role == "client" else part.replicas,
        config_maps=config,
        services=(Service(part.service, labels=own, governing=True),) if part.service else (),
        name=part.name,
        labels={**pods.metadata(part, "labels"), **own},
        # What its program makes of runtime.json when it starts; mounts may change later.
        annotations={
            **pods.metadata(part, "annotations"),
            **configured([part.options, [tier.configuration for tier in tiers(part)]]),
        },
    )
