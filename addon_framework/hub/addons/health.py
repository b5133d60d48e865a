"""Conditions of a ManagedClusterAddOn from the status of its works. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json
from addon_framework.api.names import CONFIG_SPEC_HASH_ANNOTATION
from addon_framework.api.workload_rules import WORKLOADS_NOT_AVAILABLE
from addon_framework.hub.addons.places import hosting_cluster
from addon_framework.hub.addons.works import WORKLOADS
from addon_framework.plugins import Health, Lease, Work, Workload

Values = dict[str, dict[str, Any]]


class Verdict(NamedTuple):
    """Status, reason and message of a condition."""

    status: str
    reason: str
    message: str


AS_EXPECTED = Verdict("False", "AsExpected", "")
_DEGRADED_REASONS = (
    "AsExpected",
    "ManifestsNotMade",
    "ManifestsNotApplied",
    "WorkDegraded",
    "ReplicasMissing",
)


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
        return _workloads(health, works)
    if isinstance(health, Work) and (health.probes or health.check):
        return _probed(health, works)
    fine = Verdict("True", "WorkApplied", "The manifests are applied on the managed cluster")
    return _waiting(works) or fine


def applied(works: Sequence[Json], written: Collection[str]) -> Verdict | None:
    """The condition ManifestApplied, once the cluster has told of every work; None before.

    `written` are the works that were changed just now: what is known of them is of before.
    """
    waiting = False
    for work in works:
        name, generation = work["metadata"]["name"], work["metadata"].get("generation")
        condition = get_condition(work, "Applied")
        if (
            name in written
            or condition is None
            or condition.get("observedGeneration", generation) != generation
        ):
            waiting = True
        elif condition["status"] != "True":
            text = f"{name}: {failed_manifests([work]) or condition.get('message', '')}"
            return Verdict("False", "AddonManifestAppliedFailed", text)
    if waiting:
        return None
    text = "manifests of addon are applied successfully" if works else "no manifest need to apply"
    return Verdict("True", "AddonManifestApplied", text)


def degraded(works: Sequence[Json]) -> Verdict:
    """The condition Degraded: the add-on is there, and something of it is not as it should be."""
    problems = []
    for work in works:
        if failed := failed_manifests([work]):
            problems.append(Verdict("True", "ManifestsNotApplied", f"{work['metadata']['name']}: {failed}"))
        condition = get_condition(work, "Degraded")
        if condition is not None and condition["status"] == "True":
            text = f"{work['metadata']['name']}: {condition.get('message', '')}"
            problems.append(Verdict("True", "WorkDegraded", text))
    if missing := _missing(works):
        problems.append(Verdict("True", "ReplicasMissing", missing))
    return problems[0] if problems else AS_EXPECTED


def set_degraded(conditions: list[Json], found: Verdict) -> None:
    """The condition is free for the add-on's own agent: what it has written stays."""
    present = get_condition(conditions, "Degraded")
    if present is None or present.get("reason") in _DEGRADED_REASONS:
        set_condition(conditions, "Degraded", *found)


def progress(addon: Json, works: Sequence[Json], hashes: dict[str, str]) -> Verdict:
    """The condition Progressing: done when every work has the wanted configuration and is applied."""
    kinds = ["ManifestApplied"]
    if hosting_cluster(addon) is not None:
        kinds = ["HostingClusterValidity", "ManifestApplied", "HostingManifestApplied"]
    for kind in kinds:
        condition = get_condition(addon, kind)
        if condition is None:
            return Verdict("True", "Progressing", "the manifests are not applied yet")
        if condition["status"] == "False":
            return Verdict("False", "Failed", condition.get("message", ""))
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
                    return Verdict("False", "Failed", f"{name}: {failed_manifests([work]) or 'not applied'}")
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
            return Verdict("False", "WorkApplyFailed", f"{name}: {failed_manifests([work]) or 'not applied'}")
        if applied is None or present is None:
            return Verdict("Unknown", "WorkNotApplied", f"{name} is not applied yet")
        if present["status"] != "True" and present.get("reason") != WORKLOADS_NOT_AVAILABLE:
            return Verdict("False", "WorkApplyFailed", f"{name}: {present.get('message', '')}")
    return None


def _waiting(works: Sequence[Json]) -> Verdict | None:
    """What runs and does not serve, where nobody has said another way to tell."""
    for work in works:
        present = get_condition(work, "Available")
        if present is not None and present["status"] != "True":
            text = f"{work['metadata']['name']}: {present.get('message', '')}"
            return Verdict("False", WORKLOADS_NOT_AVAILABLE, text)
    return None


def _workloads(health: Workload, works: Sequence[Json]) -> Verdict:
    values = feedback(works)
    waiting, seen = [], 0
    for obj, key in _workload_manifests(works):
        if obj["kind"] not in health.kinds:
            continue
        seen += 1
        if key not in values:
            if obj["kind"] == "DaemonSet" or _wanted(obj) != 0:
                reason = f"{obj['kind']} {obj['metadata']['name']} has reported no status yet"
                return Verdict("Unknown", "NoProbeResult", reason)
        elif text := _unready(obj, values[key]):
            waiting.append(text)
    if waiting:
        return Verdict("False", "ProbeUnavailable", "; ".join(waiting))
    return Verdict("True", "ProbeAvailable", f"{seen} workloads are available")


def _unready(obj: Json, values: dict[str, Any]) -> str:
    """As OCM has it: of a Deployment one replica will do, a DaemonSet is wanted everywhere."""
    ready, wanted, what = _replicas(obj, values)
    enough = ready >= wanted if obj["kind"] == "DaemonSet" else ready >= 1 or wanted == 0
    return "" if enough else f"{obj['kind']} {obj['metadata']['name']}: {ready} of {wanted} {what} are ready"


def _missing(works: Sequence[Json]) -> str:
    """The workloads that have fewer replicas than they should, where their status is known."""
    values, missing = feedback(works), []
    for obj, key in _workload_manifests(works):
        if key in values:
            ready, wanted, what = _replicas(obj, values[key])
            if ready < wanted:
                text = f"{obj['kind']} {obj['metadata']['name']}: {ready} of {wanted} {what} are ready"
                missing.append(text)
    return "; ".join(missing)


def _replicas(obj: Json, values: dict[str, Any]) -> tuple[int, int, str]:
    """Ready ones, wanted ones, and what they are called."""
    if obj["kind"] == "DaemonSet":
        return values.get("NumberReady") or 0, values.get("DesiredNumberScheduled") or 0, "pods"
    return values.get("ReadyReplicas") or 0, _wanted(obj), "replicas"


def _wanted(obj: Json) -> int:
    spec = obj.get("spec")
    wanted = spec.get("replicas", 1) if isinstance(spec, dict) else 1
    return wanted if isinstance(wanted, int) else 1  # what else it may be, the cluster refuses


def _workload_manifests(works: Sequence[Json]) -> Iterator[tuple[Json, str]]:
    """Every workload in the works, and under which key its feedback is."""
    for work in works:
        for obj in (work["spec"].get("workload") or {}).get("manifests") or []:
            if obj.get("kind") in WORKLOADS:
                metadata = obj["metadata"]
                yield obj, f"{WORKLOADS[obj['kind']]}/{metadata.get('namespace', '')}/{metadata['name']}"


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
            return Verdict("False", "ProbeUnavailable", str(problem))
    return Verdict("True", "ProbeAvailable", "The probed objects are healthy")


def failed_manifests(works: Sequence[Json]) -> str:
    """The first manifests that could not be applied, by name and message; "" when there are none."""
    failed = []
    for manifest in _manifests(works):
        for condition in manifest.get("conditions") or []:
            if condition.get("type") == "Applied" and condition.get("status") == "False":
                meta = manifest.get("resourceMeta") or {}
                where = (
                    f"{meta['namespace']}/{meta.get('name')}" if meta.get("namespace") else meta.get("name")
                )
                failed.append(f"{meta.get('kind')} {where}: {condition.get('message', '')}")
    return "; ".join(failed[:3])


def _manifests(works: Sequence[Json]) -> list[Json]:
    return [
        m for w in works for m in ((w.get("status") or {}).get("resourceStatus") or {}).get("manifests") or []
    ]


def _field(value: Json) -> Any:
    kind = value.get("type", "")
    return value.get({"Integer": "integer", "Boolean": "boolean", "JsonRaw": "jsonRaw"}.get(kind, "string"))
