"""How far a work has come on its cluster, and the rules that make any agent tell. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.hub.work.rollout import Progress, State

_WRITTEN_BY_AUTHOR = ("Progressing", "Degraded")


def progress_of(work: Json) -> Progress:
    """OCM's reading of a work that has the wanted spec; without Progressing it is done when Available."""
    conditions = (work.get("status") or {}).get("conditions") or []
    generation = work["metadata"].get("generation")
    found = {kind: get_condition(conditions, kind) for kind in ("Applied", "Available", *_WRITTEN_BY_AUTHOR)}
    fresh = {k: c for k, c in found.items() if c is not None and c.get("observedGeneration") == generation}
    if fresh.get("Applied", {}).get("status") != "True":
        return Progress(State.TO_APPLY)
    degraded = found["Degraded"]
    if degraded is not None and "Degraded" not in fresh:
        return Progress(State.TO_APPLY)  # not told of this spec yet
    judged = fresh.get("Progressing") or fresh.get("Available")
    if judged is None:
        return Progress(State.TO_APPLY)
    done = judged["status"] == ("False" if judged["type"] == "Progressing" else "True")
    if not done and degraded is not None and degraded["status"] == "True":
        return Progress(State.FAILED, _since(degraded))
    return Progress(State.SUCCEEDED if done else State.PROGRESSING, _since(judged))


def _since(condition: Json) -> datetime | None:
    text = condition.get("lastTransitionTime")
    return parse_time(text) if text else None


def with_rules(spec: Json) -> Json:
    """The spec with rules for Progressing and Degraded of the workloads in it, unless its author wrote any.

    Without them a Deployment counts as rolled out as soon as it exists.
    """
    configs = spec.get("manifestConfigs") or []
    written = {rule.get("condition") for config in configs for rule in config.get("conditionRules") or []}
    if written & set(_WRITTEN_BY_AUTHOR):
        return spec
    added = list(_configs((spec.get("workload") or {}).get("manifests") or []))
    return {**spec, "manifestConfigs": [*configs, *added]} if added else spec


def _configs(manifests: Iterable[Json]) -> Iterable[Json]:
    for manifest in manifests:
        group = str(manifest.get("apiVersion", "")).rpartition("/")[0]
        known = _RULES.get((group, manifest.get("kind", "")))
        if known is None:
            continue
        resource, rules = known
        metadata = manifest.get("metadata") or {}
        identifier = {"group": group, "resource": resource, "name": metadata.get("name", "")}
        identifier["namespace"] = metadata.get("namespace") or "default"
        yield {"resourceIdentifier": identifier, "conditionRules": [_rule(*rule) for rule in rules.items()]}


def _rule(condition: str, expression: str) -> Json:
    return {"condition": condition, "type": "CEL", "celExpressions": [expression]}


def _number(path: str, name: str) -> str:
    """An integer that is left out when it is 0."""
    return f"(has({path}.{name}) ? {path}.{name} : 0)"


def _unless(*done: str) -> str:
    """Progressing until the status is of this generation and all of this holds."""
    seen = f"{_number('object.status', 'observedGeneration')} >= object.metadata.generation"
    return f"!(has(object.status) && {' && '.join([seen, *done])})"


def _reports(kind: str, status: str) -> str:
    holds = f"object.status.conditions.exists(c, c.type == '{kind}' && c.status == '{status}')"
    return f"has(object.status) && has(object.status.conditions) && {holds}"


def _all_of(wanted: str, *counts: str) -> list[str]:
    return [f"{_number('object.status', count)} == {wanted}" for count in counts]


_REPLICAS = _number("object.spec", "replicas")
_SCHEDULED = _number("object.status", "desiredNumberScheduled")
_RULES: Mapping[tuple[str, str], tuple[str, dict[str, str]]] = {
    ("apps", "Deployment"): (
        "deployments",
        {
            "Progressing": _unless(*_all_of(_REPLICAS, "updatedReplicas", "replicas", "availableReplicas")),
            "Degraded": _reports("Progressing", "False"),  # its own progressDeadlineSeconds is over
        },
    ),
    ("apps", "StatefulSet"): (
        "statefulsets",
        {"Progressing": _unless(*_all_of(_REPLICAS, "updatedReplicas", "readyReplicas"))},
    ),
    ("apps", "DaemonSet"): (
        "daemonsets",
        {"Progressing": _unless(*_all_of(_SCHEDULED, "updatedNumberScheduled", "numberAvailable"))},
    ),
    ("batch", "Job"): (
        "jobs",
        {
            "Progressing": f"!({_reports('Complete', 'True')})",
            "Degraded": _reports("Failed", "True"),
        },
    ),
}
