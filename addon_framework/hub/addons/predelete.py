"""Work to be done on a cluster before an add-on goes: Jobs and Pods marked as pre-delete hooks. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.api.names import CONDITION_AVAILABLE, PRE_DELETE_DEADLINE_ANNOTATION
from addon_framework.hub.addons.health import Verdict, failed_manifests, feedback
from addon_framework.hub.addons.places import PRE_DELETE, Place
from addon_framework.hub.addons.works import addon_work
from addon_framework.hub.work.rollout import StrategyError, duration

CONDITION = "HookManifestCompleted"
COMPLETED, WAITING = "HookManifestIsCompleted", "HookManifestIsNotCompleted"  # OCM's reasons
EXCEEDED = "PreDeleteDeadlineExceeded"
NEVER = "never"
_OLD_LABEL = "open-cluster-management.io/addon-pre-delete"
_FEEDBACK = {
    "Job": ("batch", "jobs", {"JobFailed": '.status.conditions[?(@.type=="Failed")].status'}),
    "Pod": ("", "pods", {}),
}


def split_hooks(manifests: Sequence[Json]) -> tuple[list[Json], list[Json]]:
    """What is deployed, and what runs before the add-on goes."""
    hooks = [obj for obj in manifests if _is_hook(obj)]
    return [obj for obj in manifests if not _is_hook(obj)], hooks


def hook_work_name(addon: Json, place: Place) -> str:
    """OCM's name of the work with an add-on's hooks."""
    metadata = addon["metadata"]
    return f"addon-{metadata['name']}-pre-delete" + (
        f"-hosting-{metadata['namespace']}" if place.hosting else ""
    )


def hook_work(addon: Json, place: Place, hooks: Sequence[Json]) -> Json:
    """The work that runs the hooks and reports how they end."""
    configs = []
    for hook in hooks:
        group, resource, paths = _FEEDBACK[hook["kind"]]
        identifier = {"group": group, "resource": resource, "name": hook["metadata"]["name"]}
        identifier["namespace"] = hook["metadata"].get("namespace", "")
        rules: list[Json] = [{"type": "WellKnownStatus"}]
        if paths:
            named = [{"name": name, "path": path} for name, path in paths.items()]
            rules.append({"type": "JSONPaths", "jsonPaths": named})
        configs.append({"resourceIdentifier": identifier, "feedbackRules": rules})
    spec = {"workload": {"manifests": list(hooks)}, "manifestConfigs": configs}
    return addon_work(addon, place, hook_work_name(addon, place), spec)


def blocking(place: Place, work: Json | None, hooks: Sequence[Json]) -> list[str]:
    """What of the hooks is not done, and why; empty when all is done."""
    values, known = feedback([work] if work is not None else []), _applied(work)
    if hooks and work is not None and (failed := failed_manifests([work])):
        return [f"{work['metadata']['name']} cannot be applied: {failed}"]
    waiting = []
    for hook in hooks:
        name, namespace = hook["metadata"]["name"], hook["metadata"].get("namespace", "")
        key = f"{_FEEDBACK[hook['kind']][1]}/{namespace}/{name}"
        seen = values.get(key, {})
        if seen.get("JobComplete") == "True" or seen.get("PodPhase") == "Succeeded":
            continue
        failed_ = seen.get("JobFailed") == "True" or seen.get("PodPhase") == "Failed"
        state = "has failed" if failed_ else "is not done" if key in known else "has not reported yet"
        where = f" on cluster {place.cluster}" if place.hosting else ""
        waiting.append(f"{hook['kind']} {namespace}/{name}{where} {state}")
    return waiting


def verdict(waiting: Sequence[str], notes: Sequence[str], deadline: float, left: float) -> Verdict:
    """The condition HookManifestCompleted: what the deletion waits for, until when, and what comes then."""
    if not waiting:
        return Verdict("True", COMPLETED, "the pre-delete work is done")
    text = "; ".join([*waiting, *notes])
    if left <= 0:
        text = f"not done within {deadline:g} s: {text}; the add-on's manifests are removed without it"
        return Verdict("False", EXCEEDED, text)
    until = "" if math.isinf(deadline) else f"; after {deadline:g} s it goes on without"
    return Verdict("False", WAITING, f"the deletion waits: {text}{until}")


def deadline_of(default: float, *objects: Json | None) -> tuple[float, str]:
    """Seconds a deletion waits: as the first object's annotation says, else the default; and a problem."""
    for obj in objects:
        text = ((obj or {"metadata": {}})["metadata"].get("annotations") or {}).get(
            PRE_DELETE_DEADLINE_ANNOTATION
        )
        if text == NEVER:
            return math.inf, ""
        if text is not None:
            try:
                return duration(text, f"annotation {PRE_DELETE_DEADLINE_ANNOTATION}").total_seconds(), ""
            except StrategyError as error:
                return default, str(error)
    return default, ""


def seconds_left(addon: Json, deadline: float, now: datetime) -> float:
    """Until a deletion goes on without its hooks."""
    since = datetime.fromisoformat(addon["metadata"]["deletionTimestamp"])
    return deadline - (now - since).total_seconds()


def unreachable(cluster: Json | None) -> str:
    """That nothing will be reported from a cluster for now; "" when something may."""
    found = get_condition(cluster, CONDITION_AVAILABLE) if cluster is not None else None
    if cluster is None or found is None or found["status"] == "True":
        return ""
    return f"cluster {cluster['metadata']['name']} is not available"


def _applied(work: Json | None) -> set[str]:
    """What the cluster has told of at all."""
    status = (work or {}).get("status") or {}
    metas = [m.get("resourceMeta") or {} for m in (status.get("resourceStatus") or {}).get("manifests") or []]
    return {f"{m.get('resource', '')}/{m.get('namespace', '')}/{m.get('name', '')}" for m in metas}


def _is_hook(obj: Json) -> bool:
    metadata = obj.get("metadata") or {}
    marks: Mapping[str, str] = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
    return obj.get("kind") in _FEEDBACK and (PRE_DELETE in marks or _OLD_LABEL in marks)
