"""The status of an InferenceDeployment from its works' feedback. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json
from addons.cache_runtime.agent.names import SLOWER
from addons.cache_runtime.hub.feedback import feedback, problem

PENDING, DEPLOYING, READY, DEGRADED, FAILED = "Pending", "Deploying", "Ready", "Degraded", "Failed"
DELETING = "Deleting"


def cluster_status(cluster: str, work: Json | None, revision: str) -> Json:
    """One entry of status.clusters. What a cluster said of an older revision does not make it Ready."""
    if work is None:
        return {"name": cluster, "phase": PENDING, "readyReplicas": 0}
    said = feedback(work, "InferenceEndpoint")
    if said.get("phase") == READY and said.get("revision") != revision:
        said["phase"] = DEPLOYING
    entry: Json = {
        "name": cluster,
        "phase": str(said.get("phase") or DEPLOYING),
        "readyReplicas": int(said.get("readyReplicas") or 0),
    }
    for field in ("endpoint", "message", "dataPhase", "cachedPercentage", "cacheAdvice", "engineHost"):
        if said.get(field):
            entry[field] = str(said[field])
    if said.get("timeline"):
        try:
            entry["timeline"] = json.loads(said["timeline"])
        except ValueError:
            entry["message"] = f"the timeline reported by {cluster} is not JSON"
    if cause := problem(work):  # the cause; what the endpoint says of it is that something is missing
        entry["message"] = cause
    return entry


def failed_status(deployment: Json, reason: str, message: str, *, now: str | None = None) -> Json:
    """The status when the spec cannot be carried out; what runs already is left alone and still shown."""
    return _not_ready(deployment, FAILED, reason, message, now)


def deleting_status(deployment: Json, clusters: Sequence[str], *, now: str | None = None) -> Json:
    """The status while clusters still remove it."""
    return _not_ready(deployment, DELETING, DELETING, f"Waiting for {', '.join(clusters)} to remove it", now)


def _not_ready(deployment: Json, phase: str, reason: str, message: str, now: str | None) -> Json:
    status = dict(deployment.get("status") or {})
    generation = deployment["metadata"].get("generation", 0)
    conditions = [dict(condition) for condition in status.get("conditions") or []]
    set_condition(conditions, "Ready", False, reason, message, generation=generation, now=now)
    return {**status, "observedGeneration": generation, "conditions": conditions, "phase": phase}


def next_status(
    deployment: Json,
    clusters: Sequence[Json],
    *,
    placed: tuple[bool, str, str],
    now: str | None = None,
) -> Json:
    """The whole status. `placed` is (whether, reason, message); `clusters` come from `cluster_status`.

    The endpoint is the gateway's to write.
    """
    old = deployment.get("status") or {}
    generation = deployment["metadata"].get("generation", 0)
    per_cluster = int(deployment["spec"].get("replicas", 1))
    ready = sum(int(entry["readyReplicas"]) for entry in clusters)
    desired = per_cluster * len(clusters)
    all_ready = bool(desired) and all(entry["phase"] == READY for entry in clusters)
    conditions = [dict(condition) for condition in old.get("conditions") or []]

    def put(kind: str, status: bool, reason: str, message: str) -> None:
        set_condition(conditions, kind, status, reason, message, generation=generation, now=now)

    put("Placed", *placed)
    loading = [entry["name"] for entry in clusters if entry.get("dataPhase") not in ("Ready", "Complete")]
    if not clusters:
        put("DataReady", False, "NoClusters", "No cluster has been chosen yet")
    elif loading:
        put("DataReady", False, "Loading", f"The data is not complete yet on {', '.join(loading)}")
    else:
        put("DataReady", True, "Complete", "The data is where the model runs")
    advice = "; ".join(f"{e['name']}: {e['cacheAdvice']}" for e in clusters if e.get("cacheAdvice"))
    if advice or get_condition(conditions, SLOWER) is not None:
        put(SLOWER, bool(advice), "CacheMeasured", advice)
    if not placed[0]:
        put("Ready", False, placed[1], placed[2])
    elif all_ready:
        put("Ready", True, "AllReplicasReady", f"{ready} of {desired} replicas answer")
    elif not per_cluster:
        put("Ready", False, "ScaledToZero", "spec.replicas is 0")
    else:
        problem = next((e["message"] for e in clusters if e.get("message")), "")
        text = f"{ready} of {desired} replicas answer"
        put("Ready", False, "ReplicasNotReady", f"{text}: {problem}" if problem else text)

    if not clusters:
        phase = PENDING
    elif all_ready:
        phase = READY
    elif ready:
        phase = DEGRADED if old.get("phase") in (READY, DEGRADED) else DEPLOYING
    elif any(entry["phase"] == FAILED for entry in clusters):
        phase = FAILED
    else:
        phase = DEPLOYING
    status: Json = {
        "observedGeneration": generation,
        "conditions": conditions,
        "phase": phase,
        "readyReplicas": ready,
        "desiredReplicas": desired,
        "clusters": list(clusters),
    }
    if old.get("endpoint"):
        status["endpoint"] = old["endpoint"]
    return status
