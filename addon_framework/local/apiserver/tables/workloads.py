"""Cells of workloads: how many pods there are of how many wanted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.local.apiserver.tables import cells
from addon_framework.local.apiserver.tables.cells import age_of, name_of, spec_of, status_of


def deployment(obj: Json, now: datetime) -> list[Any]:
    """The cells of a Deployment."""
    spec, status = spec_of(obj), status_of(obj)
    return [
        name_of(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age_of(obj, now),
        *cells.containers(spec.get("template")),
        cells.labels(spec.get("selector")),
    ]


def replica_set(obj: Json, now: datetime) -> list[Any]:
    """The cells of a ReplicaSet."""
    spec, status = spec_of(obj), status_of(obj)
    return [
        name_of(obj),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age_of(obj, now),
        *cells.containers(spec.get("template")),
        cells.labels(spec.get("selector")),
    ]


def daemon_set(obj: Json, now: datetime) -> list[Any]:
    """The cells of a DaemonSet."""
    spec, status = spec_of(obj), status_of(obj)
    counts = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    nodes = ((spec.get("template") or {}).get("spec") or {}).get("nodeSelector")
    return [
        name_of(obj),
        *(status.get(each, 0) for each in counts),
        cells.labels(nodes),
        age_of(obj, now),
        *cells.containers(spec.get("template")),
        cells.labels(spec.get("selector")),
    ]


def stateful_set(obj: Json, now: datetime) -> list[Any]:
    """The cells of a StatefulSet."""
    spec = spec_of(obj)
    ready = f"{status_of(obj).get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [name_of(obj), ready, age_of(obj, now), *cells.containers(spec.get("template"))]


def job(obj: Json, now: datetime) -> list[Any]:
    """The cells of a Job."""
    spec, status = spec_of(obj), status_of(obj)
    done, wanted, width = status.get("succeeded", 0), spec.get("completions"), spec.get("parallelism") or 0
    completions = (
        f"{done}/{wanted}" if wanted is not None else f"{done}/1" + (f" of {width}" if width > 1 else "")
    )
    true = {each.get("type") for each in status.get("conditions") or () if each.get("status") == "True"}
    state = next(
        (
            shown
            for kind, shown in (
                ("Complete", "Complete"),
                ("Failed", "Failed"),
                ("Suspended", "Suspended"),
                ("FailureTarget", "FailureTarget"),
                ("SuccessCriteriaMet", "SuccessCriteriaMet"),
            )
            if kind in true
        ),
        "Terminating" if obj["metadata"].get("deletionTimestamp") else "Running",
    )
    duration = ""
    if status.get("startTime"):
        end = parse_time(status["completionTime"]) if status.get("completionTime") else now
        duration = cells.human((end - parse_time(status["startTime"])).total_seconds())
    return [
        name_of(obj),
        state,
        completions,
        duration,
        age_of(obj, now),
        *cells.containers(spec.get("template")),
        cells.labels(spec.get("selector")),
    ]


def cron_job(obj: Json, now: datetime) -> list[Any]:
    """The cells of a CronJob."""
    spec, status = spec_of(obj), status_of(obj)
    last = status.get("lastScheduleTime")
    inner = (spec.get("jobTemplate") or {}).get("spec") or {}
    return [
        name_of(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or cells.NONE,
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        cells.age(last, now) if last else cells.NONE,
        age_of(obj, now),
        *cells.containers(inner.get("template")),
        cells.labels(inner.get("selector")),
    ]
