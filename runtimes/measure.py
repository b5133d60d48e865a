"""How much data a Dataset has and whether it changed, by listing its sources."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from runtimes.interface import Cache, SecretKey
from runtimes.pods import credentials_of
from runtimes.source import Object, open_source


def measure(cache: Cache, secrets: Mapping[SecretKey, str]) -> tuple[int, int]:
    """Bytes and files. Raises OSError."""
    size = files = 0
    for _, obj in _objects(cache, secrets):
        size += obj.size
        files += 1
    return size, files


def version(cache: Cache, secrets: Mapping[SecretKey, str]) -> str:
    """A hash of all names and versions. Raises OSError."""
    digest = 0
    for path, obj in _objects(cache, secrets):  # in any order
        one = hashlib.sha256(repr((path, obj.path, obj.size, obj.etag)).encode()).digest()[:8]
        digest = (digest + int.from_bytes(one, "big")) % (1 << 64)
    return f"{digest:016x}"


def look(cache: Cache, secrets: Mapping[SecretKey, str]) -> None:
    """Whether each source can still be read, by the beginning of its list. Raises OSError."""
    for source in cache.sources:
        opened = open_source(source.url, source.options, credentials_of(source, secrets))
        next(iter(opened.objects()), None)


def _objects(cache: Cache, secrets: Mapping[SecretKey, str]) -> Iterator[tuple[str, Object]]:
    for source in cache.sources:
        opened = open_source(source.url, source.options, credentials_of(source, secrets))
        for obj in opened.objects():
            yield source.path, obj
