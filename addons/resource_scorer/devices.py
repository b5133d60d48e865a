"""Devices of dynamic resource allocation: ResourceSlices say what there is, ResourceClaims what is taken.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from addon_framework.kube.key import Key

GROUP = "resource.k8s.io"
VERSIONS = ("v1", "v1beta2")  # in which a device looks as it does here
_PARTS = ("mig", "vfio")  # what drivers call the parts and other faces of a device that they list too

_Pool = tuple[str, str]  # driver and name
_Device = tuple[str, str, str]  # pool and device


class _Listed(NamedTuple):
    """A ResourceSlice, as far as it counts."""

    pool: _Pool
    generation: int
    node: str  # "" when its devices are reached from several
    devices: Sequence[Json]
    counters: Mapping[tuple[str, str], float]  # of what partitions share, by set and name


class Devices:
    """Free devices by node and driver, kept current event by event."""

    def __init__(self, drivers: Iterable[str]) -> None:
        self._drivers = frozenset(drivers)
        self._slices: dict[str, _Listed] = {}
        self._claims: dict[Key, list[_Device]] = {}
        self._taken: Counter[_Device] = Counter()

    def set_slice(self, name: str, obj: Json | None) -> set[str]:
        """Takes in a ResourceSlice, or that it is gone; the nodes on which this may change what is free."""
        before, after = self._slices.pop(name, None), _listed(obj) if obj is not None else None
        if after is not None and after.pool[0] in self._drivers:
            self._slices[name] = after
        return self._nodes({entry.pool for entry in (before, after) if entry is not None}) | {
            entry.node for entry in (before, after) if entry is not None
        }

    def set_claim(self, key: Key, obj: Json | None) -> set[str]:
        """Takes in a ResourceClaim, or that it is gone; the nodes on which this may change what is free."""
        before, after = self._claims.pop(key, []), _taken(obj) if obj is not None else []
        if after:
            self._claims[key] = after
        self._taken.subtract(before)
        self._taken.update(after)
        changed = set(before) ^ set(after)
        return self._nodes({(driver, pool) for driver, pool, _ in changed})

    def free_on(self, node: str) -> dict[str, int]:
        """How many devices are free on a node, by driver."""
        found: Counter[str] = Counter()
        for pool in {entry.pool for entry in self._slices.values() if entry.node == node}:
            found[pool[0]] += self._free_in(pool, node)
        return dict(found)

    def _free_in(self, pool: _Pool, node: str) -> int:
        slices = [entry for entry in self._slices.values() if entry.pool == pool]
        newest = max(entry.generation for entry in slices)
        slices = [entry for entry in slices if entry.generation == newest]
        left: dict[tuple[str, str], float] = {}
        for entry in slices:
            left.update(entry.counters)
        for device in (device for entry in slices for device in entry.devices):
            if self._taken[*pool, device["name"]] > 0:
                for counter, amount in _consumes(device).items():
                    left[counter] = left.get(counter, 0) - amount
        here = [device for entry in slices if entry.node == node for device in entry.devices]
        whole = [device for device in here if _kind(device) not in _PARTS] or here
        return sum(self._is_free(device, pool, left) for device in whole)

    def _is_free(self, device: Json, pool: _Pool, left: Mapping[tuple[str, str], float]) -> bool:
        if any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in device.get("taints") or []):
            return False
        if self._taken[*pool, device["name"]] > 0:
            return bool(device.get("allowMultipleAllocations"))
        return all(amount <= left.get(counter, 0) for counter, amount in _consumes(device).items())

    def _nodes(self, pools: set[_Pool]) -> set[str]:
        return {entry.node for entry in self._slices.values() if entry.pool in pools}


def _listed(obj: Json) -> _Listed:
    spec = obj["spec"]
    pool = spec.get("pool") or {}
    counters = {
        (shared["name"], name): float(parse_quantity(counter["value"]))
        for shared in spec.get("sharedCounters") or []
        for name, counter in (shared.get("counters") or {}).items()
    }
    where = (spec["driver"], pool.get("name", ""))
    devices = spec.get("devices") or []
    return _Listed(where, pool.get("generation", 0), spec.get("nodeName") or "", devices, counters)


def _taken(obj: Json) -> list[_Device]:
    """What a claim holds. Whoever only looks after a device holds nothing of it."""
    allocation = ((obj.get("status") or {}).get("allocation") or {}).get("devices") or {}
    results = allocation.get("results") or []
    return [(r["driver"], r["pool"], r["device"]) for r in results if not r.get("adminAccess")]


def _consumes(device: Json) -> dict[tuple[str, str], float]:
    return {
        (used["counterSet"], name): float(parse_quantity(counter["value"]))
        for used in device.get("consumesCounters") or []
        for name, counter in (used.get("counters") or {}).items()
    }


def _kind(device: Json) -> str:
    """What the driver says that a device is, with or without its own domain before the attribute."""
    for name, value in (device.get("attributes") or {}).items():
        if name.rpartition("/")[2] == "type":
            return str(value.get("string", ""))
    return ""
