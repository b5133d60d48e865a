"""The two filters of OCM's scheduler: predicates, then taints and tolerations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.hub.placement.cel import CelSelector
from addon_framework.hub.placement.model import FilterResult, Fleet, Misconfigured
from addon_framework.hub.selectors import SelectorError, claims_of, labels_of, matches

PREDICATE = "Predicate"
TAINT_TOLERATION = "TaintToleration"
PREFER_NO_SELECT = "PreferNoSelect"


def by_predicates(spec: Json, clusters: list[Json], fleet: Fleet) -> FilterResult:
    """Keep clusters that one of the predicates accepts; no predicates accept every cluster."""
    predicates = spec.get("predicates") or []
    result = FilterResult(PREDICATE)
    if fleet.strict and not clusters:
        return result  # OCM looks at the predicates only when there is something to select
    try:
        checks = [_Predicate(p, index, fleet) for index, p in enumerate(predicates)]
        for cluster in clusters:
            name = cluster["metadata"]["name"]
            reasons = [check.refuses(cluster) for check in checks]
            if not checks or "" in reasons:
                result.kept.append(name)
            else:
                result.rejected[name] = "; ".join(reasons)
    except SelectorError as error:
        raise Misconfigured(PREDICATE, str(error)) from error
    return result


class _Predicate:
    """One entry of spec.predicates: labels and claims and CEL must all hold."""

    def __init__(self, predicate: Mapping[str, Any], index: int, fleet: Fleet) -> None:
        selector = predicate.get("requiredClusterSelector") or {}
        self._where = f"spec.predicates[{index}].requiredClusterSelector"
        self._labels = selector.get("labelSelector")
        self._claims = selector.get("claimSelector")
        matches(self._labels, {}, f"{self._where}.labelSelector")  # raises for what can never be evaluated
        matches(self._claims, {}, f"{self._where}.claimSelector")
        expressions = (selector.get("celSelector") or {}).get("celExpressions") or []
        where, size = f"{self._where}.celSelector", len(fleet.clusters)
        self._cel = CelSelector(expressions, where, fleet.scores, fleet.strict, size)

    def refuses(self, cluster: Json) -> str:
        """The reason why the cluster does not match, "" when it does."""
        if not matches(self._labels, labels_of(cluster), f"{self._where}.labelSelector"):
            return f"{self._where}.labelSelector does not match the cluster's labels"
        if not matches(self._claims, claims_of(cluster), f"{self._where}.claimSelector"):
            return f"{self._where}.claimSelector does not match the cluster's claims"
        return self._cel.refuses(cluster)


def by_taints(
    spec: Json, clusters: list[Json], fleet: Fleet, avoided: dict[str, str]
) -> tuple[FilterResult, float | None]:
    """Keep clusters whose taints are tolerated; also the seconds until the first toleration runs out.

    Clusters that are better not selected are kept, and put into `avoided` with the reason.
    """
    tolerations = spec.get("tolerations") or []
    result = FilterResult(TAINT_TOLERATION)
    requeue: float | None = None
    for index, toleration in enumerate(tolerations if clusters or not fleet.strict else ()):
        _check_toleration(toleration, index)
    for cluster in clusters:
        name = cluster["metadata"]["name"]
        reason = ""
        for taint in (cluster.get("spec") or {}).get("taints") or []:
            if fleet.strict and taint.get("effect") == PREFER_NO_SELECT:
                continue
            tolerated, seconds, why = tolerates(taint, tolerations, name in fleet.current, fleet.now)
            if seconds is not None:
                requeue = seconds if requeue is None else min(requeue, seconds)
            if tolerated:
                continue
            if taint.get("effect") == PREFER_NO_SELECT:
                avoided.setdefault(name, why)
                continue
            reason = why
            break
        if reason:
            result.rejected[name] = reason
        else:
            result.kept.append(name)
    return result, requeue


def tolerates(
    taint: Json, tolerations: list[Json], in_decision: bool, now: datetime
) -> tuple[bool, float | None, str]:
    """Whether a taint is tolerated, for how many seconds more if not for ever, and why it is not."""
    effect = taint.get("effect", "")
    if effect in (PREFER_NO_SELECT, "NoSelectIfNew") and in_decision:
        return True, None, ""  # neither makes a decision move
    text = f"{taint.get('key', '')}={taint.get('value', '')}:{effect}"
    reason = f"taint {text} is not tolerated"
    for toleration in tolerations:
        if not _covers(toleration, taint):
            continue
        seconds = toleration.get("tolerationSeconds")
        if seconds is None:
            return True, None, ""
        added = taint.get("timeAdded")
        left = (parse_time(added) + timedelta(seconds=seconds) - now).total_seconds() if added else 0.0
        if left > 0:
            return True, left, ""
        reason = f"taint {text} was tolerated for {seconds} s, which are over"
    return False, None, reason


def _covers(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("value", "") == taint.get("value", ""))


def _check_toleration(toleration: Json, index: int) -> None:
    where = f"spec.tolerations[{index}]"
    operator = toleration.get("operator") or "Equal"
    if operator not in ("Equal", "Exists"):
        raise Misconfigured(TAINT_TOLERATION, f'{where}.operator: "{operator}" is not Equal or Exists')
    if not toleration.get("key") and operator != "Exists":
        raise Misconfigured(TAINT_TOLERATION, f"{where}.operator: must be Exists when key is empty")
    if operator == "Exists" and toleration.get("value"):
        raise Misconfigured(TAINT_TOLERATION, f"{where}.value: must be empty when operator is Exists")
