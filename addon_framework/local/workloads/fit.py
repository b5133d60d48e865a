"""Does a pod fit a node: selectors, affinity, taints, and what it asks for.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from addon_framework.api.selectors import holds
from addon_framework.local.amounts import ONE, Amount, Amounts, of_pod, read, total


def requests(spec: Json) -> Amounts:
    """What a pod takes of its node."""
    return total([of_pod(spec, "requests"), read(spec.get("overhead"))])


def misfits(spec: Json, node: Json, others: Iterable[Json] = ()) -> list[str]:
    """Why the pod does not fit, in kube-scheduler's words; empty when it does.

    `others` are the specs of the pods that are on the node.
    """
    if reason := _unplaceable(spec, node):
        return [reason]
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    others = list(others)
    if _ports(spec) & {port for other in others for port in _ports(other)}:
        return ["node(s) didn't have free ports for the requested pod ports"]
    wanting = lacking(spec, allocatable, others)
    return ["Too many pods" if name == "pods" else f"Insufficient {name}" for name in wanting]


def _ports(spec: Json) -> set[tuple[str, int]]:
    """Of the host, that a pod listens on; all addresses are one here."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    declared = [port for each in containers for port in each.get("ports") or ()]
    return {(port.get("protocol", "TCP"), int(port["hostPort"])) for port in declared if port.get("hostPort")}


def lacking(spec: Json, allocatable: Mapping[str, str], others: Iterable[Json]) -> list[str]:
    """Of which resources too little is left."""
    others = list(others)
    taken = {**total(map(requests, others)), "pods": Amount(Decimal(len(others)))}
    asked = {"pods": ONE, **dict(sorted(requests(spec).items()))}
    return [
        name
        for name, amount in asked.items()
        if amount.value
        and (amount + taken.get(name, Amount())).value
        > parse_quantity(allocatable.get(name, "110" if name == "pods" else None))
    ]


def is_within_reach(volume: Json, node: Json) -> bool:
    """Whether a PersistentVolume can be used on the node, by its own affinity."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return required is None or any(_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def preference(spec: Json, node: Json) -> int:
    """The weights of the preferred node affinity that hold."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return sum(
        int(term["weight"])
        for term in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        if _term(term["preference"], node)
    )


def _unplaceable(spec: Json, node: Json) -> str:
    if name := spec.get("nodeName"):
        return "" if name == node["metadata"]["name"] else "node(s) didn't match the requested node name"
    tolerations = spec.get("tolerations") or ()
    node_spec = node.get("spec") or {}
    cordoned = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if node_spec.get("unschedulable") and toleration_of(cordoned, tolerations) is None:
        return "node(s) were unschedulable"
    if not may_be_on(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    if (taint := untolerated(spec, node, "NoSchedule", "NoExecute")) is not None:
        return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
    return ""


def untolerated(spec: Json, node: Json, *effects: str) -> Json | None:
    """The first taint of these effects that a pod does not bear."""
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint["effect"] in effects and toleration_of(taint, spec.get("tolerations") or ()) is None:
            return dict(taint)
    return None


def may_be_on(spec: Json, node: Json) -> bool:
    """Whether the pod's own selector and node affinity take the node in."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return required is None or any(_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term(term: Json, node: Json) -> bool:
    """All expressions and fields; a term without any selects nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = node["metadata"].get("labels") or {}
    values = {"metadata.name": node["metadata"]["name"]}
    return all(holds(e, labels) for e in expressions) and all(holds(f, values) for f in fields)


def toleration_of(taint: Json, tolerations: Iterable[Json]) -> Json | None:
    """The first that bears a taint; https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""
    for toleration in tolerations:
        if toleration.get("effect") not in (None, "", taint.get("effect")):
            continue
        exists = toleration.get("operator") == "Exists"
        if not toleration.get("key"):
            if exists:
                return toleration
        elif toleration["key"] == taint["key"] and (
            exists or (toleration.get("value") or "") == (taint.get("value") or "")
        ):
            return toleration
    return None
