"""How fast data can be read, from a file and from where it comes: both a bounded sample."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runtimes.source import Object, ObjectSource

SAMPLE = 64 << 20  # bytes
SMALLEST = SAMPLE // 8  # of less, nothing can be said
_SECONDS = 10.0  # after which a sample is large enough
_RANGE, _THREADS, _PIECE = 4 << 20, 8, 1 << 20


def of_file(path: Path, start: int = 0) -> int:
    """Bytes a second: one reader, in order, as an engine reads; not from memory, as far as we can choose.

    Raises OSError.
    """
    descriptor, count, buffer = os.open(path, os.O_RDONLY), 0, bytearray(_PIECE)
    try:
        # No more than is read again: an engine is about to find the rest in memory.
        os.posix_fadvise(descriptor, start, SAMPLE, os.POSIX_FADV_DONTNEED)
        began = time.monotonic()
        while count < SAMPLE and time.monotonic() - began < _SECONDS:
            if not (got := os.preadv(descriptor, [buffer], start + count)):
                break
            count += got
        return _rate(count, began)
    finally:
        os.close(descriptor)


def of_source(source: ObjectSource, obj: Object, start: int = 0) -> int:
    """Bytes a second: several ranges at once, as a load reads. Raises SourceError."""
    end = min(start + SAMPLE, obj.size)
    began = time.monotonic()

    def read(at: int) -> int:
        if time.monotonic() - began >= _SECONDS:
            return 0
        until = min(at + _RANGE, end)
        source.read(obj, at, until, lambda data: None)
        return until - at

    with ThreadPoolExecutor(_THREADS) as pool:
        return _rate(sum(pool.map(read, range(start, end, _RANGE))), began)


def _rate(count: int, began: float) -> int:
    return round(count / max(time.monotonic() - began, 1e-6))
