"""Work to be done on a cluster before an add-on goes: Jobs and Pods marked as pre-delete hooks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_GROUP
from addon_framework.hub.addons.health import Verdict, feedback
from addon_framework.hub.addons.works import addon_work

PRE_DELETE = f"{ADDON_GROUP}/addon-pre-delete"  # annotation (or label, as OCM had it) and finalizer
CONDITION = "HookManifestCompleted"
_FEEDBACK = {
    "Job": ("batch", "jobs", {"JobFailed": '.status.conditions[?(@.type=="Failed")].status'}),
    "Pod": ("", "pods", {}),
}


def split_hooks(manifests: Sequence[Json]) -> tuple[list[Json], list[Json]]:
    """What is deployed, and what runs before the add-on goes."""
    hooks = [obj for obj in manifests if _is_hook(obj)]
    return [obj for obj in manifests if not _is_hook(obj)], hooks


def hook_work(addon: Json, hooks: Sequence[Json]) -> Json:
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
    return addon_work(addon, f"addon-{addon['metadata']['name']}-pre-delete", spec)


def verdict(work: Json | None, hooks: Sequence[Json]) -> Verdict:
    """The condition HookManifestCompleted: which hooks the deletion waits for, and why."""
    values = feedback([work] if work is not None else [])
    waiting = []
    for hook in hooks:
        name, namespace = hook["metadata"]["name"], hook["metadata"].get("namespace", "")
        seen = values.get(f"{_FEEDBACK[hook['kind']][1]}/{namespace}/{name}", {})
        if seen.get("JobComplete") == "True" or seen.get("PodPhase") == "Succeeded":
            continue
        failed = seen.get("JobFailed") == "True" or seen.get("PodPhase") == "Failed"
        state = "has failed" if failed else "is not done" if seen else "has not reported yet"
        waiting.append(f"{hook['kind']} {namespace}/{name} {state}")
    if waiting:
        return Verdict("False", "HookManifestNotCompleted", "the deletion waits: " + "; ".join(waiting))
    return Verdict("True", "HookManifestCompleted", "the pre-delete work is done")


def seconds_left(addon: Json, deadline: float, now: datetime) -> float:
    """Until a deletion goes on without its hooks."""
    since = datetime.fromisoformat(addon["metadata"]["deletionTimestamp"])
    return deadline - (now - since).total_seconds()


def _is_hook(obj: Json) -> bool:
    metadata = obj.get("metadata") or {}
    marks = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
    return obj.get("kind") in _FEEDBACK and PRE_DELETE in marks
