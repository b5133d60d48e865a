"""How cells of tables print ages, lists and amounts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time

NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"


def age(timestamp: Any, now: datetime) -> str:
    """Time since, as kubectl shows it: 45s, 5m10s, 3h, 2d4h, 340d, 2y30d."""
    if not timestamp:
        return UNKNOWN
    try:
        return human((now - parse_time(str(timestamp))).total_seconds())
    except (ValueError, TypeError):
        return "<invalid>"


def human(seconds: float) -> str:
    """A duration in at most two units."""
    if seconds < -2:
        return "<invalid>"
    whole = max(int(seconds), 0)
    minutes, hours = whole // 60, whole // 3600
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(hours // 24, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{hours // 24}d"
    if hours < 24 * 365 * 8:
        return _two(hours // 24 // 365, "y", hours // 24 % 365, "d")
    return f"{hours // 24 // 365}y"


def _two(big: int, unit: str, small: int, below: str) -> str:
    return f"{big}{unit}{small}{below}" if small else f"{big}{unit}"


def joined(values: Iterable[Any], empty: str = NONE) -> str:
    """a,b or <none>."""
    return ",".join(str(each) for each in values) or empty


def labels(selector: Any) -> str:
    """Labels, or a LabelSelector, as selectors are typed."""
    if not selector:
        return NONE
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return joined(f"{key}={value}" for key, value in sorted(selector.items()))
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or ():
        values = ",".join(sorted(term.get("values") or ()))
        parts.append(
            {
                "In": f"{term['key']} in ({values})",
                "NotIn": f"{term['key']} notin ({values})",
                "Exists": term["key"],
                "DoesNotExist": f"!{term['key']}",
            }.get(term.get("operator", ""), term["key"])
        )
    return joined(parts)


def containers(template: Any) -> tuple[str, str]:
    """Names and images of a pod template."""
    found: list[Json] = ((template or {}).get("spec") or {}).get("containers") or []
    return joined(each.get("name", "") for each in found), joined(each.get("image", "") for each in found)


_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def modes(values: Any) -> str:
    """Access modes, abbreviated."""
    return ",".join(_MODES.get(each, each) for each in values or ())


def name_of(obj: Json) -> str:
    """Its name."""
    return str(obj["metadata"].get("name", ""))


def age_of(obj: Json, now: datetime) -> str:
    """Its age, printed."""
    return age(obj["metadata"].get("creationTimestamp"), now)


def spec_of(obj: Json) -> Json:
    """Its spec, or nothing."""
    found: Json = obj.get("spec") or {}
    return found


def status_of(obj: Json) -> Json:
    """Its status, or nothing."""
    found: Json = obj.get("status") or {}
    return found
