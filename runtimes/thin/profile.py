"""A user's ThinRuntimeProfile, by Fluid's contract with the image. Pure.

The container gets MOUNT_POINT, MOUNT_OPTIONS and /etc/fluid/config/config.json, mounts at `targetPath` and
stays in the foreground. Secret options appear in the configuration as paths of files.
https://github.com/fluid-cloudnative/fluid/blob/master/docs/en/samples/thinruntime.md
"""

from __future__ import annotations

import json

from addon_framework.api.meta import Json
from runtimes.interface import Cache
from runtimes.pods import host_path, literal, mount
from runtimes.thin.pods import cache_directory, client, effective, profile_spec
from runtimes.thin.s3fs import joined

_CONFIG, _SECRETS = "/etc/fluid/config", "/etc/fluid/secrets"
HOST_VOLUME = "fluid.fuse.hostvolume"  # option of a mount: /directory/of/the/node[:/where/the/client/sees/it]


def config_map(cache: Cache) -> str:
    """Its name."""
    return f"{cache.name}-fuse-conf"


def configuration(cache: Cache) -> str:
    """config.json."""
    mounts = [
        {
            "mountPoint": source.url,
            "name": source.name,
            "path": source.path,
            "readOnly": source.read_only,
            "shared": source.shared,
            "options": {
                **source.options,
                **{name: f"{_SECRETS}/{key.name}/{key.key}" for name, key in source.secrets.items()},
            },
        }
        for source in cache.sources
    ]
    said = {
        "mounts": mounts,
        "targetPath": cache.mount_point,
        "accessModes": cache.dataset.spec.access_modes or ["ReadOnlyMany"],
        "runtimeOptions": (cache.spec.get("fuse") or {}).get("options") or {},
    }
    return json.dumps(said, sort_keys=True)


def host_volumes(cache: Cache) -> list[tuple[str, str]]:
    """Directories of the node that mounts ask for, and where. Raises ValueError."""
    found = []
    for source in cache.sources:
        if said := source.options.get(HOST_VOLUME):
            path, _, where = said.partition(":")
            if not path.startswith("/") or (where and not where.startswith("/")) or ":" in where:
                raise ValueError(f"{said!r} must be /directory or /directory:/where")
            found.append((path, where or path))
    return found


def pod(cache: Cache) -> Json:
    """The client."""
    fuse = effective(cache, "fuse")
    options = {**({"ro": ""} if cache.read_only else {}), **fuse["options"]}
    secrets = sorted({key.name for source in cache.sources for key in source.secrets.values()})
    volumes, mounts = cache_directory(cache)
    volumes += [
        {"name": "fuse-conf", "configMap": {"name": config_map(cache)}},
        *({"name": f"secret-{n}", "secret": {"secretName": name}} for n, name in enumerate(secrets)),
    ]
    mounts += [
        mount("fuse-conf", _CONFIG, read_only=True),
        *(mount(f"secret-{n}", f"{_SECRETS}/{name}", read_only=True) for n, name in enumerate(secrets)),
    ]
    for number, (path, where) in enumerate(host_volumes(cache)):
        volumes.append(host_path(f"host-{number}", path, ""))
        mounts.append(mount(f"host-{number}", where, read_only=cache.read_only))
    return client(
        cache,
        fuse,
        command=fuse.get("command") or [],
        args=fuse.get("args") or [],
        env=[literal("MOUNT_OPTIONS", joined(options))],
        volumes=volumes,
        mounts=mounts,
        kind=file_system(cache),
    )


def file_system(cache: Cache) -> str:
    """Its type, as /proc/mounts has it."""
    return str(profile_spec(cache).get("fileSystemType") or "fuse")
