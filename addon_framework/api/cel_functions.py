"""The functions that Kubernetes and OCM add to CEL and that people use to select clusters.

A quantity and a version are maps to CEL: the libraries here know no opaque types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from addon_framework.api.quantity import parse_quantity

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?"
)


def functions_in(expressions: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """The functions of `FUNCTIONS` that the expressions call."""
    text = "\n".join(expressions)
    return {name: function for name, function in FUNCTIONS.items() if f"{name}(" in text}


def _quantity(text: str) -> dict[str, str]:
    return {"quantity": str(parse_quantity(text))}


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except ValueError:
        return False
    return True


def _normal(text: str, normalize: bool) -> str:
    if not normalize:
        return text
    core, mark, rest = text.removeprefix("v").partition("-")
    numbers = [number.lstrip("0") or "0" for number in core.split(".")]
    return ".".join([*numbers, "0", "0"][: max(3, len(numbers))]) + mark + rest


def _semver(text: str, normalize: bool = False) -> dict[str, str]:
    normal = _normal(text, normalize)
    if _SEMVER.fullmatch(normal) is None:
        raise ValueError(f"{text!r} is not a semantic version such as 1.31.0")
    return {"semver": normal}


def _is_semver(text: str, normalize: bool = False) -> bool:
    return _SEMVER.fullmatch(_normal(text, normalize)) is not None


def _comparable(value: Any) -> Any:
    if "quantity" in value:
        return Decimal(value["quantity"])
    match = _SEMVER.fullmatch(value["semver"])
    assert match is not None  # _semver made it
    numbers = tuple(int(part) for part in match.groups()[:3])
    if match[4] is None:
        return numbers, (1,)  # a release comes after its own pre-releases
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in match[4].split("."))
    return numbers, (0, parts)


def _compare(one: Any, other: Any) -> int:
    left, right = _comparable(one), _comparable(other)
    return int(left > right) - int(left < right)


def _part(index: int) -> Callable[[Any], int]:
    return lambda version: int(_SEMVER.fullmatch(version["semver"])[index])  # type: ignore[index]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "parseJSON": json.loads,
    "quantity": _quantity,
    "isQuantity": _is_quantity,
    "asApproximateFloat": lambda value: float(_comparable(value)),
    "semver": _semver,
    "isSemver": _is_semver,
    "major": _part(1),
    "minor": _part(2),
    "patch": _part(3),
    "compareTo": _compare,
    "isGreaterThan": lambda one, other: _compare(one, other) > 0,
    "isLessThan": lambda one, other: _compare(one, other) < 0,
    "lowerAscii": lambda text: text.lower(),
    "upperAscii": lambda text: text.upper(),
    "trim": lambda text: text.strip(),
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, by: text.split(by),
    "join": lambda parts, by="": by.join(parts),
    "indexOf": lambda text, part: text.find(part) if isinstance(text, str) else _index(text, part),
    "substring": lambda text, start, end=None: text[start:end],
}


def _index(items: list[Any], item: Any) -> int:
    return items.index(item) if item in items else -1
