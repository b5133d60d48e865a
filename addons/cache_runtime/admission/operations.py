"""Operations that could never work are refused at once, in the words their controller would use. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from addon_framework.api.meta import Json
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding, Resolver
from addons.cache_runtime.agent.operations import runafter
from addons.cache_runtime.agent.operations.kinds import Kind, RefusedError, invalid, refuse_reference
from addons.cache_runtime.agent.operations.schedule import check_policy
from addons.cache_runtime.agent.operations.status import COMPLETE

_ALWAYS = ("ttlSecondsAfterFinished",)  # what may change at any time


def problem(kind: Kind, op: Json, old: Json, datasets: AnyInformer, resolver: Resolver) -> str:
    """Why not; "" when it may be. What its Datasets will be able to do is judged once they have runtimes."""
    try:
        _unchanged(op, old)
        check_policy(op)
        runafter.check(op)
        kind.check(op)
        bindings = _bindings(kind, op, datasets, resolver)
        if bindings is not None:
            kind.supports(op, bindings)
    except RefusedError as error:
        return str(error)
    return ""


def _unchanged(op: Json, old: Json) -> None:
    """What ran once does not run again."""
    before, after = old.get("spec") or {}, op.get("spec") or {}
    over = (old.get("status") or {}).get("phase") == COMPLETE and (before.get("policy") or "Once") == "Once"
    changed = sorted(name for name in {*before, *after} - {*_ALWAYS} if before.get(name) != after.get(name))
    if over and changed:
        fields = ", ".join(f"spec.{name}" for name in changed)
        raise invalid(op, fields, f"it is {COMPLETE} and will not run again; create another {op.get('kind')}")


def _bindings(kind: Kind, op: Json, datasets: AnyInformer, resolver: Resolver) -> Sequence[Binding] | None:
    """None while some are missing or wrong themselves."""
    found = []
    for at in kind.targets(op):
        dataset = datasets.get(at)
        if dataset is None:
            return None
        refuse_reference(op, dataset)
        binding = resolver.bind(dataset, at)
        if binding is None or binding.problems:
            return None
        found.append(binding)
    return found
