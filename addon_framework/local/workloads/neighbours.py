"""Which pods a pod wants near, or not near: (anti-)affinity between pods, and their spread over a topology.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from addon_framework.api.meta import Json
from addon_framework.api.selectors import selects
from addon_framework.local.workloads.fit import may_be_on

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class Placed(NamedTuple):
    """A pod on a node."""

    pod: Json
    node: Json


class Neighbourhood:
    """The pods that are placed. `labels_of` are those of a namespace, for terms that select namespaces."""

    def __init__(self, placed: Iterable[Placed], labels_of: Callable[[str], Mapping[str, str]]) -> None:
        self._placed, self._labels_of = list(placed), labels_of

    def of(self, uids: Collection[str], node: Json) -> Neighbourhood:
        """The same, but on one node with those pods only."""
        name = node["metadata"]["name"]
        kept = [
            p for p in self._placed if p.node["metadata"]["name"] != name or p.pod["metadata"]["uid"] in uids
        ]
        return Neighbourhood(kept, self._labels_of)

    def misfit(self, pod: Json, node: Json, nodes: Iterable[Json]) -> str:
        """Why other pods keep this one off the node, in kube-scheduler's words; empty when they do not."""
        for constraint in pod["spec"].get("topologySpreadConstraints") or ():
            strict = constraint["whenUnsatisfiable"] == "DoNotSchedule"
            if strict and (reason := self._uneven(pod, node, constraint, nodes)):
                return reason
        if not self._has_wanted(pod, node):
            return "node(s) didn't match pod affinity rules"
        if any(self._near(pod, term, node) for term in _terms(pod, "podAntiAffinity")):
            return "node(s) didn't match pod anti-affinity rules"
        for other in self._placed:
            for term in _terms(other.pod, "podAntiAffinity"):
                if self._selects(other.pod, term, pod) and _together(term, other.node, node):
                    return "node(s) didn't satisfy existing pods anti-affinity rules"
        return ""

    def preference(self, pod: Json, node: Json) -> int:
        """The weights of the terms that hold, less those of neighbours that it would rather not have."""
        affinity = pod["spec"].get("affinity") or {}
        return sum(
            sign * int(each["weight"])
            for sign, field in ((1, "podAffinity"), (-1, "podAntiAffinity"))
            for each in (affinity.get(field) or {}).get(_PREFERRED) or ()
            if self._near(pod, each["podAffinityTerm"], node)
        )

    def _has_wanted(self, pod: Json, node: Json) -> bool:
        terms = _terms(pod, "podAffinity")
        if all(self._near(pod, term, node) for term in terms):
            return True
        # The first of pods that want each other has nobody to be with.
        labels = node["metadata"].get("labels") or {}
        return all(
            term["topologyKey"] in labels
            and self._selects(pod, term, pod)
            and not any(self._selects(pod, term, other.pod) for other in self._placed)
            for term in terms
        )

    def _near(self, pod: Json, term: Json, node: Json) -> bool:
        """Whether a pod that the term selects is in the node's domain."""
        return any(
            _together(term, other.node, node) and self._selects(pod, term, other.pod)
            for other in self._placed
        )

    def _selects(self, owner: Json, term: Json, pod: Json) -> bool:
        namespace = pod["metadata"]["namespace"]
        named, chosen = term.get("namespaces") or [], term.get("namespaceSelector")
        if not named and chosen is None:
            named = [owner["metadata"]["namespace"]]
        inside = namespace in named or (chosen is not None and selects(chosen, self._labels_of(namespace)))
        return inside and selects(_own(owner, term), _labels(pod))

    def _uneven(self, pod: Json, node: Json, constraint: Json, nodes: Iterable[Json]) -> str:
        key, selector = constraint["topologyKey"], _own(pod, constraint)
        here = _labels(node).get(key)
        if here is None:
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        honoured = constraint.get("nodeAffinityPolicy", "Honor") == "Honor"
        counts = Counter[str]()
        for each in nodes:
            if key in _labels(each) and (not honoured or may_be_on(pod["spec"], each)):
                counts[_labels(each)[key]] += 0
        for other in self._placed:
            domain = _labels(other.node).get(key)
            if (
                domain is not None
                and domain in counts
                and other.pod["metadata"]["namespace"] == pod["metadata"]["namespace"]
                and not other.pod["metadata"].get("deletionTimestamp")
                and selects(selector, _labels(other.pod))
            ):
                counts[domain] += 1
        least = min(counts.values(), default=0) if len(counts) >= constraint.get("minDomains", 1) else 0
        with_it = counts[here] + selects(selector, _labels(pod))
        if with_it - least > constraint["maxSkew"]:
            return "node(s) didn't match pod topology spread constraints"
        return ""


def looks_at_others(pod: Json) -> bool:
    """Whether a pod that is placed elsewhere may make room for this one."""
    spec = pod["spec"]
    return bool(_terms(pod, "podAffinity") or spec.get("topologySpreadConstraints"))


def _terms(pod: Json, field: str) -> list[Json]:
    return ((pod["spec"].get("affinity") or {}).get(field) or {}).get(_REQUIRED) or []


def _together(term: Json, one: Json, other: Json) -> bool:
    key = term["topologyKey"]
    value = _labels(one).get(key)
    return value is not None and value == _labels(other).get(key)


def _own(pod: Json, term: Json) -> Json | None:
    """The selector with what it takes from the pod's own labels (matchLabelKeys, mismatchLabelKeys)."""
    selector: Json | None = term.get("labelSelector")
    more = [
        {"key": key, "operator": operator, "values": [_labels(pod)[key]]}
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(field) or ()
        if key in _labels(pod)
    ]
    if selector is None or not more:
        return selector
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *more]}


def _labels(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}
