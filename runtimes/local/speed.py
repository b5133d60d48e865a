"""How fast a cache can be read, beside its source: a cache that is slower is of no use, and is told of."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runtimes.local.transfer import Item

SAMPLE = 64 << 20  # bytes
_RANGE, _THREADS = 4 << 20, 8
_CLEAR = 1.5  # times as fast as the load was: then the source need not be asked again


def speeds(data: Path, items: list[Item], rate: int) -> dict[str, object] | None:
    """Bytes a second of the cache and of the source for the largest file, read from the start.

    `rate` is what the load reached: the source is asked again only where the cache does not clearly beat
    it, since the load may have waited for the disk. None where all files are small. Raises OSError.
    """
    item = max(items, key=lambda each: each.object.size)
    if item.object.size < SAMPLE // 8:
        return None
    cache = _cache(data / item.path)
    source = rate if cache > _CLEAR * rate else max(rate, _source(item))
    return {"cache": cache, "source": source, "file": item.path}


def _cache(path: Path) -> int:
    """From the disk, not from memory, as far as the kernel lets us choose."""
    descriptor, count, buffer = os.open(path, os.O_RDONLY), 0, bytearray(1 << 20)
    try:
        # No more than is read again: an engine is about to find the rest in memory.
        os.posix_fadvise(descriptor, 0, SAMPLE, os.POSIX_FADV_DONTNEED)
        began = time.monotonic()
        while count < SAMPLE and (got := os.preadv(descriptor, [buffer], count)):
            count += got
        return _rate(count, began)
    finally:
        os.close(descriptor)


def _source(item: Item) -> int:
    """Several ranges at once, as a load reads."""
    end = min(SAMPLE, item.object.size)

    def read(start: int) -> None:
        item.source.read(item.object, start, min(start + _RANGE, end), lambda data: None)

    began = time.monotonic()
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(read, range(0, end, _RANGE)))
    return _rate(end, began)


def _rate(count: int, began: float) -> int:
    return round(count / max(time.monotonic() - began, 1e-6))
