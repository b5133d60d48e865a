"""ValidatingAdmissionPolicy: what its schema cannot say, and what this server cannot do."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause
from addon_framework.local.apiserver.schemas.celtype import type_of
from addon_framework.local.apiserver.schemas.rules import CompileError, Expression

ASKING = frozenset({"group", "resource", "subresource", "namespace", "name", "check", "allowed"})
_DECLARED = frozenset({"object", "oldObject", "request", "namespaceObject", "authorizer", "variables"})


@functools.lru_cache(256)
def expression(source: str) -> Expression:
    """What a policy says, compiled. Raises CompileError."""
    return Expression(source, _DECLARED, ASKING)


def _policy(spec: Json, path: str) -> Iterator[Cause]:
    if spec.get("paramKind") is not None:
        yield cause.forbidden("spec.paramKind", "the embedded server has no policies with parameters")
    if not (spec.get("matchConstraints") or {}).get("resourceRules"):
        yield cause.required("spec.matchConstraints.resourceRules")
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        text = "validations or auditAnnotations must contain at least one item"
        yield cause.required("spec.validations", text)


def _compiles(each: Json, path: str, *, wanted: str = "bool") -> Iterator[Cause]:
    for field, kind in (("expression", wanted), ("messageExpression", "string")):
        source = each.get(field, "" if field == "expression" else None)
        if source is not None and not source.strip():
            yield cause.required(f"{path}{field}", "expression is not specified")
        elif source is not None:
            try:
                expression(source)
            except CompileError as error:
                yield cause.invalid(f"{path}{field}", source, str(error))
                continue
            if kind and (found := type_of(source)) not in ("", kind):
                why = f"must evaluate to {kind} but got {found}"
                yield cause.invalid(f"{path}{field}", source, why)


_GROUP = "admissionregistration.v1"
CHECKS: dict[str, Any] = {
    f"{_GROUP}.ValidatingAdmissionPolicySpec": _policy,
    f"{_GROUP}.Validation": _compiles,
    f"{_GROUP}.Variable": functools.partial(_compiles, wanted=""),
    f"{_GROUP}.MatchCondition": _compiles,
}
