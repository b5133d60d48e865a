"""How much data a Dataset has and whether it changed, by listing its sources."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from runtimes.interface import Cache, SecretKey, Source
from runtimes.pods import credentials_of
from runtimes.source import Object, ObjectSource, SourceError, open_source


def measure(cache: Cache, secrets: Mapping[SecretKey, str]) -> tuple[int, int]:
    """Bytes and files. Raises OSError, too where there is nothing to read and nobody could write."""
    size = files = 0
    for source in cache.sources:
        before = files
        for obj in _opened(source, secrets).objects():
            size += obj.size
            files += 1
        if files == before:
            _refuse_nothing(cache, source)
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
        if next(iter(_opened(source, secrets).objects()), None) is None:
            _refuse_nothing(cache, source)


def _objects(cache: Cache, secrets: Mapping[SecretKey, str]) -> Iterator[tuple[str, Object]]:
    for source in cache.sources:
        for obj in _opened(source, secrets).objects():
            yield source.path, obj


def _opened(source: Source, secrets: Mapping[SecretKey, str]) -> ObjectSource:
    return open_source(source.url, source.options, credentials_of(source, secrets))


def _refuse_nothing(cache: Cache, source: Source) -> None:
    """A path of a bucket that is not there lists like one that is empty."""
    if cache.read_only:
        raise SourceError(f"{source.url}: there is nothing there")
