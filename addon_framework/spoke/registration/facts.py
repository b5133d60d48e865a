"""What a cluster says of itself on the hub: capacity, claims. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from addon_framework.api.meta import Json
from addon_framework.api.quantity import format_quantity, parse_quantity
from addon_framework.spoke.names import SPOKE_ONLY_LABEL

RESERVED_CLAIMS = (
    "id.k8s.io",
    "kubeversion.open-cluster-management.io",
    "platform.open-cluster-management.io",
    "product.open-cluster-management.io",
)
MAX_CUSTOM_CLAIMS = 20


def resources(nodes: Iterable[Json]) -> tuple[dict[str, str], dict[str, str]]:
    """Capacity and allocatable summed over nodes; what is cordoned is not allocatable."""
    capacity: defaultdict[str, Decimal] = defaultdict(Decimal)
    allocatable: defaultdict[str, Decimal] = defaultdict(Decimal)
    for node in nodes:
        status = node.get("status") or {}
        _add(capacity, status.get("capacity"))
        if not (node.get("spec") or {}).get("unschedulable"):
            _add(allocatable, status.get("allocatable"))
    return _written(capacity), _written(allocatable)


def claims(objects: Iterable[Json]) -> list[Json]:
    """Reserved claims, then the first custom ones by name."""
    values = {
        claim["metadata"]["name"]: str((claim.get("spec") or {}).get("value") or "")
        for claim in objects
        if SPOKE_ONLY_LABEL not in (claim["metadata"].get("labels") or {})
    }
    custom = sorted(name for name in values if name not in RESERVED_CLAIMS)[:MAX_CUSTOM_CLAIMS]
    names = [name for name in RESERVED_CLAIMS if name in values] + custom
    return [{"name": name, "value": values[name]} for name in names if values[name]]


def _add(total: defaultdict[str, Decimal], quantities: Json | None) -> None:
    for name, value in (quantities or {}).items():
        total[name] += parse_quantity(value)


def _written(total: dict[str, Decimal]) -> dict[str, str]:
    """Bytes in powers of two, as nodes write them."""
    binary = ("memory", "ephemeral-storage", "hugepages-")
    return {
        name: format_quantity(value, binary=name.startswith(binary)) for name, value in sorted(total.items())
    }
