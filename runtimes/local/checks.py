"""What is wrong with a LocalRuntime or its Dataset, and what of them has no effect, by field. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from addon_framework.api.data import DataLoad
from runtimes.interface import Cache, Source, level_paths
from runtimes.local.pods import FILES, NEAR, path, peers, shares
from runtimes.options import field_of, unknown_options
from runtimes.pods import credential_names
from runtimes.schemes import DRIVEN, LOCAL, elsewhere
from runtimes.source import SCHEMES, SourceError, drivers, hub, web
from runtimes.source.connections import trusting
from runtimes.source.stores import AUTHORITY, KEY, SECRET, STORES, option_names, place
from runtimes.tiers import watermarks

_TOKENS = {"hf": hub.OPTIONS, "http": web.OPTIONS, "https": web.OPTIONS}  # schemes that know a token
_BELONGS_IN_SECRETS = re.compile(
    r".*(passw|passphrase|secret|token|connection_string|account_key|sas_|pkey).*"
)
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
        found += _source(cache, number, source, f"{where}.mounts[{number}]")
    return found


def _source(cache: Cache, number: int, source: Source, where: str) -> Iterator[str]:
    """Each scheme has options of its own; those of fsspec's drivers are their arguments."""
    if source.scheme in STORES:
        account = credential_names(source.scheme)
        if shown := [name for name in source.options if name in account]:
            yield from _open_secrets(cache, number, shown)
        else:
            yield from unknown_options(cache, number, option_names(source.scheme), (*account, AUTHORITY))
        yield from _halves(cache, number, account)
        yield from _failing(where, lambda: place(source.url, source.options))
        yield from _authority(cache, number, source)
    elif source.scheme in _TOKENS:
        yield from unknown_options(cache, number, _TOKENS[source.scheme], ("token", AUTHORITY))
        yield from _authority(cache, number, source)
    elif source.scheme in NEAR:
        yield from unknown_options(cache, number)
        if source.scheme in FILES and not path(source).startswith("/"):
            yield f"{where}.mountPoint: {source.url!r} must be {source.scheme}:///path"
    else:
        yield from _driven(cache, number, source, where)


def _open_secrets(cache: Cache, number: int, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield f"{field_of(cache, number, name)}.{name}: is a secret; write it into encryptOptions"


def _halves(cache: Cache, number: int, account: Mapping[str, str]) -> Iterator[str]:
    """Of keys that are half an account the store would say that a signature is wrong."""
    said = {account[name]: name for name in cache.sources[number].secrets if name in account}
    for part, other in ((KEY, SECRET), (SECRET, KEY)):
        if part in said and other not in said:
            names = ", ".join(name for name, each in account.items() if each == other)
            where = field_of(cache, number, said[part], secret=True)
            yield f"{where}: has {said[part]}, and nothing that belongs to it; one of {names}"


def _authority(cache: Cache, number: int, source: Source) -> Iterator[str]:
    if said := source.options.get(AUTHORITY):
        yield from _failing(field_of(cache, number, AUTHORITY), lambda: trusting(said))


def _failing(where: str, attempt: Callable[[], object]) -> Iterator[str]:
    """What a source itself would say."""
    try:
        attempt()
    except SourceError as error:
        yield f"{where}: {error}"


def _driven(cache: Cache, number: int, source: Source, where: str) -> Iterator[str]:
    """A source that is read by a driver of fsspec. Without an image it will be read elsewhere, by another."""
    if "://" not in source.url:
        yield f"{where}.mountPoint: {source.url!r} must be a URL, such as s3://bucket/prefix"
        return
    if wrong := drivers.problem(source.scheme, here=bool(cache.image)):
        known = ", ".join((*SCHEMES, "pvc", *DRIVEN))
        yield (
            f"{where}.mountPoint: {source.url!r} must be one of {known}: {wrong}"
            f"{elsewhere(source.scheme, LOCAL)}"
        )
        return
    if urlsplit(source.url).password:
        yield f"{where}.mountPoint: has a password; write it into encryptOptions"
    named = [name for name in source.options if _BELONGS_IN_SECRETS.fullmatch(name)]
    yield from _open_secrets(cache, number, named)
    if (names := drivers.arguments(source.scheme)) is not None:
        yield from unknown_options(cache, number, names, names)


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
    listing = load.spec.options.get("listing")
    if listing not in (None, "source", "cache"):
        yield f"spec.options.listing: {listing!r} must be source or cache"
    if listing == "cache" and not givers(load):
        yield "spec.options.listing: cache is one that spec.options.from names"
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
