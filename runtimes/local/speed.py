"""How fast a cache can be read, beside its source: a cache that is slower is of no use, and is told of."""

from __future__ import annotations

from pathlib import Path

from runtimes.local.order import Item
from runtimes.speed import SMALLEST, of_file, of_source

_CLEAR = 1.5  # times as fast as the load was: then the source need not be asked again


def speeds(data: Path, items: list[Item], rate: int) -> dict[str, object] | None:
    """Bytes a second of the cache and of the source for the largest file, read from the start.

    `rate` is what the load reached: the source is asked again only where the cache does not clearly beat
    it, since the load may have waited for the disk. None where all files are small. Raises OSError.
    """
    item = max(items, key=lambda each: each.object.size)
    if item.object.size < SMALLEST:
        return None
    cache = of_file(data / item.path)
    source = rate if cache > _CLEAR * rate else max(rate, of_source(item.source, item.object))
    return {"cache": cache, "source": source, "file": item.path}
