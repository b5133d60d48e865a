"""Admission by expressions: ValidatingAdmissionPolicy and its bindings, without parameters.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.rbac import Access, Authorizer
from addon_framework.local.apiserver.schemas.celbudget import MATCHING, Budget
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.validation.policies import ASKING, expression
from addon_framework.local.apiserver.write import Write

GROUP = "admissionregistration.k8s.io"
POLICIES, BINDINGS = f"validatingadmissionpolicies.{GROUP}", f"validatingadmissionpolicybindings.{GROUP}"
_STATUS = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}
_FAILURES = (RuntimeError, TypeError, ValueError, KeyError, IndexError, ArithmeticError)

Applies = Callable[[Json], bool]  # whether the constraints of a policy, or of a binding, take a write in


class Policies:
    """Judges writes by what policies say of them."""

    def __init__(self, store: Store, authorizer: Authorizer) -> None:
        self._store, self._authorizer = store, authorizer

    def validate(self, write: Write, applies: Applies, request: Callable[[], Json]) -> None:
        """Refuses what a policy that is bound denies; `request` makes what expressions see, if any does."""
        if not self._store.count(BINDINGS):
            return
        for binding in self._store.list(BINDINGS):
            spec = binding["spec"]
            policy = self._store.get(POLICIES, ("", spec["policyName"]))
            if policy is None or not applies(policy["spec"].get("matchConstraints") or {}):
                continue
            if (narrowed := spec.get("matchResources")) and not applies(_with_rules(narrowed)):
                continue
            actions = spec.get("validationActions") or ()
            for reason, text in self._broken(write, policy["spec"], request()):
                said = (
                    f"ValidatingAdmissionPolicy '{policy['metadata']['name']}' with binding "
                    f"'{binding['metadata']['name']}' denied request: {text}"
                )
                if "Deny" in actions:
                    raise _denied(write, reason, said)
                if "Warn" in actions:
                    write.warnings.append(said.replace("denied request", "warned", 1))

    def _broken(self, write: Write, spec: Json, request: Json) -> Iterator[tuple[str, str]]:
        """Reason and message of every validation that does not hold."""
        context = self._context(write, request)
        fails = spec.get("failurePolicy") != "Ignore"
        budget = Budget()  # one for all that the policy says
        try:
            if not _hold(spec.get("matchConditions") or (), context):
                return
            for variable in spec.get("variables") or ():
                value = expression(variable["expression"]).evaluate(context, budget)
                context["variables"] = {**context["variables"], variable["name"]: value}
            for validation in spec.get("validations") or ():
                if expression(validation["expression"]).evaluate(context, budget) is not True:
                    yield validation.get("reason") or "Invalid", _message(validation, context, budget)
        except _FAILURES as error:
            if fails:
                yield "Invalid", f"expression resulted in error: {error}"

    def match(self, write: Write, conditions: Sequence[Json], request: Json) -> bool:
        """Whether all conditions of a webhook hold. Raises RuntimeError when that cannot be said."""
        return _hold(conditions, self._context(write, request))

    def _context(self, write: Write, request: Json) -> dict[str, Any]:
        """What expressions see."""
        return {
            "object": request["object"],
            "oldObject": request["oldObject"],
            "request": {name: each for name, each in request.items() if name not in ("object", "oldObject")},
            "namespaceObject": self._store.get("namespaces", ("", write.namespace)),
            "authorizer": {},
            "variables": {},
            **self._asking(write),
        }

    def _asking(self, write: Write) -> Mapping[str, Callable[..., Any]]:
        """The functions of `authorizer`: each adds to the question, `check` asks it."""

        def adds(field: str) -> Callable[[Json, str], Json]:
            return lambda question, value: {**question, field: value}

        def check(question: Json, verb: str) -> Json:
            return {**question, "allowed": self._authorizer.allowed(write.user, Access(verb, **question))}

        steps = {each: adds(each) for each in ASKING - {"check", "allowed"}}
        return {**steps, "check": check, "allowed": lambda answer: answer["allowed"]}


def _hold(conditions: Sequence[Json], context: dict[str, Any]) -> bool:
    """All of them; one that does not decides, even when another fails. They have one budget of their own."""
    failed, budget = "", Budget(MATCHING)
    for each in conditions:
        try:
            if expression(each["expression"]).evaluate(context, budget) is not True:
                return False
        except _FAILURES as error:
            failed = failed or f"expression '{each['expression']}' resulted in error: {error}"
            if budget.left <= 0:
                break
    if failed:
        raise RuntimeError(failed)
    return True


def _with_rules(constraints: Json) -> Json:
    """A binding that names no rules narrows by its selectors only."""
    any_rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*", "*/*"]}
    return constraints if constraints.get("resourceRules") else {**constraints, "resourceRules": [any_rule]}


def _message(validation: Json, context: dict[str, Any], budget: Budget) -> str:
    if source := validation.get("messageExpression"):
        try:
            text = expression(source).evaluate(context, budget)
        except _FAILURES:
            text = None
        if isinstance(text, str) and text.strip():
            return text
    return str(validation.get("message") or f"failed expression: {validation['expression'].strip()}")


def _denied(write: Write, reason: str, said: str) -> StatusError:
    details: Json = {"name": write.name, "kind": write.kind.plural, "causes": [{"message": said}]}
    if write.kind.group:
        details["group"] = write.kind.group
    where = write.kind.plural + (f".{write.kind.group}" if write.kind.group else "")
    return StatusError(_STATUS[reason], reason, f'{where} "{write.name}" is forbidden: {said}', details)
