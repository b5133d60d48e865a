"""The status of a ManifestWorkReplicaSet, with OCM's conditions and reasons. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json, copy_json
from addon_framework.hub.work.rollout import Plan, Progress, State

VERIFIED, ROLLED_OUT, APPLIED = "PlacementVerified", "PlacementRolledOut", "ManifestworkApplied"
NOT_FOUND, EMPTY = "PlacementDecisionNotFound", "PlacementDecisionEmpty"
AS_EXPECTED, NOT_AS_EXPECTED = "AsExpected", "NotAsExpected"
_COUNTED = {
    "applied": "Applied",
    "available": "Available",
    "progressing": "Progressing",
    "degraded": "Degraded",
}
_SHOWN = 3


@dataclass
class Part:
    """What became of one placement. `problem` is a reason and a message why it could not be followed."""

    placement: str
    groups: int = 0
    clusters: frozenset[str] = frozenset()
    progress: Mapping[str, Progress] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    problem: tuple[str, str] | None = None


def status_of(replica_set: Json, parts: Sequence[Part], works: Iterable[Json], errors: Sequence[str]) -> Json:
    """The whole status, from its placements, its works as they are, and what could not be written."""
    status: Json = copy_json(replica_set.get("status") or {})
    alive = [work for work in works if not work["metadata"].get("deletionTimestamp")]
    by_cluster = {work["metadata"]["namespace"]: work for work in alive}
    given = {cluster for part in parts for cluster in part.plan.wanted}
    present = {work["metadata"]["namespace"] for work in alive} | given
    summary = {name: sum(_is_now(work, kind) for work in alive) for name, kind in _COUNTED.items()}
    summary["total"] = len(present)
    summary["desiredTotal"] = sum(len(part.clusters) for part in parts)
    summary["updated"] = len(given)
    status["summary"] = summary
    status["placementSummary"] = [_placement(part, by_cluster) for part in parts]
    generation = replica_set["metadata"].get("generation")
    conditions = status.setdefault("conditions", [])

    def put(kind: str, good: bool, reason: str, message: str) -> None:
        set_condition(conditions, kind, good, reason, message, generation=generation)

    put(VERIFIED, *_verified(parts))
    put(ROLLED_OUT, *_rolled_out(parts))
    moving = sum(len(part.plan.fresh) + sum(map(_is_moving, part.progress.values())) for part in parts)
    put(APPLIED, *_applied(summary, moving, errors))
    return status


def refused(replica_set: Json, problem: str) -> Json:
    """The status when no work can be made at all."""
    status: Json = copy_json(replica_set.get("status") or {})
    generation = replica_set["metadata"].get("generation")
    conditions = status.setdefault("conditions", [])
    set_condition(conditions, APPLIED, False, NOT_AS_EXPECTED, problem, generation=generation)
    return status


def deleting(replica_set: Json, works: Sequence[Json]) -> Json:
    """The status while a foreground deletion waits for the works: for which, and what holds them."""
    status: Json = copy_json(replica_set.get("status") or {})
    left = sorted(
        f"{work['metadata']['namespace']}/{work['metadata']['name']}{_held(work)}" for work in works
    )
    message = f"Deleting: waiting for {len(left)} ManifestWorks to go: {_listed(left)}"
    set_condition(status.setdefault("conditions", []), APPLIED, False, "Processing", message)
    return status


def _held(work: Json) -> str:
    said = get_condition(work, "Deleting")
    if said is not None and said.get("message"):
        return f" ({said['message']})"
    return " (the cluster's agent has not answered)" if work["metadata"].get("finalizers") else ""


def _placement(part: Part, works: Mapping[str, Json]) -> Json:
    applied = len(part.plan.wanted)
    text = f"{part.groups} ({applied} / {len(part.clusters)} clusters applied)"
    given = [works[cluster] for cluster in part.plan.wanted if cluster in works]
    summary = {name: sum(_is_now(work, kind) for work in given) for name, kind in _COUNTED.items()}
    return {
        "name": part.placement,
        "availableDecisionGroups": text,
        "summary": {**summary, "total": applied},
    }


def _verified(parts: Sequence[Part]) -> tuple[bool, str, str]:
    for part in parts:
        if part.problem is not None:
            return False, *part.problem
    if not any(part.clusters for part in parts):
        return False, EMPTY, "No cluster is selected by the placements"
    return True, AS_EXPECTED, ""


def _rolled_out(parts: Sequence[Part]) -> tuple[bool, str, str]:
    total = sum(len(part.clusters) for part in parts)
    count = dict.fromkeys(State, 0)
    timed_out = [cluster for part in parts for cluster in part.plan.timed_out]
    for part in parts:
        for cluster, progress in part.progress.items():
            if cluster in part.clusters:
                late = cluster in part.plan.timed_out
                count[State.TIMED_OUT if late else progress.state] += 1
    succeeded = count[State.SUCCEEDED]
    complete = succeeded == total and all(part.problem is None for part in parts)
    text = f"{succeeded} of {total} clusters have succeeded"
    failed = [c for p in parts for c, progress in p.progress.items() if progress.state is State.FAILED]
    if bad := sorted({*failed, *timed_out}):
        text += f"; failed or timed out: {_listed(bad)}"
    if stopped := [part.placement for part in parts if part.plan.breached]:
        text += f"; stopped for placement {', '.join(stopped)}: more failures than maxFailures allows"
    return complete, "Complete" if complete else "Progressing", text


def _applied(summary: Mapping[str, int], moving: int, errors: Sequence[str]) -> tuple[bool, str, str]:
    if errors:
        return False, NOT_AS_EXPECTED, f"Works could not be written: {_listed(errors)}"
    if not summary["total"]:
        return False, EMPTY, "There is no work, since no cluster is selected"
    total, bad = summary["total"], summary["degraded"]
    text = f"{summary['available']} of {total} works are available"
    if moving and not bad:
        return False, "Processing", f"{text}, {moving} are not through yet"
    if summary["available"] == total and not bad:
        return True, AS_EXPECTED, ""
    return False, NOT_AS_EXPECTED, text + (f", {bad} are degraded" if bad else "")


def _is_now(work: Json, kind: str) -> bool:
    """Whether the condition holds for the work as it is, not for what it was before."""
    condition = get_condition(work, kind)
    generation = work["metadata"].get("generation")
    return condition is not None and (condition["status"], condition.get("observedGeneration")) == (
        "True",
        generation,
    )


def _is_moving(progress: Progress) -> bool:
    return progress.state in (State.TO_APPLY, State.PROGRESSING)


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
