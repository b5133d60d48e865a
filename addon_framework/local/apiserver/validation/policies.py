"""ValidatingAdmissionPolicy and its bindings: defaults, and what their schemas cannot say."""

from __future__ import annotations

import functools

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause
from addon_framework.local.apiserver.schemas.rules import CompileError, Expression

ASKING = frozenset({"group", "resource", "subresource", "namespace", "name", "check", "allowed"})
_DECLARED = frozenset({"object", "oldObject", "request", "namespaceObject", "authorizer", "variables"})
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")


def default_policy(obj: Json) -> None:
    """In place."""
    spec = obj.get("spec") or {}
    spec.setdefault("failurePolicy", "Fail")
    if (constraints := spec.get("matchConstraints")) is not None:
        _default_constraints(constraints)


def default_policy_binding(obj: Json) -> None:
    """In place."""
    if (constraints := (obj.get("spec") or {}).get("matchResources")) is not None:
        _default_constraints(constraints)


@functools.lru_cache(256)
def expression(source: str) -> Expression:
    """What a policy says, compiled. Raises CompileError."""
    return Expression(source, _DECLARED, ASKING)


def validate_policy(obj: Json, old: Json | None) -> list[Cause]:
    """What can be judged here, and what this server cannot do."""
    spec = obj.get("spec") or {}
    causes: list[Cause] = []
    if spec.get("paramKind") is not None:
        causes.append(
            cause.forbidden("spec.paramKind", "the embedded server has no policies with parameters")
        )
    if not (spec.get("matchConstraints") or {}).get("resourceRules"):
        causes.append(cause.required("spec.matchConstraints.resourceRules"))
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        text = "validations or auditAnnotations must contain at least one item"
        causes.append(cause.required("spec.validations", text))
    for field in ("variables", "matchConditions"):
        for index, each in enumerate(spec.get(field) or ()):
            _compiles(each.get("expression") or "", f"spec.{field}[{index}].expression", causes)
    for index, validation in enumerate(spec.get("validations") or ()):
        path = f"spec.validations[{index}]"
        _compiles(validation.get("expression") or "", f"{path}.expression", causes)
        if "messageExpression" in validation:
            _compiles(validation["messageExpression"], f"{path}.messageExpression", causes)
        if (reason := validation.get("reason")) is not None and reason not in _REASONS:
            causes.append(cause.not_supported(f"{path}.reason", reason, _REASONS))
    return causes


def validate_policy_binding(obj: Json, old: Json | None) -> list[Cause]:
    """Whether it names a policy and what follows from it."""
    spec = obj.get("spec") or {}
    causes: list[Cause] = []
    if not spec.get("policyName"):
        causes.append(cause.required("spec.policyName"))
    actions = spec.get("validationActions") or []
    if not actions:
        causes.append(cause.required("spec.validationActions", "at least one validation action is required"))
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            causes.append(cause.not_supported(f"spec.validationActions[{index}]", action, _ACTIONS))
    return causes


def _compiles(source: str, path: str, causes: list[Cause]) -> None:
    if not source.strip():
        causes.append(cause.required(path, "expression is not specified"))
        return
    try:
        expression(source)
    except CompileError as error:
        causes.append(cause.invalid(path, source, str(error)))


def _default_constraints(constraints: Json) -> None:
    constraints.setdefault("matchPolicy", "Equivalent")
    constraints.setdefault("namespaceSelector", {})
    constraints.setdefault("objectSelector", {})
    for rules in ("resourceRules", "excludeResourceRules"):
        for rule in constraints.get(rules) or ():
            rule.setdefault("scope", "*")
