"""Label selectors as objects: which labels they take in.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a selector takes labels in; none selects nothing, an empty one everything."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        holds(each, labels) for each in selector.get("matchExpressions") or ()
    )


def holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels are as one expression wants; Gt and Lt are for the labels of nodes."""
    key = expression["key"]
    wanted: list[str] = expression.get("values") or []
    value: Any = labels.get(key)
    match expression["operator"]:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case "Gt" | "Lt" as operator:
            try:
                have, limit = int(value), int(wanted[0])
            except (TypeError, ValueError, IndexError):
                return False
            return have > limit if operator == "Gt" else have < limit
    return False
