"""Label and claim selectors: the Kubernetes rules, with errors that name the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.selectors import holds


class SelectorError(ValueError):
    """A selector that can never be evaluated; the message names the field."""


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str], where: str = "selector") -> bool:
    """Whether labels satisfy matchLabels and matchExpressions; nothing asked is always satisfied."""
    if not selector:
        return True
    held = [  # all of them, so that a bad one is found whatever the labels are
        _expression(expression, labels, f"{where}.matchExpressions[{index}]")
        for index, expression in enumerate(selector.get("matchExpressions") or [])
    ]
    return all(held) and all(labels.get(k) == v for k, v in (selector.get("matchLabels") or {}).items())


def _expression(expression: Mapping[str, Any], labels: Mapping[str, str], where: str) -> bool:
    operator, values = expression.get("operator", ""), expression.get("values")
    if operator in ("In", "NotIn") and not values:
        raise SelectorError(f"{where}.values: must name at least one value for operator {operator}")
    if operator in ("Exists", "DoesNotExist") and values:
        raise SelectorError(f"{where}.values: must be empty for operator {operator}")
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        raise SelectorError(f'{where}.operator: "{operator}" is not one of In, NotIn, Exists, DoesNotExist')
    return holds({"key": "", **expression}, labels)


def labels_of(obj: Json) -> Mapping[str, str]:
    """The object's labels, never None."""
    return obj["metadata"].get("labels") or {}


def claims_of(cluster: Json) -> dict[str, str]:
    """The cluster's claims by name."""
    claims = (cluster.get("status") or {}).get("clusterClaims") or []
    return {claim["name"]: claim.get("value", "") for claim in claims}
