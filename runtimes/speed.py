"""How fast data can be read, from a file and from its source: the same bounded sample, by as many readers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runtimes.source import Object, ObjectSource

SAMPLE = 64 << 20  # bytes
SMALLEST = SAMPLE // 8  # of less, nothing can be said
_SECONDS = 10.0  # after which a sample is large enough
_RANGE, _THREADS, _PIECE = 4 << 20, 8, 1 << 20
_MARGIN = 0.8  # of the source's rate: two samples of the same thing may differ by so much


def is_slower(cache: int, source: int) -> bool:
    """Whether a cache is slower than its source, and not only by chance."""
    return cache < _MARGIN * source


def of_file(path: Path, start: int = 0) -> int:
    """Bytes a second; not from memory, as far as we can choose. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)

    def read(at: int, until: int, enough: Callable[[], bool]) -> int:
        buffer, count = memoryview(bytearray(_PIECE)), 0
        while at + count < until and not enough():
            if not (got := os.preadv(descriptor, [buffer[: until - at - count]], at + count)):
                break
            count += got
        return count

    try:
        # No more than is read again: an engine is about to find the rest in memory.
        os.posix_fadvise(descriptor, start, SAMPLE, os.POSIX_FADV_DONTNEED)
        return _sample(read, start, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def of_source(source: ObjectSource, obj: Object, start: int = 0) -> int:
    """Bytes a second. Raises SourceError."""

    def read(at: int, until: int, enough: Callable[[], bool]) -> int:
        if enough():
            return 0
        source.read(obj, at, until, lambda data: None)
        return until - at

    return _sample(read, start, obj.size)


def _sample(read: Callable[[int, int, Callable[[], bool]], int], start: int, end: int) -> int:
    """Several ranges at once, as loads read and engines' threads do."""
    end, began = min(start + SAMPLE, end), time.monotonic()

    def enough() -> bool:
        return time.monotonic() - began >= _SECONDS

    with ThreadPoolExecutor(_THREADS) as pool:
        starts = range(start, end, _RANGE)
        count = sum(pool.map(lambda at: read(at, min(at + _RANGE, end), enough), starts))
    return round(count / max(time.monotonic() - began, 1e-6))
