"""Conditions computed from an applied object: by its author's rules, or by its kind where there are none.

The rules are OCM's, well-known ones and CEL. One whose expression fails gives Unknown, never True or False.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from addon_framework.api.cel_engine import engine as cel
from addon_framework.api.cel_functions import functions_in
from addon_framework.api.meta import Json
from addon_framework.api.workload_rules import COMPLETE, workload

_MESSAGES = {
    "Job": "result ? 'Job is finished' : 'Job is not finished'",
    "Pod": "'Pod is in phase ' + (has(object.status) ? object.status.phase : 'Unknown')",
}


class RuleResult(NamedTuple):
    """A condition of the manifest."""

    condition: str
    status: str
    reason: str
    message: str


def evaluate(obj: Json, rules: Sequence[Json]) -> list[RuleResult]:
    """One condition per rule, in order; of two rules for one condition the later is kept.

    A well-known condition that the kind does not have is none, as in OCM.
    """
    results = {}
    for rule in rules:
        kind = rule.get("condition", "")
        if rule.get("type") == "CEL":
            results[kind] = _cel(obj, rule)
        elif rule.get("type") != "WellKnownConditions":
            text = f"the rule's type {rule.get('type')!r} is neither CEL nor WellKnownConditions"
            results[kind] = RuleResult(kind, "Unknown", "ConditionRuleInvalid", text)
        elif known := _well_known(obj, rule):
            results[kind] = _cel(obj, known)
    return list(results.values())


def derive(obj: Json, kinds: Iterable[str]) -> dict[str, str]:
    """The status of those of these conditions that the object's kind has."""
    known = workload(obj)
    rules = known.rules if known else {}
    return {kind: _holds(obj, [rules[kind]])[0] for kind in kinds if kind in rules}


def _well_known(obj: Json, rule: Json) -> Json | None:
    """The rule that OCM has for it; its author may still say it in other words."""
    known = workload(obj)
    if rule.get("condition") != COMPLETE or known is None or COMPLETE not in known.rules:
        return None
    said = {name: rule[name] for name in ("message", "messageExpression") if rule.get(name)}
    ours = {"celExpressions": [known.rules[COMPLETE]], "messageExpression": _MESSAGES[obj["kind"]]}
    return {"condition": COMPLETE, **(ours | said)}


def _cel(obj: Json, rule: Json) -> RuleResult:
    kind = rule.get("condition", "")
    status, problem = _holds(obj, rule.get("celExpressions") or [])
    if problem:
        return RuleResult(kind, status, "ConditionRuleExpressionError", problem)
    holds = status == "True"
    message = ""
    if rule.get("messageExpression"):
        value, problem = _run(rule["messageExpression"], {"object": obj, "result": holds})
        message = problem or (
            value if isinstance(value, str) else f"messageExpression gives {value!r}, no text"
        )
    message = message or rule.get("message") or f"Manifest is {'' if holds else 'not '}{kind}"
    return RuleResult(kind, status, "ConditionRuleEvaluated", message)


def _holds(obj: Json, expressions: Iterable[str]) -> tuple[str, str]:
    """Whether all hold, and what is wrong with one. The first that does not hold ends it, as in OCM."""
    for expression in expressions:
        value, problem = _run(expression, {"object": obj})
        if not problem and not isinstance(value, bool):
            problem = f"CEL {expression!r} gives {value!r}, not true or false"
        if problem:
            return "Unknown", problem
        if not value:
            return "False", ""
    return "True", ""


def _has_conditions(status: Any) -> bool:
    """OCM's own function: whether a status has conditions at all."""
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return isinstance(conditions, list) and bool(conditions)


def _run(expression: str, variables: Json) -> tuple[Any, str]:
    context = cel.Context(variables=variables)
    context.add_function("hasConditions", _has_conditions)
    for name, function in functions_in([expression]).items():
        context.add_function(name, function)
    try:
        return _compiled(expression).execute(context), ""
    except (ValueError, RuntimeError, KeyError, TypeError, ArithmeticError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        return None, f"CEL {expression!r}: {text}"


@lru_cache(maxsize=512)
def _compiled(expression: str) -> Any:
    return cel.compile(expression)
