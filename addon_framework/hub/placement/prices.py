"""What a GPU hour and a gigabyte that leaves cost on a cluster, and the scores these prices make. Pure.

Prices come from the price book (a ConfigMap on the hub) and from ClusterClaims; see
docs/cost-aware-placement.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from addon_framework.api.meta import Json
from addon_framework.hub.selectors import claims_of

BOOK_KEY = "prices.yaml"
REGION_CLAIM = "region.open-cluster-management.io"
CLAIMS = {
    "gpuHour": "gpuhour.cost.boundaryless.io",
    "egressGB": "egressgb.cost.boundaryless.io",
    "spot": "spot.cost.boundaryless.io",
}
_ENTRY = ("gpuHour", "spotGpuHour", "egressGB", "spot")
_SCALE = {"gpuHour": 10.0, "egressGB": 0.2}  # what costs this much or more scores -100


class BadPrice(ValueError):
    """A price that is none; the message names the field."""


@dataclass(frozen=True)
class Book:
    """The price book, checked."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    regions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    clusters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scale: Mapping[str, float] = field(default_factory=lambda: dict(_SCALE))


@dataclass(frozen=True)
class Prices:
    """A cluster's prices, None where nobody says; and who said it."""

    gpu_hour: float | None
    egress_gb: float | None
    spot: bool | None
    origin: str

    def scores(self, scale: Mapping[str, float]) -> dict[str, int]:
        """From 100, for nothing, to -100, for what costs as much as the scale or more."""
        found = {}
        for name, price, full in (
            ("gpuHour", self.gpu_hour, scale["gpuHour"]),
            ("egressGB", self.egress_gb, scale["egressGB"]),
        ):
            if price is not None:
                found[name] = max(-100, round(100 - 200 * price / full))
        if self.spot is not None:
            found["spot"] = 100 if self.spot else 0
        return found


def read_book(config_map: Json | None) -> Book:
    """The book that a ConfigMap holds, an empty one where there is none. Raises BadPrice."""
    if config_map is None:
        return Book()
    try:
        raw = yaml.safe_load((config_map.get("data") or {}).get(BOOK_KEY) or "{}")
    except yaml.YAMLError as error:
        raise BadPrice(f"data[{BOOK_KEY}] is not YAML: {error}") from error
    if not isinstance(raw, dict) or (unknown := raw.keys() - {"defaults", "regions", "clusters", "scale"}):
        names = ", ".join(sorted(map(str, unknown))) if isinstance(raw, dict) else "no mapping"
        raise BadPrice(f"data[{BOOK_KEY}]: {names}; it has defaults, regions, clusters, scale")
    scale = {**_SCALE, **{k: _number(v, f"scale.{k}") for k, v in (raw.get("scale") or {}).items()}}
    if bad := [name for name, full in scale.items() if name not in _SCALE or full <= 0]:
        raise BadPrice(f"scale.{bad[0]}: only {', '.join(_SCALE)}, each above 0")
    return Book(
        defaults=_entry(raw.get("defaults"), "defaults"),
        regions=_entries(raw.get("regions"), "regions"),
        clusters=_entries(raw.get("clusters"), "clusters"),
        scale=scale,
    )


def prices_of(cluster: Json, book: Book) -> Prices | None:
    """The prices of one cluster: its entry in the book, else its claims, its region's entry, the defaults.

    None where nobody says anything of it. Raises BadPrice when a claim is no price.
    """
    claims, name = claims_of(cluster), cluster["metadata"]["name"]
    region = claims.get(REGION_CLAIM, "")
    sources = {
        "the price book's cluster": book.clusters.get(name, {}),
        "claims": _claimed(claims),
        f"the price book's region {region}": book.regions.get(region, {}),
        "the price book's defaults": book.defaults,
    }
    merged: dict[str, Any] = {}
    for source in reversed(list(sources.values())):
        merged |= source
    if not merged:
        return None
    spot = merged.get("spot")
    gpu_hour = merged.get("gpuHour")
    if spot and "spotGpuHour" in merged:
        gpu_hour = merged["spotGpuHour"]
    origin = ", ".join(where for where, source in sources.items() if source)
    return Prices(gpu_hour, merged.get("egressGB"), spot, origin)


def _claimed(claims: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, claim in CLAIMS.items():
        if claim not in claims:
            continue
        text = claims[claim]
        if name != "spot":
            found[name] = _number(text, f"ClusterClaim {claim}")
        elif text in ("true", "false"):
            found[name] = text == "true"
        else:
            raise BadPrice(f'ClusterClaim {claim}: "{text}" is not true or false')
    return found


def _entries(raw: Any, where: str) -> dict[str, Mapping[str, Any]]:
    if not isinstance(raw or {}, dict):
        raise BadPrice(f"{where}: must map names to prices")
    return {str(name): _entry(entry, f"{where}.{name}") for name, entry in (raw or {}).items()}


def _entry(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw or {}, dict) or (unknown := (raw or {}).keys() - set(_ENTRY)):
        names = ", ".join(sorted(map(str, unknown))) if isinstance(raw, dict) else "no mapping"
        raise BadPrice(f"{where}: {names}; it has {', '.join(_ENTRY)}")
    entry = dict(raw or {})
    if not isinstance(entry.get("spot", False), bool):
        raise BadPrice(f"{where}.spot: must be true or false")
    return {k: v if k == "spot" else _number(v, f"{where}.{k}") for k, v in entry.items()}


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or isinstance(value, bool):
        raise BadPrice(f"{where}: {value!r} is not a price such as 2.5")
    return number
