"""Conditions that a work's author computes from an applied object: well-known ones, and CEL. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import cel

from addon_framework.api.conditions import is_true
from addon_framework.api.meta import Json


class RuleResult(NamedTuple):
    """A condition of the manifest."""

    condition: str
    status: str
    reason: str
    message: str


def evaluate(obj: Json, rules: Sequence[Json]) -> list[RuleResult]:
    """One condition per rule, in order; of two rules for one condition the later is kept."""
    results = {}
    for rule in rules:
        kind = rule.get("condition", "")
        results[kind] = (
            _well_known(obj, kind) if rule.get("type") == "WellKnownConditions" else _cel(obj, rule)
        )
    return list(results.values())


def _well_known(obj: Json, kind: str) -> RuleResult:
    if kind == "Complete" and obj["kind"] == "Job":
        over = is_true(obj, "Complete") or is_true(obj, "Failed")
        return RuleResult(
            kind, str(over), "ConditionRuleEvaluated", "Job is over" if over else "Job is running"
        )
    if kind == "Complete" and obj["kind"] == "Pod":
        phase = (obj.get("status") or {}).get("phase", "Unknown")
        over = phase in ("Succeeded", "Failed")
        return RuleResult(kind, str(over), "ConditionRuleEvaluated", f"Pod is {phase}")
    return RuleResult(
        kind, "Unknown", "ConditionRuleInvalid", f"{obj['kind']} has no well-known condition {kind}"
    )


def _cel(obj: Json, rule: Json) -> RuleResult:
    kind = rule.get("condition", "")
    holds = True
    for expression in rule.get("celExpressions") or []:
        value, problem = _run(expression, {"object": obj})
        if problem:
            return RuleResult(kind, "Unknown", "ConditionRuleExpressionError", problem)
        if not isinstance(value, bool):
            text = f"CEL {expression!r} gives {value!r}, not true or false"
            return RuleResult(kind, "Unknown", "ConditionRuleExpressionError", text)
        holds = holds and value
    message = rule.get("message") or ""
    if rule.get("messageExpression"):
        value, problem = _run(rule["messageExpression"], {"object": obj, "result": holds})
        message = problem or str(value)
    return RuleResult(kind, str(holds), "ConditionRuleEvaluated", message)


def _run(expression: str, variables: Json) -> tuple[Any, str]:
    try:
        return _compiled(expression).execute(cel.Context(variables=variables)), ""
    except (ValueError, RuntimeError, KeyError, TypeError, ArithmeticError) as error:
        return (
            None,
            f"CEL {expression!r}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
        )


@lru_cache(maxsize=512)
def _compiled(expression: str) -> Any:
    return cel.compile(expression)
