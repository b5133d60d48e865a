"""What reportSummary prints. Pure."""

from __future__ import annotations

import json
from typing import Any

from runtimes.interface import CacheState
from runtimes.summaries import sizes


def state(output: str) -> CacheState:
    """Of {"cached": "1.5GiB", "cacheCapacity": "2GiB", "cacheHitRatio": "12.3%"}; a number is in bytes.

    Its cachedPercentage is not read: we know better how much the source has.
    """
    try:
        said = json.loads(output)
    except ValueError:
        return CacheState()
    if not isinstance(said, dict):
        return CacheState()
    return CacheState(
        cached=_bytes(said.get("cached")),
        capacity=_bytes(said.get("cacheCapacity")),
        hit_ratio=_ratio(said.get("cacheHitRatio")),
    )


def _bytes(said: Any) -> int | None:
    if isinstance(said, int | float):
        return round(said)
    return sizes(f"said: {said}", ("said",)).get("said") if said else None


def _ratio(said: Any) -> float | None:
    """12.3% or 0.123."""
    try:
        ratio = float(str(said).rstrip("%")) / (100 if str(said).endswith("%") else 1)
    except ValueError:
        return None
    return ratio if 0 <= ratio <= 1 else None
