"""runtime.json, which tells a cache's containers what to be. Pure.

https://github.com/fluid-cloudnative/fluid/blob/master/docs/en/dev/generic_cache_runtime_integration.md
"""

from __future__ import annotations

import json

from addon_framework.api.meta import Json
from runtimes.cacheclass.parts import Part, parts
from runtimes.cacheclass.tiers import tiers
from runtimes.interface import Cache
from runtimes.workloads import SECRETS

DIRECTORY, FILE = "/etc/fluid/config", "runtime.json"
PATH = f"{DIRECTORY}/{FILE}"


def config_map(cache: Cache) -> str:
    """Its name."""
    return f"fluid-runtime-config-{cache.name}"


def configuration(cache: Cache) -> str:
    """What changes with it reaches containers that run; they read it when they want to."""
    modes = cache.dataset.spec.access_modes or ["ReadOnlyMany"]
    made: Json = {"mounts": mounts(cache), "accessModes": modes, "targetPath": cache.mount_point}
    made |= {role: _part(part) for role, part in parts(cache).items()}
    return json.dumps(made, sort_keys=True)


def mounts(cache: Cache) -> list[Json]:
    """The sources; of a secret option there is the file with its value."""
    return [
        {
            "mountPoint": source.url,
            "name": source.name,
            "path": source.path,
            "readOnly": source.read_only,
            "shared": source.shared,
            "options": dict(source.options),
            "encryptOptions": {
                name: f"{SECRETS}/{key.name}/{key.key}" for name, key in source.secrets.items()
            },
        }
        for source in cache.sources
    ]


def _part(part: Part) -> Json:
    made: Json = {"enabled": True, "name": part.name, "options": part.options}
    if part.role != "client":
        made["replicas"] = part.replicas
    if part.service:
        made["service"] = {"name": part.service}
    if part.levels:
        made["tieredStoreLevels"] = [tier.configuration for tier in tiers(part)]
    return made
