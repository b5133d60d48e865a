"""The status of an InferenceDeployment from its works' feedback. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json
from addons.cache_runtime.agent.names import SLOWER
from addons.cache_runtime.hub.feedback import feedback, problem
from addons.inference_deployer.agent.status import UNREADABLE

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
    conditions = [dict(condition) for condition in old.get("conditions") or []]

    def put(kind: str, status: bool, reason: str, message: str) -> None:
        set_condition(conditions, kind, status, reason, message, generation=generation, now=now)

    put("Placed", *placed)
    put("DataReady", *_data_ready(clusters))
    advice = "; ".join(f"{e['name']}: {e['cacheAdvice']}" for e in clusters if e.get("cacheAdvice"))
    if advice or get_condition(conditions, SLOWER) is not None:
        put(SLOWER, bool(advice), "CacheMeasured", advice)
    phase = _phase(clusters, ready, desired, str(old.get("phase", "")))
    put("Ready", *(_ready(clusters, phase, ready, per_cluster) if placed[0] else placed))
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


def _data_ready(clusters: Sequence[Json]) -> tuple[bool, str, str]:
    if not clusters:
        return False, "NoClusters", "No cluster has been chosen yet"
    unreadable = [entry for entry in clusters if entry.get("dataPhase") == UNREADABLE]
    if unreadable:
        names = ", ".join(entry["name"] for entry in unreadable)
        return False, UNREADABLE, f"{names}: {unreadable[0].get('message') or 'the source cannot be read'}"
    loading = [entry["name"] for entry in clusters if entry.get("dataPhase") not in ("Ready", "Complete")]
    if loading:
        return False, "Loading", f"The data is not complete yet on {', '.join(loading)}"
    return True, "Complete", "The data is where the model runs"


def _ready(clusters: Sequence[Json], phase: str, ready: int, per_cluster: int) -> tuple[bool, str, str]:
    text = f"{ready} of {per_cluster * len(clusters)} replicas answer"
    if phase == READY:
        return True, "AllReplicasReady", text
    if not per_cluster:
        return False, "ScaledToZero", "spec.replicas is 0"
    problem = next((e["message"] for e in clusters if e.get("message")), "")
    return False, "ReplicasNotReady", f"{text}: {problem}" if problem else text


def _phase(clusters: Sequence[Json], ready: int, desired: int, before: str) -> str:
    if not clusters:
        return PENDING
    if desired and all(entry["phase"] == READY for entry in clusters):
        return READY
    if ready:
        return DEGRADED if before in (READY, DEGRADED) else DEPLOYING
    return FAILED if any(entry["phase"] == FAILED for entry in clusters) else DEPLOYING
