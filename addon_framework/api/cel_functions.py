"""The functions that Kubernetes and OCM add to CEL and that people use to select clusters.

The engine passes plain values only, so a quantity or a version is a map that says what it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from addon_framework.api.quantity import format_quantity, parse_quantity

KIND = "\x00kind"
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?"
)


def functions_in(expressions: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """The functions of `FUNCTIONS` that the expressions call."""
    text = "\n".join(expressions)
    return {name: function for name, function in FUNCTIONS.items() if f"{name}(" in text}


def tagged(kind: str, value: Any) -> dict[str, Any]:
    """A value of a kind that the engine does not have."""
    return {KIND: kind, "value": value}


def is_a(value: Any, kind: str) -> bool:
    """Whether it is tagged so."""
    return isinstance(value, dict) and value.get(KIND) == kind


def untagged(value: Any, kind: str) -> Any:
    """The value itself. Raises TypeError for one of another kind."""
    if not is_a(value, kind):
        raise TypeError(f"expected {kind}, got {type(value).__name__}")
    return value["value"]


def quantity(text: str) -> dict[str, Any]:
    """Equal ones are written alike. Raises ValueError."""
    return tagged("quantity", format_quantity(parse_quantity(text)))


def amount(value: Any) -> Decimal:
    """Of a quantity or a number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Decimal(str(value))
    return parse_quantity(untagged(value, "quantity"))


def compare(one: Any, other: Any) -> int:
    """Two quantities or two versions: -1, 0 or 1."""
    left, right = (_version(each) if is_a(each, "semver") else amount(each) for each in (one, other))
    return int(left > right) - int(left < right)


def _is_quantity(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(quantity(text))
    except ValueError:
        return False


def _normal(text: str, normalize: bool) -> str:
    if not normalize:
        return text
    core, mark, rest = text.removeprefix("v").partition("-")
    numbers = [number.lstrip("0") or "0" for number in core.split(".")]
    return ".".join([*numbers, "0", "0"][: max(3, len(numbers))]) + mark + rest


def _semver(text: str, normalize: bool = False) -> dict[str, Any]:
    if not _is_semver(text, normalize):
        raise ValueError(f"{text!r} is not a semantic version such as 1.31.0")
    return tagged("semver", _normal(text, normalize))


def _is_semver(text: Any, normalize: bool = False) -> bool:
    return isinstance(text, str) and _SEMVER.fullmatch(_normal(text, normalize)) is not None


def _version(value: Any) -> Any:
    """A version's numbers, and what makes a release come after its own pre-releases."""
    match = _SEMVER.fullmatch(untagged(value, "semver"))
    assert match is not None  # _semver made it
    before = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in (match[4] or "").split(".") if p]
    return int(match[1]), int(match[2]), int(match[3]), not before, before


def _part(index: int) -> Callable[[Any], int]:
    return lambda version: int(_version(version)[index])


OF_QUANTITIES_AND_VERSIONS: dict[str, Callable[..., Any]] = {
    "quantity": quantity,
    "isQuantity": _is_quantity,
    "asApproximateFloat": lambda value: float(amount(value)),
    "semver": _semver,
    "isSemver": _is_semver,
    "major": _part(0),
    "minor": _part(1),
    "patch": _part(2),
    "compareTo": compare,
    "isGreaterThan": lambda one, other: compare(one, other) > 0,
    "isLessThan": lambda one, other: compare(one, other) < 0,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "parseJSON": json.loads,
    **OF_QUANTITIES_AND_VERSIONS,
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
