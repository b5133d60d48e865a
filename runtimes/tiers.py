"""The tiers of a cache as directories and volumes of its pods. Pure.

A path of the node gets a directory of the cache's own below it, so that cleaning removes nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from runtimes.interface import Cache, level_paths
from runtimes.pods import host_path, mount

MEDIA = ("MEM", "SSD", "HDD")  # fastest first, which is how levels are numbered
_RATIO = "a number between 0 and 1"


@dataclass(frozen=True)
class Tier:
    """One level: directories with a quota in bytes each (0: none), and the pods' volumes for them."""

    medium: str
    paths: tuple[str, ...]
    quotas: tuple[int, ...]
    high: str
    low: str
    volumes: tuple[Json, ...]
    on_node: bool  # whether the directories outlive the pods

    @property
    def mounts(self) -> list[Json]:
        """Each volume at its own path."""
        return [mount(volume["name"], path) for volume, path in zip(self.volumes, self.paths, strict=True)]


def tiers(cache: Cache, *, limited: bool = True) -> list[Tier]:
    """The levels, fastest first; `limited` ones need a quota. Raises ValueError with the field."""
    levels = (cache.spec.get("tieredstore") or {}).get("levels") or []
    numbered = sorted(enumerate(levels), key=lambda pair: MEDIA.index(pair[1]["mediumtype"]))
    return [_tier(cache, n, level, limited) for n, level in numbered]


def tier_problems(cache: Cache, *, limited: bool = True) -> list[str]:
    """What is wrong with them, for `validate`."""
    try:
        found = tiers(cache, limited=limited)
    except ValueError as error:
        return [f"{cache.title}: {error}"]
    media = [tier.medium for tier in found]
    where = f"{cache.title}: spec.tieredstore.levels"
    problems = [f"{where}: two are {m}; give one several paths" for m in MEDIA if media.count(m) > 1]
    paths = [path for tier in found for path in tier.paths]
    problems += [
        f"{where}: path {path} is there twice" for path in sorted({p for p in paths if paths.count(p) > 1})
    ]
    return problems


def node_directories(cache: Cache) -> list[str]:
    """What has to be removed on nodes when the cache ends."""
    return [path for tier in tiers(cache, limited=False) if tier.on_node for path in tier.paths]


def _tier(cache: Cache, number: int, level: Json, limited: bool) -> Tier:
    where = f"spec.tieredstore.levels[{number}]"
    for root in (found := level_paths(level)):
        if not root.startswith("/") or " " in root or ".." in root.split("/"):
            raise ValueError(f"{where}.path: {root!r} is not an absolute path without spaces and ..")
    quotas = _quotas(where, level, len(found), limited)
    watermarks(where, level)
    paths = tuple(f"{root}/{cache.namespace}/{cache.name}" for root in found)
    names = [f"tier-{level['mediumtype'].lower()}-{n}" for n in range(len(found))]
    on_node = (level.get("volumeType") or "hostPath") == "hostPath"
    if on_node and level.get("volumeSource"):
        raise ValueError(f"{where}.volumeSource: is of volumeType emptyDir; a hostPath is its path")
    volumes = [
        host_path(name, path) if on_node else {"name": name, **_pod_volume(where, level, quota)}
        for name, path, quota in zip(names, paths, quotas, strict=True)
    ]
    high, low = str(level.get("high") or ""), str(level.get("low") or "")
    return Tier(level["mediumtype"], paths, quotas, high, low, tuple(volumes), on_node)


def _quotas(where: str, level: Json, count: int, limited: bool) -> tuple[int, ...]:
    """One for each path: the list as it is, or the total in equal parts."""
    try:
        if level.get("quotaList"):
            listed = tuple(int(parse_quantity(part.strip())) for part in str(level["quotaList"]).split(","))
            if len(listed) != count:
                raise ValueError(f"there are {count} paths and {len(listed)} quotas")
            return listed
        if not level.get("quota") and not limited:
            return (0,) * count
        if not level.get("quota"):
            raise ValueError("neither it nor quotaList is given; say how much the cache may hold")
        return (int(parse_quantity(level["quota"])) // count,) * count
    except ValueError as error:
        raise ValueError(f"{where}.{'quotaList' if level.get('quotaList') else 'quota'}: {error}") from None


def watermarks(where: str, level: Json) -> None:
    """Raises ValueError unless those that are given are parts, and the low one is not above the high one."""
    high, low = (_part(f"{where}.{name}", str(level.get(name) or "")) for name in ("high", "low"))
    if high is not None and low is not None and low > high:
        raise ValueError(f"{where}.low: {level['low']} is more than high, {level['high']}")


def _part(field: str, text: str) -> float | None:
    try:
        part = float(text) if text else None
    except ValueError:
        part = -1.0
    if part is not None and not 0 <= part <= 1:
        raise ValueError(f"{field}: {text!r} is not {_RATIO}")
    return part


def _pod_volume(where: str, level: Json, quota: int) -> Json:
    source: Json = level.get("volumeSource") or {}
    if set(source) - {"emptyDir", "ephemeral"}:
        raise ValueError(f"{where}.volumeSource: only emptyDir and ephemeral end with the pod")
    if "ephemeral" in source:
        return source
    given: Json = source.get("emptyDir") or {}
    medium: Json = {"medium": "Memory"} if level["mediumtype"] == "MEM" else {}
    limit = {"sizeLimit": str(quota)} if quota else {}
    return {"emptyDir": {**medium, **limit, **given}}
