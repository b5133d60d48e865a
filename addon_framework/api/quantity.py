"""Quantities: "100m", "2Gi", "1e3" as exact decimals.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import Decimal

_LARGE = ("k", "M", "G", "T", "P", "E")
_SUFFIXES: dict[str, Decimal] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(_LARGE, 1)},
    **{f"{suffix.upper()}i": Decimal(1024) ** power for power, suffix in enumerate(_LARGE, 1)},
}
_PATTERN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([a-zA-Z]*)")


def parse_quantity(value: str | int | float | None) -> Decimal:
    """The number a quantity means; 0 for None. Raises ValueError."""
    if value is None:
        return Decimal(0)
    match = _PATTERN.fullmatch(str(value).strip())
    if match is None or match[2] not in _SUFFIXES:
        raise ValueError(f"{value!r} is not a quantity such as 500m, 2 or 16Gi")
    return Decimal(match[1]) * _SUFFIXES[match[2]]


def format_quantity(value: Decimal | int | float, *, binary: bool = False) -> str:
    """The canonical text: the largest suffix that keeps the number whole."""
    number = Decimal(str(value))
    if number == 0:
        return "0"
    suffixes = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki") if binary else ("E", "P", "T", "G", "M", "k")
    for suffix in suffixes:
        scaled = number / _SUFFIXES[suffix]
        if scaled == scaled.to_integral_value() and abs(scaled) >= 1:
            return f"{int(scaled)}{suffix}"
    for suffix in ("", "m", "u", "n"):
        scaled = number / _SUFFIXES[suffix]
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    return f"{int((number / _SUFFIXES['n']).to_integral_value())}n"
