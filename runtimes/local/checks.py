"""What is wrong with a LocalRuntime or its Dataset, and what of them has no effect, by field. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from addon_framework.api.data import DataLoad
from runtimes.interface import Cache, Source, level_paths
from runtimes.local.pods import FILES, NEAR, path, peers, shares
from runtimes.options import unknown_options
from runtimes.pods import CREDENTIALS
from runtimes.source import SCHEMES, hub, s3
from runtimes.tiers import watermarks

_SCHEMES = (*SCHEMES, "pvc")
_OPTIONS = {"s3": s3.OPTIONS, "hf": hub.OPTIONS}
_SECRETS = {"s3": tuple(CREDENTIALS), "hf": ("token",), "http": ("token",), "https": ("token",)}
_ADDRESS = re.compile(r"[\w.-]+:\d{1,5}")
WITHOUT_EFFECT = {"Dataset.spec.mounts.shared": "a copy is of the Dataset alone"}


def problems(cache: Cache) -> list[str]:
    """Sources it can read, options it knows, one directory, and read-only."""
    found, where = [*_tier(cache), *_peers(cache)], f"Dataset {cache.namespace}/{cache.name}: spec"
    if not cache.sources:
        found.append(f"{where}.mounts: at least one is needed")
    if not cache.read_only:
        found.append(f"{where}.accessModes: {cache.title} is a copy, so only ReadOnlyMany is possible")
    for number, source in enumerate(cache.sources):
        found += _source(source, f"{where}.mounts[{number}]")
        known = (_OPTIONS.get(source.scheme, ()), _SECRETS.get(source.scheme, ()))
        found += unknown_options(cache, number, *known)
    return found


def _source(source: Source, where: str) -> Iterator[str]:
    if source.scheme not in _SCHEMES:
        yield f"{where}.mountPoint: {source.url!r} must be one of {', '.join(_SCHEMES)}"
    if source.scheme in FILES and not path(source).startswith("/"):
        yield f"{where}.mountPoint: {source.url!r} must be {source.scheme}:///path"


def _peers(cache: Cache) -> Iterator[str]:
    said = peers(cache)
    for field in ("addresses", "tokenSecret"):
        if said.get(field) and not said.get("enabled", True):
            yield f"{cache.title}: spec.peers.{field}: has no meaning while spec.peers.enabled is false"
    if said.get("addresses") and said.get("enabled", True) and not shares(cache):
        kinds = ", ".join(f"{scheme}://" for scheme in NEAR)
        yield f"{cache.title}: spec.peers.addresses: of {kinds} nodes share only with a tokenSecret"


def givers(load: DataLoad) -> list[str]:
    """Where the caches are reached that a load is to take everything from; none: whoever has it."""
    return [each.strip() for each in load.spec.options.get("from", "").split(",") if each.strip()]


def from_problems(cache: Cache, load: DataLoad) -> Iterator[str]:
    """What is wrong with them."""
    for address in givers(load):
        if not _ADDRESS.fullmatch(address):
            yield f"spec.options.from: {address!r} must be host:port"
    if load.spec.options.get("from") and not shares(cache):
        yield f"spec.options.from: the nodes of {cache.title} share nothing (spec.peers)"


def _tier(cache: Cache) -> list[str]:
    field = f"{cache.title}: spec.tieredstore"
    levels = (cache.spec.get("tieredstore") or {}).get("levels") or []
    if len(levels) > 1:
        return [f"{field}.levels: one level is possible, there are {len(levels)}"]
    for level in levels:
        found = level_paths(level)
        if len(found) > 1 or not found[0].startswith("/") or ".." in found[0].split("/"):
            return [f"{field}.levels[0].path: {level['path']!r} must be one absolute path"]
        if level.get("volumeType", "hostPath") != "hostPath" or level.get("volumeSource"):
            wrong = "volumeSource" if level.get("volumeSource") else "volumeType"
            return [f"{field}.levels[0].{wrong}: must be hostPath, since other pods mount the directory"]
        try:
            watermarks("levels[0]", level)
        except ValueError as error:
            return [f"{field}.{error}"]
        for name in ("high", "low"):
            if level.get(name) and not (level.get("quota") or level.get("quotaList")):
                return [f"{field}.levels[0].{name}: is a part of the quota, which is not given"]
    try:
        if cache.quota is not None and cache.quota <= 0:
            return [f"{field}.levels[0].quota: must be more than 0"]
    except ValueError as error:
        return [f"{field}.levels[0].quota: {error}"]
    return []
