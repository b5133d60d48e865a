"""What a placement's status says, and what its decisions look like on the wire. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from addon_framework.api.cluster import PlacementDecision
from addon_framework.api.conditions import set_condition
from addon_framework.api.meta import Json, copy_json, owner_reference
from addon_framework.api.names import (
    DECISION_GROUP_INDEX_LABEL,
    DECISION_GROUP_NAME_LABEL,
    PLACEMENT_LABEL,
)
from addon_framework.hub.placement.candidates import Candidates
from addon_framework.hub.placement.explanation import summary
from addon_framework.hub.placement.groups import Slice
from addon_framework.hub.placement.model import Schedule

SATISFIED, MISCONFIGURED = "PlacementSatisfied", "PlacementMisconfigured"
EXPLAINED = "PlacementExplained"  # ours; not there where the schedule is strict or OCM's
MAX_SCORE_TEXT = 1000


def satisfied(placement: Json, candidates: Candidates, result: Schedule) -> tuple[str, str, str]:
    """Status, reason and message of PlacementSatisfied."""
    if not candidates.bound:
        message = "No valid ManagedClusterSetBindings found in placement namespace"
        return "False", "NoManagedClusterSetBindings", message
    if not candidates.eligible:
        asked = ",".join((placement.get("spec") or {}).get("clusterSets") or [])
        message = f"None of ManagedClusterSets [{asked}] is bound to placement namespace"
        return "False", "NoIntersection", message
    if not candidates.clusters:
        sets = ",".join(candidates.eligible)
        message = f"All ManagedClusterSets [{sets}] have no member ManagedCluster"
        return "False", "AllManagedClusterSetsEmpty", message
    if not result.selected:
        message = "No ManagedCluster matches any of the cluster predicate" + _rejections(result)
        return "False", "NoManagedClusterMatched", message
    if not result.unscheduled:
        return "True", "AllDecisionsScheduled", "All cluster decisions scheduled"
    message = f"{result.unscheduled} cluster decisions unscheduled" + _rejections(result)
    return "False", "NotAllDecisionsScheduled", message


def _rejections(result: Schedule) -> str:
    """Who kept how many clusters out. OCM does not say, so strict schedules do not either."""
    counts = [(step.name, len(step.rejected)) for step in result.filters] if result.tells else []
    counts += [("spread constraints", len(result.unspread))]
    said = ", ".join(f"{name} rejected {count}" for name, count in counts if count)
    return f": {said}" if said else ""


def placement_status(
    placement: Json, candidates: Candidates, result: Schedule, slices: Sequence[Slice]
) -> Json:
    """The whole status; equal to the present one when nothing changed."""
    status: Json = copy_json(placement.get("status") or {})
    conditions = status.setdefault("conditions", [])
    error = result.misconfigured
    if error is not None:
        set_condition(conditions, MISCONFIGURED, "True", "Misconfigured", f"{error.plugin}:{error}")
    else:
        message = "Placement configurations check pass"
        set_condition(conditions, MISCONFIGURED, "False", "Succeedconfigured", message)
    set_condition(conditions, SATISFIED, *satisfied(placement, candidates, result))
    if result.tells:
        set_condition(conditions, EXPLAINED, "True", "AsDecided", summary(result))
    status["numberOfSelectedClusters"] = len(result.selected)
    status["decisionGroups"] = [
        {
            "decisionGroupIndex": index,
            "decisionGroupName": group.name,
            "decisions": [part.name for part in slices if part.group_index == index],
            "clusterCount": len(group.clusters),
        }
        for index, group in enumerate(result.groups)
    ]
    return status


def decision_object(placement: Json, part: Slice) -> Json:
    """A PlacementDecision without its status."""
    metadata = placement["metadata"]
    return {
        "apiVersion": PlacementDecision.RESOURCE.api_version,
        "kind": PlacementDecision.RESOURCE.kind,
        "metadata": {
            "name": part.name,
            "namespace": metadata["namespace"],
            "labels": {
                PLACEMENT_LABEL: metadata["name"],
                DECISION_GROUP_NAME_LABEL: part.group_name,
                DECISION_GROUP_INDEX_LABEL: str(part.group_index),
            },
            "ownerReferences": [owner_of(placement)],
        },
    }


def owner_of(placement: Json) -> Json:
    """The reference with which what a placement makes goes when the placement does."""
    return owner_reference(placement, controller=True)


def decision_status(part: Slice, result: Schedule) -> Json:
    """The status of a PlacementDecision. The reason is how the cluster scored when it was written.

    OCM's controller leaves it empty, and so do strict schedules.
    """
    decisions: list[Json] = [{"clusterName": name, "reason": ""} for name in part.clusters]
    if result.tells:
        for decision in decisions:
            if decision["clusterName"] in result.totals:
                decision["reason"] = result.scored(decision["clusterName"])
    if result.by_score:
        for decision in decisions:
            if score := result.totals[decision["clusterName"]]:  # 0 is what its absence means
                decision["score"] = score
    return {"decisions": decisions}


def score_text(result: Schedule) -> str:
    """The totals of all candidates for an event, cut at OCM's length."""
    text = ""
    for name in sorted(result.totals):
        entry = f"{name}:{result.totals[name]} "
        if len(text) + len(entry) > MAX_SCORE_TEXT:
            return text + "......"
        text += entry
    return text
