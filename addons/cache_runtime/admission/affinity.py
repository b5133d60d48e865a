"""Pods go where their data is: the labels and weights are Fluid's. Pure.

https://github.com/fluid-cloudnative/fluid/blob/master/docs/en/userguide/tiered_locality.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.names import COUNT_LABEL

_TIERS = (("topology.kubernetes.io/zone", 50), ("topology.kubernetes.io/region", 20))
_NODE_WEIGHT = _WITHOUT_WEIGHT = 100


@dataclass(frozen=True)
class Cached:
    """A Dataset that a pod uses: the label of the nodes with its cache, and the labels that those have.

    `follows`: nodes have it because pods use it there, so none can be required.
    """

    name: str
    label: str
    nodes: Sequence[Json] = ()
    follows: bool = False


def attract(pod: Json, datasets: Sequence[Cached]) -> None:
    """Prefers the caches' nodes, then their zones and regions; requires them where a label says so."""
    labels = pod["metadata"].get("labels") or {}
    asked = (d for d in datasets if labels.get(f"fluid.io/dataset.{d.name}.sched") == "required")
    required = [dataset for dataset in asked if not dataset.follows]
    keys = _keys(pod)
    preferred = []
    for dataset in datasets:
        if dataset in required:
            continue
        preferred.append((_NODE_WEIGHT, _is(dataset.label, ["true"])))
        for key, weight in _TIERS:
            values = sorted({label for node in dataset.nodes if (label := _labels(node).get(key))})
            if values and key not in keys:  # whoever asks for a zone has decided
                preferred.append((weight, _is(key, values)))
    _prefer(pod, preferred)
    # Every one of them: terms are alternatives, the expressions of one term are not.
    _require(pod, [_is(dataset.label, ["true"]) for dataset in required])


def keep_away(pod: Json) -> None:
    """A pod without data leaves the nodes with caches to others, if it can."""
    _prefer(pod, [(_WITHOUT_WEIGHT, {"key": COUNT_LABEL, "operator": "DoesNotExist"})])


def _prefer(pod: Json, wanted: Sequence[tuple[int, Json]]) -> None:
    if wanted:
        terms = _node_affinity(pod).setdefault("preferredDuringSchedulingIgnoredDuringExecution", [])
        terms += [{"weight": w, "preference": {"matchExpressions": [each]}} for w, each in wanted]


def _require(pod: Json, expressions: Sequence[Json]) -> None:
    if not expressions:
        return
    required = _node_affinity(pod).setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.setdefault("nodeSelectorTerms", [])
    for term in terms or [{}]:
        term["matchExpressions"] = [*(term.get("matchExpressions") or []), *expressions]
        if not terms:
            terms.append(term)


def _keys(pod: Json) -> set[str]:
    """Labels by which the pod chooses nodes itself."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []
    terms = [
        *(required.get("nodeSelectorTerms") or []),
        *(each.get("preference") or {} for each in preferred),
    ]
    found = {e.get("key", "") for term in terms for e in term.get("matchExpressions") or []}
    return found | set(pod["spec"].get("nodeSelector") or {})


def _node_affinity(pod: Json) -> Json:
    affinity = pod["spec"].get("affinity") or {}
    pod["spec"]["affinity"] = affinity
    found: Json = affinity.setdefault("nodeAffinity", {})
    return found


def _labels(node: Json) -> dict[str, str]:
    return node["metadata"].get("labels") or {}


def _is(key: str, values: Sequence[str]) -> Json:
    return {"key": key, "operator": "In", "values": list(values)}
