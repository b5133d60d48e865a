"""An operation's parts as Jobs and CronJobs, and what these say. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from addon_framework.api.meta import Json, owner_reference
from addon_framework.kube import Key
from addons.cache_runtime.agent.components import with_last_words
from addons.cache_runtime.agent.names import (
    HASH_ANNOTATION,
    INPUTS_LABEL,
    NO_MESH,
    NODE_LABEL,
    OPERATION_LABEL,
    dataset_key,
    labels,
    role_of,
    short_hash,
)
from addons.cache_runtime.agent.operations.kinds import Kind, Part, Plan

_BACKOFF_LIMIT = 6  # Kubernetes waits 10, 20, 40 ... seconds between them
_WORDS = 300  # characters of a log's line
_USERS_LIMIT = 3  # Fluid's; what a user wrote fails rather by itself than by its source
_INDEX = "batch.kubernetes.io/job-completion-index"


def operation_key(kind: Kind, obj: Json) -> list[Key]:
    """The operation of a kind that a job or pod belongs to."""
    name = (obj["metadata"].get("labels") or {}).get(OPERATION_LABEL)
    if not name or not dataset_key(obj) or role_of(obj) != kind.role:
        return []
    return [Key(obj["metadata"]["namespace"], name)]


def job_for(kind: Kind, op: Json, dataset: Key, part: Part, inputs: str) -> Json:
    """The job of one part."""
    own = _labels(kind, op, dataset, part, inputs)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": part.name,
            "namespace": op["metadata"]["namespace"],
            "labels": own,
            "ownerReferences": [owner_reference(op)],
        },
        "spec": _job_spec(op, part, own),
    }


def cronjob_for(kind: Kind, op: Json, dataset: Key, part: Part, inputs: str, *, suspend: bool) -> Json:
    """The same again and again; `suspend` while it is another's turn."""
    own = _labels(kind, op, dataset, part, inputs)
    metadata: Json = {
        "name": part.name,
        "namespace": op["metadata"]["namespace"],
        "labels": own,
        "ownerReferences": [owner_reference(op)],
    }
    made: Json = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata,
        "spec": {
            "schedule": op["spec"]["schedule"],
            "concurrencyPolicy": "Forbid",
            "suspend": suspend,
            "jobTemplate": {
                "metadata": {"labels": {**own, "fluid.io/jobPolicy": "cron"}},
                "spec": {**_job_spec(op, part, own), **_time_to_live(op)},
            },
        },
    }
    metadata["annotations"] = {HASH_ANNOTATION: short_hash(json.dumps(made, sort_keys=True))}
    return made


def config_for(kind: Kind, op: Json, dataset: Key, plan: Plan) -> Json:
    """What the parts read, as a ConfigMap."""
    part = plan.parts[0]
    made: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": part.name,
            "namespace": op["metadata"]["namespace"],
            "labels": labels(dataset, kind.role, **{OPERATION_LABEL: op["metadata"]["name"]}),
            "ownerReferences": [owner_reference(op)],
        },
        "data": dict(plan.config or {}),
    }
    return made


def _labels(kind: Kind, op: Json, dataset: Key, part: Part, inputs: str) -> dict[str, str]:
    more = {OPERATION_LABEL: op["metadata"]["name"], INPUTS_LABEL: inputs}
    if part.host:
        more[NODE_LABEL] = part.host
    return labels(dataset, kind.role, **more)


def _job_spec(op: Json, part: Part, own: dict[str, str]) -> Json:
    spec = op.get("spec") or {}
    meta = spec.get("podMetadata") or (spec.get("processor") or {}).get("podMetadata") or {}
    pod = {"restartPolicy": "Never", **part.pod}
    pod |= {name: with_last_words(pod[name]) for name in ("containers", "initContainers") if pod.get(name)}
    if spec.get("schedulerName"):
        pod["schedulerName"] = spec["schedulerName"]
    if spec.get("resources"):
        pod["containers"] = [{**c, "resources": spec["resources"]} for c in pod["containers"]]
    template: Json = {"labels": {**NO_MESH, **(meta.get("labels") or {}), **own}}
    if meta.get("annotations"):
        template["annotations"] = meta["annotations"]
    limit = _BACKOFF_LIMIT if part.trusted else _USERS_LIMIT
    made: Json = {"backoffLimit": limit, "template": {"metadata": template, "spec": pod}}
    if part.pods > 1:
        made |= {"parallelism": part.pods, "completions": part.pods, "completionMode": "Indexed"}
        made["backoffLimit"] = _BACKOFF_LIMIT * part.pods
    return made


def _time_to_live(op: Json) -> Json:
    """The jobs of a schedule go; the operation goes on."""
    seconds = (op.get("spec") or {}).get("ttlSecondsAfterFinished")
    return {} if seconds is None else {"ttlSecondsAfterFinished": seconds}


def index_of(pod: Json) -> str:
    """Which of several pods side by side it is."""
    return str((pod["metadata"].get("annotations") or {}).get(_INDEX, ""))


def finished(job: Json) -> tuple[str, str, str]:
    """Complete or Failed with reason and message, or nothing while it runs."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"]), str(condition.get("reason", "")), str(condition.get("message", ""))
    return "", "", ""


def has_ended(pod: Json) -> bool:
    """By our copy of it."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def owner_uid(pod: Json) -> str:
    """Of the job that made a pod."""
    owners = pod["metadata"].get("ownerReferences") or []
    return str(owners[0].get("uid", "")) if owners else ""


def last_words(pods: Sequence[Json]) -> str:
    """How the last container that failed ended, and the last line that it said; "" when none did."""
    for pod in reversed(pods):
        status = pod.get("status") or {}
        for said in [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]:
            ended = (said.get("state") or {}).get("terminated") or {}
            if code := ended.get("exitCode"):
                lines = str(ended.get("message") or "").strip().splitlines()
                words = f" and said last: {lines[-1].strip()[:_WORDS]}" if lines else ""
                name = f"container {said['name']} of pod {pod['metadata']['name']}"
                return f"{name} ended with exit code {code}{words}"
    return ""
