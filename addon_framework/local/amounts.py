"""Amounts of resources as a server adds them up: exact, and written as the first of them was.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.quantity import format_quantity, parse_quantity


@dataclass(frozen=True, slots=True)
class Amount:
    """A number, and whether it is written in powers of 1024."""

    value: Decimal = Decimal(0)
    binary: bool = False

    @classmethod
    def of(cls, text: Any) -> Amount:
        """What a quantity says. Raises ValueError."""
        return cls(parse_quantity(text), str(text).endswith("i"))

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.value + other.value, self.binary if self.value else other.binary)

    def __str__(self) -> str:
        return format_quantity(self.value, binary=self.binary)


Amounts = dict[str, Amount]
ONE = Amount(Decimal(1))


def read(entries: Mapping[str, Any] | None) -> Amounts:
    """Of a ResourceList."""
    return {name: Amount.of(text) for name, text in (entries or {}).items()}


def written(amounts: Amounts) -> dict[str, str]:
    """As a ResourceList."""
    return {name: str(amount) for name, amount in amounts.items()}


def total(parts: Iterable[Amounts]) -> Amounts:
    """Their sum."""
    found: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            found[name] = found[name] + amount if name in found else amount
    return found


def of_pod(spec: Json, group: str) -> Amounts:
    """Its `requests` or `limits`: of all containers, or of the largest init container if that is more.

    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
    """
    running = [_said(each, group) for each in spec.get("containers") or ()]
    sidecars: list[Amounts] = []
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        asked = _said(container, group)
        at_once = total([asked, *sidecars])
        if container.get("restartPolicy") == "Always":
            sidecars.append(asked)
        peak = _larger(peak, at_once)
    found = _larger(total([*running, *sidecars]), peak)
    for name, amount in _said(spec, group).items():
        if name in ("cpu", "memory") or name.startswith("hugepages-"):
            found[name] = amount
    return found


def _said(owner: Json, group: str) -> Amounts:
    return read((owner.get("resources") or {}).get(group))


def _larger(first: Amounts, second: Amounts) -> Amounts:
    none = Amount(Decimal(-1))
    names = first.keys() | second.keys()
    return {
        name: max(first.get(name, none), second.get(name, none), key=lambda amount: amount.value)
        for name in names
    }
