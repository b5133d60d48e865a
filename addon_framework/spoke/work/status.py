"""The status of a ManifestWork from what became of its manifests. Pure."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json
from addon_framework.api.work import MAX_MANIFEST_BYTES
from addon_framework.api.workload_rules import (
    AVAILABLE,
    COMPLETE,
    DEGRADED,
    PROGRESSING,
    WORKLOADS_NOT_AVAILABLE,
    workload,
)
from addon_framework.spoke.work import feedback, rules
from addon_framework.spoke.work.targets import Options, Target

_OWN = ("Applied", "Available", "Deleting")
_ANY = (PROGRESSING, DEGRADED)  # True of a work when it is of one of its manifests
_DERIVED = "DerivedFromKinds"  # no rule of an author: what the kinds of the objects say
_PER_MANIFEST = ("Applied", "Available", "StatusFeedbackSynced")
_SHOWN = 3


@dataclass
class Outcome:
    """What became of one manifest: the object as it is now, and why it could not be applied."""

    ordinal: int
    manifest: Json
    target: Target | None = None
    options: Options = field(default_factory=Options)
    live: Json | None = None
    error: str = ""
    reason: str = "AppliedManifestFailed"
    refused: bool = False  # its executor may not have it, so nothing of it goes back

    @property
    def meta(self) -> Json:
        """resourceMeta."""
        group, _, version = str(self.manifest.get("apiVersion", "")).rpartition("/")
        metadata = self.manifest.get("metadata") or {}
        return {
            "ordinal": self.ordinal,
            "group": group,
            "version": version,
            "kind": self.manifest.get("kind", ""),
            "resource": self.target.resource.plural if self.target else "",
            "name": metadata.get("name", ""),
            "namespace": self.target.namespace if self.target else metadata.get("namespace", ""),
        }


def work_status(work: Json, outcomes: Sequence[Outcome], now: str | None = None) -> Json:
    """The whole status; transition times move only where a status does."""
    status: Json = copy.deepcopy(work.get("status") or {})
    before = {
        _identity(entry.get("resourceMeta") or {}): entry
        for entry in (status.get("resourceStatus") or {}).get("manifests") or []
    }
    manifests = [_manifest(outcome, before.get(_identity(outcome.meta)), now) for outcome in outcomes]
    status["resourceStatus"] = {"manifests": manifests}
    conditions = status.setdefault("conditions", [])
    generation = work["metadata"].get("generation")

    def put(kind: str, verdict: str, reason: str, message: str) -> None:
        set_condition(conditions, kind, verdict, reason, message, generation=generation, now=now)

    put("Applied", *_applied(outcomes))
    put("Available", *_available(outcomes))
    ruled = _aggregate(outcomes, manifests)
    for kind, (verdict, message) in ruled.items():
        put(kind, verdict, "ConditionRulesAggregated", message)
    derived = _derive(outcomes)
    for kind, (verdict, message) in derived.items():
        put(kind, verdict, _DERIVED, message)
    computed = ("ConditionRulesAggregated", _DERIVED)
    status["conditions"] = [
        c for c in conditions if c["type"] in ruled | derived or c.get("reason") not in computed
    ]
    return status


def is_over(work: Json) -> bool:
    """By its author's rules the work is complete as it is now, and left alone. A new spec is new work."""
    said = [get_condition(work, kind) for kind in ("Complete", "Applied")]
    generation = work["metadata"].get("generation")
    return all(
        c is not None
        and c["status"] == "True"
        and c.get("observedGeneration") == generation
        and c.get("reason") != _DERIVED
        for c in said
    )


def refuse_repeated(outcomes: Iterable[Outcome]) -> None:
    """An object may be there once: two manifests of it would undo each other for ever."""
    first: dict[tuple[str, str, str, str], int] = {}
    for outcome in outcomes:
        if outcome.target is None:
            continue
        resource, namespace, name = outcome.target
        place = resource.group, resource.plural, namespace, name
        at = first.setdefault(place, outcome.ordinal)
        if at != outcome.ordinal:
            outcome.error = (
                f"spec.workload.manifests[{outcome.ordinal}] is the same object as manifests[{at}], "
                "which is applied: leave one out"
            )


def too_large(work: Json) -> str:
    """Why no agent takes the work, "" when its size is within the limit."""
    size = sum(len(orjson.dumps(m)) for m in (work["spec"].get("workload") or {}).get("manifests") or [])
    if size <= MAX_MANIFEST_BYTES:
        return ""
    return (
        f"spec.workload.manifests has {size} bytes of JSON and a ManifestWork holds at most "
        f"{MAX_MANIFEST_BYTES}: divide the objects among several works. What is there already stays as it is"
    )


def refused_status(work: Json, problem: str) -> Json:
    """The status of a work that is not looked at further."""
    status: Json = copy.deepcopy(work.get("status") or {})
    generation = work["metadata"].get("generation")
    conditions = status.setdefault("conditions", [])
    set_condition(conditions, "Applied", False, "ManifestWorkTooLarge", problem, generation=generation)
    return status


def complete_before(work: Json, target_meta: Json) -> bool:
    """Whether an earlier look has found the manifest complete, by its author's rule."""
    for entry in ((work.get("status") or {}).get("resourceStatus") or {}).get("manifests") or []:
        if _identity(entry.get("resourceMeta") or {}) == _identity(target_meta):
            condition = get_condition(entry.get("conditions") or [], "Complete")
            return condition is not None and condition["status"] == "True"
    return False


def _manifest(outcome: Outcome, before: Json | None, now: str | None) -> Json:
    conditions: list[Json] = copy.deepcopy((before or {}).get("conditions") or [])
    shown = None if outcome.refused else outcome.live
    results = [] if shown is None else rules.evaluate(shown, outcome.options.condition_rules)
    kept = {*_PER_MANIFEST, *(rule.get("condition") for rule in outcome.options.condition_rules)}
    conditions = [c for c in conditions if c["type"] in kept]

    def put(kind: str, verdict: str | bool, reason: str, message: str) -> None:
        set_condition(conditions, kind, verdict, reason, message, now=now)

    if outcome.error:
        put("Applied", False, outcome.reason, outcome.error)
    else:
        put("Applied", True, "AppliedManifestComplete", "Apply manifest complete")
    entry: Json = {"resourceMeta": outcome.meta, "conditions": conditions, "statusFeedback": {}}
    if outcome.live is None:
        put("Available", False, "ResourceNotAvailable", "Resource is not available")
        return entry
    if _is_available(outcome):
        put("Available", True, "ResourceAvailable", "Resource is available")
    else:
        put("Available", False, "WorkloadNotAvailable", f"{_name(outcome)} is there and not available")
    if shown is None:
        put("StatusFeedbackSynced", False, "StatusFeedbackSyncFailed", "the executor may not have the object")
        return entry
    values, problems = feedback.collect(shown, outcome.options.feedback_rules)
    if values:
        entry["statusFeedback"] = {"values": values}
    if problems:
        put("StatusFeedbackSynced", False, "StatusFeedbackSyncFailed", "; ".join(problems))
    elif outcome.options.feedback_rules:
        put("StatusFeedbackSynced", True, "StatusFeedbackSynced", "")
    else:
        put("StatusFeedbackSynced", True, "NoStatusFeedbackSynced", "")
    for result in results:
        put(*result)
    return entry


def _applied(outcomes: Sequence[Outcome]) -> tuple[str, str, str]:
    failed = [f"{_name(o)}: {o.error}" for o in outcomes if o.error]
    if failed:
        return "False", "AppliedManifestWorkFailed", f"Failed to apply manifest work: {_listed(failed)}"
    return "True", "AppliedManifestWorkComplete", "Apply manifest work complete"


def _available(outcomes: Sequence[Outcome]) -> tuple[str, str, str]:
    """Whether all objects are there, and what they run is available."""
    missing = [_name(o) for o in outcomes if o.live is None]
    waiting = [_name(o) for o in outcomes if o.live is not None and not _is_available(o)]
    if missing or waiting:
        count = f"{len(missing) + len(waiting)} of {len(outcomes)} resources are not available"
        reason = "ResourcesNotAvailable" if missing else WORKLOADS_NOT_AVAILABLE
        return "False", reason, f"{count}: {_listed(missing + waiting)}"
    return "True", "ResourcesAvailable", "All resources are available"


def _is_available(outcome: Outcome) -> bool:
    return "False" not in rules.derive(outcome.live or {}, [AVAILABLE]).values()


def _aggregate(outcomes: Iterable[Outcome], manifests: Sequence[Json]) -> dict[str, tuple[str, str]]:
    """Of the conditions that rules make: False wins, except for Progressing and Degraded, where True does."""
    found: defaultdict[str, list[Json]] = defaultdict(list)
    for outcome, entry in zip(outcomes, manifests, strict=True):
        for kind in _ruled(outcome):
            condition = get_condition(entry["conditions"], kind)
            if condition is not None and kind not in _OWN:
                found[kind].append(condition)
    result = {}
    for kind, conditions in found.items():
        status = _sum(kind, [c["status"] for c in conditions])
        chosen = next(c for c in conditions if c["status"] == status)
        result[kind] = status, chosen.get("message", "")
    return result


def _derive(outcomes: Sequence[Outcome]) -> dict[str, tuple[str, str]]:
    """What nobody wrote a rule for. A work is complete by itself only if all that it runs comes to an end."""
    written = {kind for outcome in outcomes for kind in _ruled(outcome)}
    unknown = [_name(o) for o in outcomes if o.error or o.live is None]
    result: dict[str, tuple[str, str]] = {}
    for kind in (*_ANY, COMPLETE):
        if kind in written:
            continue
        running = [o for o in outcomes if workload(o.manifest) is not None]
        said = [(o, rules.derive(o.live or {}, [kind]).get(kind)) for o in running]
        if kind == COMPLETE and (not said or any(status is None for _, status in said)):
            continue
        known = [(o, status) for o, status in said if status is not None]
        status = _sum(kind, [status for _, status in known]) if known else "False"
        if unknown and kind == PROGRESSING:
            result[kind] = "True", f"not applied yet: {_listed(unknown)}"
            continue
        result[kind] = status, _listed([_name(o) for o, s in known if s == status]) if known else ""
    return result


def _sum(kind: str, statuses: Sequence[str]) -> str:
    order = ("True", "Unknown", "False") if kind in _ANY else ("False", "Unknown", "True")
    return next(status for status in order if status in statuses)


def _ruled(outcome: Outcome) -> set[str]:
    return {rule.get("condition", "") for rule in outcome.options.condition_rules}


def _identity(meta: Json) -> tuple[str, ...]:
    return tuple(str(meta.get(name) or "") for name in ("group", "kind", "namespace", "name"))


def _name(outcome: Outcome) -> str:
    meta = outcome.meta
    where = f"{meta['namespace']}/{meta['name']}" if meta["namespace"] else meta["name"]
    return f"{meta['kind']} {where}"


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _SHOWN
    return "; ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
