"""The tiered store of a component: directories of its first container. Pure.

A path of the node gets a directory of the cache's own below it, so that cleaning removes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from runtimes.cacheclass.parts import Part
from runtimes.pods import host_path, mount

_MEDIA = ("processMemory", "emptyDir", "hostPath")
_ROOT = "/etc/fluid/mount/tiered-store"
_TYPES = ("", "Directory", "DirectoryOrCreate")


@dataclass(frozen=True)
class Tier:
    """One level. `memory` is what its files take of the container's, in bytes."""

    configuration: Json
    volumes: tuple[Json, ...]
    mounts: tuple[Json, ...]
    memory: int = 0
    directories: tuple[str, ...] = ()  # of the node


def tiers(part: Part) -> list[Tier]:
    """The levels. Only of what `tier_problems` accepts."""
    return [_tier(part, number, level) for number, level in enumerate(part.levels)]


def tier_problems(part: Part) -> list[str]:
    """What is wrong with them."""
    found, levels = [], part.levels
    for number, level in enumerate(levels):
        where = f"{part.field}.tieredStore.levels[{number}]"
        found += [f"{where}{problem}" for problem in _problems(level)]
    if sum("processMemory" in level for level in levels) > 1:
        found.append(f"{part.field}.tieredStore.levels: two are processMemory; memory is one level")
    paths = [path.rstrip("/") for level in levels for path in (level.get("hostPath") or {}).get("paths", [])]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    return [*found, *(f"{part.field}.tieredStore.levels: path {path} is there twice" for path in twice)]


def _problems(level: Json) -> Iterator[str]:
    media = [name for name in _MEDIA if level.get(name) is not None]
    if len(media) != 1:
        yield f": it has {' and '.join(media) or 'no medium'}; give one of {', '.join(_MEDIA)}"
        return
    said = level[media[0]]
    quotas = said.get("quotas") or [] if media[0] == "hostPath" else [said.get("quota")]
    for quota in quotas:
        try:
            fits = parse_quantity(str(quota)) > 0
        except ValueError:
            fits = False
        if not fits:
            field = "quotas" if media[0] == "hostPath" else "quota"
            yield f".{media[0]}.{field}: {quota!r} must be a quantity above 0"
    if media[0] == "hostPath":
        paths = said.get("paths") or []
        if len(paths) != len(quotas) or not paths:
            yield f".hostPath: {len(paths)} paths and {len(quotas)} quotas; each path needs one"
        yield from (f".hostPath.paths: {p!r} is not an absolute path" for p in paths if not p.startswith("/"))
        if said.get("type", "") not in _TYPES:
            yield f".hostPath.type: {said['type']} is no directory; {' or '.join(_TYPES[1:])} is"
    if said.get("medium", "") not in ("", "Memory"):
        yield f".emptyDir.medium: {said['medium']!r} must be Memory or empty"
    for name in ("high", "low"):
        try:
            ratio = float(level.get(name) or 0)
        except ValueError:
            ratio = -1
        if not 0 <= ratio <= 1:
            yield f".{name}: {level[name]!r} is not a number between 0 and 1"


def _tier(part: Part, number: int, level: Json) -> Tier:
    common = {name: level[name] for name in ("high", "low") if level.get(name)}
    if (said := level.get("hostPath")) is not None:
        return _on_node(part, number, said, common)
    said = level.get("processMemory")
    name, path = f"tiered-store-level-{number}-memory", "/dev/shm"
    if said is None:
        said = level["emptyDir"]
        name, path = f"tiered-store-level-{number}-index-0", f"{_ROOT}/level-{number}-index-0-emptydir"
    in_memory = "processMemory" in level or said.get("medium") == "Memory"
    quota = str(said["quota"])
    empty: Json = {"sizeLimit": quota, **({"medium": "Memory"} if in_memory else {})}
    return Tier(
        {"mountPaths": [path], "mediumType": "MEM" if in_memory else "HDD", "quotas": [quota], **common},
        ({"name": name, "emptyDir": empty},),
        (mount(name, path),),
        memory=int(parse_quantity(quota)) if in_memory else 0,
    )


def _on_node(part: Part, number: int, said: Json, common: Json) -> Tier:
    cache = part.cache
    own = f"{cache.namespace}/{cache.name}/{part.role}"
    volumes, mounts, directories = [], [], []
    for index, path in enumerate(said["paths"]):
        name = f"tiered-store-level-{number}-index-{index}"
        volumes.append(host_path(name, path, said.get("type") or "DirectoryOrCreate"))
        where = f"{_ROOT}/level-{number}-index-{index}-hostpath"
        mounts.append({**mount(name, where), "subPath": own})
        directories.append(f"{path.rstrip('/')}/{cache.namespace}/{cache.name}")
    configuration = {
        "mountPaths": [made["mountPath"] for made in mounts],
        "mediumType": "HDD",
        "quotas": [str(quota) for quota in said["quotas"]],
        **common,
    }
    return Tier(configuration, tuple(volumes), tuple(mounts), directories=tuple(directories))
