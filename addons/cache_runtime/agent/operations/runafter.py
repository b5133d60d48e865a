"""Pipelines: which step comes before, whether it is done, and whether to run near it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.kube import Key
from addons.cache_runtime.agent.operations.kinds import RefusedError, title
from addons.cache_runtime.agent.operations.status import COMPLETE, FAILED

HOSTNAME = "kubernetes.io/hostname"
LABELS_ANNOTATION = "affinity.dataflow.fluid.io/labels"  # of an operation: labels of nodes to remember
_GRACE = 30.0  # seconds in which a step may come after its successor; a file of objects has any order

Find = Callable[[str, Key], Json | None]  # of a kind and a key, the operation


@dataclass(frozen=True)
class Before:
    """What a step waits for; `again` is when to look even if nothing happens."""

    waiting: str = ""
    again: float | None = None


def predecessor(op: Json) -> tuple[str, Key] | None:
    """Kind and key of the step before."""
    return _reference(op, (op.get("spec") or {}).get("runAfter") or {})


def check(op: Json) -> None:
    """What is wrong whatever the steps. Raises RefusedError."""
    if predecessor(op) == _me(op):
        raise RefusedError("DataOperationNotValid", f"{_field(op)}: names the operation itself")
    strategy = ((op.get("spec") or {}).get("runAfter") or {}).get("affinityStrategy") or {}
    for name, policy in (("prefers", "Prefer"), ("requires", "Require")):
        if strategy.get(name) and strategy.get("policy") != policy:
            raise RefusedError(
                "DataOperationNotValid",
                f"{_field(op)}.affinityStrategy.{name}: has no meaning unless policy is {policy}",
            )


def before(op: Json, find: Find, now: datetime) -> Before:
    """Whether the step before is done. Raises RefusedError when it will never be."""
    named = predecessor(op)
    said = (op.get("status") or {}).get("waitingFor") or {}
    if named is None or said.get("operationComplete") is False:
        return Before()  # once it was complete, what becomes of it does not matter
    kind, key = named
    _refuse_circle(op, find)
    step = find(kind, key)
    if step is None:
        left = _GRACE - (now - parse_time(op["metadata"]["creationTimestamp"])).total_seconds()
        if left > 0:
            return Before(f"waiting for {kind} {key}, which does not exist yet", left)
        raise RefusedError("DataOperationNotFound", f"{kind} {key} does not exist; {_field(op)}; create it")
    status = step.get("status") or {}
    if status.get("phase") == COMPLETE:
        return Before()
    if status.get("phase") == FAILED:
        why = (status.get("infos") or {}).get("message") or "see its status"
        raise RefusedError("PredecessorFailed", f"{kind} {key} failed: {why}")
    return Before(f"waiting for {kind} {key}")


def affinity(op: Json, find: Find) -> Json:
    """Of the pods: near the step that `affinityStrategy` names."""
    strategy = ((op.get("spec") or {}).get("runAfter") or {}).get("affinityStrategy") or {}
    policy = strategy.get("policy")
    named = _reference(op, strategy.get("dependOn") or {}) or predecessor(op)
    if not policy or named is None:
        return {}
    step = find(*named) or {}
    recorded = ((step.get("status") or {}).get("nodeAffinity") or {}).get("required") or {}
    terms = recorded.get("nodeSelectorTerms") or [{}]
    by_name = {e["key"]: e for e in terms[0].get("matchExpressions") or []}
    if policy == "Require":
        names = [each["name"] for each in strategy.get("requires") or []] or [HOSTNAME]
        expressions = [by_name[name] for name in names if name in by_name]
        if not expressions:
            return {}
        rule = {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": rule}}
    weights = strategy.get("prefers") or [{"name": HOSTNAME, "weight": 100}]
    preferred = [
        {"weight": each["weight"], "preference": {"matchExpressions": [by_name[each["name"]]]}}
        for each in weights
        if each["name"] in by_name
    ]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def allows(rule: Json, node: Json) -> bool:
    """Whether a node has the labels that `affinity` requires."""
    terms = (rule.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    labels = node["metadata"].get("labels") or {}
    expressions = [each for term in terms.get("nodeSelectorTerms") or [] for each in term["matchExpressions"]]
    return all(labels.get(each["key"]) in each["values"] for each in expressions)


def where_it_ran(op: Json, nodes: list[Json]) -> Json:
    """For `status.nodeAffinity`: the nodes' host label, and those that the operation's annotation lists."""
    listed = (op["metadata"].get("annotations") or {}).get(LABELS_ANNOTATION, "")
    expressions = []
    for name in dict.fromkeys([HOSTNAME, *(text.strip() for text in listed.split(",") if text.strip())]):
        values = {(node["metadata"].get("labels") or {}).get(name) for node in nodes} - {None}
        if values:
            expressions.append({"key": name, "operator": "In", "values": sorted(str(v) for v in values)})
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}} if expressions else {}


def _reference(op: Json, reference: Json) -> tuple[str, Key] | None:
    if not reference.get("name"):
        return None
    namespace = reference.get("namespace") or op["metadata"]["namespace"]
    return str(reference.get("kind", "")), Key(namespace, reference["name"])


def _refuse_circle(op: Json, find: Find) -> None:
    me = _me(op)
    seen, step = {me}, op
    while (named := predecessor(step)) is not None and (following := find(*named)) is not None:
        if named == me:
            raise RefusedError("DataOperationNotValid", f"{_field(op)}: goes in a circle")
        if named in seen:
            return  # a circle that this step is not in; those in it say so
        seen.add(named)
        step = following
    if named == me:
        raise RefusedError("DataOperationNotValid", f"{_field(op)}: goes in a circle")


def _me(op: Json) -> tuple[str, Key]:
    return str(op.get("kind", "")), Key(op["metadata"]["namespace"], op["metadata"]["name"])


def _field(op: Json) -> str:
    return f"{title(op)}: spec.runAfter"
