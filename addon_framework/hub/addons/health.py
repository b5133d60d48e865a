"""Available and Progressing of a ManagedClusterAddOn, from the status of its works. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.api.names import CONFIG_SPEC_HASH_ANNOTATION
from addon_framework.hub.addons.works import WORKLOADS
from addon_framework.plugins import Health, Lease, Work, Workload

Values = dict[str, dict[str, Any]]


class Verdict(NamedTuple):
    """Status, reason and message of a condition."""

    status: str
    reason: str
    message: str


def feedback(works: Sequence[Json]) -> Values:
    """All feedback values by "<resource>/<namespace>/<name>"."""
    result: Values = {}
    for manifest in _manifests(works):
        meta = manifest.get("resourceMeta") or {}
        key = f"{meta.get('resource', '')}/{meta.get('namespace', '')}/{meta.get('name', '')}"
        values = (manifest.get("statusFeedback") or {}).get("values") or []
        if values:
            result[key] = {v["name"]: _field(v.get("fieldValue") or {}) for v in values}
    return result


def available(health: Health, works: Sequence[Json]) -> Verdict | None:
    """The condition Available; None where the lease tells and the registration agent reports it."""
    if isinstance(health, Lease):
        return None
    problem = _work_problem(works)
    if problem is not None:
        return problem
    if isinstance(health, Workload):
        return _workloads(works)
    if isinstance(health, Work) and (health.probes or health.check):
        return _probed(health, works)
    return Verdict("True", "WorkApplied", "The manifests are applied on the managed cluster")


def progress(addon: Json, works: Sequence[Json], hashes: dict[str, str]) -> Verdict:
    """The condition Progressing: done when every work has the wanted configuration and is applied."""
    made = get_condition(addon, "ManifestApplied")
    if made is not None and made["status"] == "False":
        return Verdict("False", "Failed", f"the manifests are not shipped: {made.get('message', '')}")
    if made is None:
        return Verdict("True", "Progressing", "the manifests are not made yet")
    for work in works:
        name, generation = work["metadata"]["name"], work["metadata"].get("generation")
        annotation = (work["metadata"].get("annotations") or {}).get(CONFIG_SPEC_HASH_ANNOTATION, "{}")
        if orjson.loads(annotation) != hashes:
            return Verdict("True", "Progressing", f"{name} has not got the configuration yet")
        for kind in ("Applied", "Available"):
            condition = get_condition(work, kind)
            if condition is None or condition.get("observedGeneration", generation) != generation:
                return Verdict("True", "Progressing", f"{name} is not {kind.lower()} yet")
            if condition["status"] == "False":
                if kind == "Applied":
                    return Verdict("False", "Failed", f"{name}: {_failure([work])}")
                return Verdict(
                    "True", "Progressing", f"{name} is not available: {condition.get('message', '')}"
                )
            if condition["status"] != "True":
                return Verdict("True", "Progressing", f"{name} is not {kind.lower()} yet")
    return Verdict("False", "Completed", "completed with no errors.")


def _work_problem(works: Sequence[Json]) -> Verdict | None:
    if not works:
        return Verdict("Unknown", "WorkNotFound", "The add-on has no ManifestWork yet")
    for work in works:
        name = work["metadata"]["name"]
        applied, present = get_condition(work, "Applied"), get_condition(work, "Available")
        if applied is not None and applied["status"] == "False":
            return Verdict("False", "WorkApplyFailed", f"{name}: {_failure([work])}")
        if applied is None or present is None:
            return Verdict("Unknown", "WorkNotApplied", f"{name} is not applied yet")
        if present["status"] != "True":
            return Verdict("False", "WorkApplyFailed", f"{name}: {present.get('message', '')}")
    return None


def _workloads(works: Sequence[Json]) -> Verdict:
    values = feedback(works)
    waiting, seen = [], 0
    for work in works:
        for obj in (work["spec"].get("workload") or {}).get("manifests") or []:
            if obj.get("kind") not in WORKLOADS:
                continue
            seen += 1
            metadata = obj["metadata"]
            key = f"{WORKLOADS[obj['kind']]}/{metadata.get('namespace', '')}/{metadata['name']}"
            if key not in values:
                if obj["kind"] != "Deployment" or (obj.get("spec") or {}).get("replicas", 1) != 0:
                    reason = f"{obj['kind']} {metadata['name']} has reported no status yet"
                    return Verdict("Unknown", "NoProbeResult", reason)
                continue
            if text := _unready(obj, values[key]):
                waiting.append(text)
    if waiting:
        return Verdict("False", "ProbeUnavailable", "; ".join(waiting))
    return Verdict("True", "ProbeAvailable", f"{seen} workloads are available")


def _unready(obj: Json, values: dict[str, Any]) -> str:
    name = obj["metadata"]["name"]
    if obj["kind"] == "Deployment":
        ready, wanted = values.get("ReadyReplicas") or 0, (obj.get("spec") or {}).get("replicas", 1)
        return (
            "" if ready >= 1 or wanted == 0 else f"Deployment {name}: {ready} of {wanted} replicas are ready"
        )
    ready, wanted = values.get("NumberReady") or 0, values.get("DesiredNumberScheduled") or 0
    return "" if ready >= wanted else f"DaemonSet {name}: {ready} of {wanted} pods are ready"


def _probed(health: Work, works: Sequence[Json]) -> Verdict:
    values = feedback(works)
    for probe in health.probes:
        key = f"{probe.resource}/{probe.namespace}/{probe.name}"
        if key not in values:
            return Verdict("Unknown", "NoProbeResult", f"{key} has reported no status yet")
    if health.check is not None:
        try:
            problem = health.check(values)
        except Exception as error:  # the author's function; its mistake is this add-on's condition only
            return Verdict(
                "Unknown", "NoProbeResult", f"health check failed: {type(error).__name__}: {error}"
            )
        if problem:
            return Verdict("False", "ProbeUnavailable", problem)
    return Verdict("True", "ProbeAvailable", "The probed objects are healthy")


def _failure(works: Sequence[Json]) -> str:
    """The first manifests that could not be applied, by name and message."""
    failed = []
    for manifest in _manifests(works):
        for condition in manifest.get("conditions") or []:
            if condition.get("type") == "Applied" and condition.get("status") == "False":
                meta = manifest.get("resourceMeta") or {}
                where = (
                    f"{meta.get('namespace')}/{meta.get('name')}"
                    if meta.get("namespace")
                    else meta.get("name")
                )
                failed.append(f"{meta.get('kind')} {where}: {condition.get('message', '')}")
    return "; ".join(failed[:3]) or "not applied"


def _manifests(works: Sequence[Json]) -> list[Json]:
    return [
        m for w in works for m in ((w.get("status") or {}).get("resourceStatus") or {}).get("manifests") or []
    ]


def _field(value: Json) -> Any:
    kind = value.get("type", "")
    return value.get({"Integer": "integer", "Boolean": "boolean", "JsonRaw": "jsonRaw"}.get(kind, "string"))
