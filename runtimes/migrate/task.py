"""The pod that migrates. Pure."""

from __future__ import annotations

import json

from addon_framework.api.meta import Json
from runtimes.interface import Cache, Migration, Source, Task, unknown
from runtimes.pods import claim, credential_env, literal, options_of
from runtimes.schemes import DRIVEN
from runtimes.source import SCHEMES, drivers
from runtimes.source.stores import OPTIONS, STORES

_OPTIONS = ("include", "exclude", "threads")
_WRITTEN = (*STORES, "pvc")
_READ = (*(scheme for scheme in SCHEMES if scheme not in ("file", "local")), "pvc")


def migrate_task(cache: Cache, migration: Migration) -> Task | str:
    """What the program needs, or what is wrong."""
    for source in migration.sources:
        if source.scheme not in _READ and (wrong := _driven(source, here=bool(cache.image))):
            return f"from: {source.url!r} must be one of {', '.join((*_READ, *DRIVEN))}: {wrong}"
    if migration.target.scheme not in _WRITTEN:
        return f"to: {migration.target.url!r} must be one of {', '.join(_WRITTEN)}"
    if names := unknown(_OPTIONS, migration.options):
        known = ", ".join((*_OPTIONS, *OPTIONS))
        return f"options: unknown {', '.join(names)}; known: {known}"
    threads = migration.options.get("threads", "8")
    if not threads.isdigit() or not 0 < int(threads) <= 256:
        return f"options.threads: {threads!r} must be a number from 1 to 256"
    volumes: list[Json] = []
    mounts: list[Json] = []
    env: list[Json] = []
    for number, source in enumerate(migration.sources):
        env += credential_env(source, f"SOURCE{number}_")
    env += credential_env(migration.target, "TARGET_")
    specification = {
        "sources": [
            {
                "url": _url(s, f"source-{n}", volumes, mounts, read_only=True),
                "path": s.path,
                "options": options_of(s),
            }
            for n, s in enumerate(migration.sources)
        ],
        "targets": [migration.base or "/"],
        "base": migration.base,
        "to": {
            "url": _url(migration.target, "target", volumes, mounts, read_only=False),
            "options": dict(migration.target.options),
            "directory": migration.directory,
        },
        "include": migration.options.get("include", ""),
        "exclude": migration.options.get("exclude", ""),
        "threads": int(threads),
    }
    container: Json = {
        "name": "migrate",
        "image": cache.image,
        "command": ["python", "-m", "runtimes.migrate.program"],
        "env": [literal("MIGRATION", json.dumps(specification, sort_keys=True)), *env],
        "volumeMounts": mounts,
    }
    return Task({"containers": [container], "volumes": volumes})


def _driven(source: Source, *, here: bool) -> str:
    """What is wrong with a source that is read by a driver."""
    if source.scheme in SCHEMES:
        return "it would be a directory of whatever node the pod runs on"
    return drivers.problem(source.scheme, here=here)


def _url(source: Source, name: str, volumes: list[Json], mounts: list[Json], *, read_only: bool) -> str:
    """A claim becomes a directory of the pod."""
    if source.scheme != "pvc":
        return source.url
    volume, made, path = claim(source, name, read_only=read_only)
    volumes.append(volume)
    mounts.append(made)
    return path
