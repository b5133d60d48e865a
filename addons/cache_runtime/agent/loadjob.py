"""A DataLoad as jobs, and what jobs and pods say of it. Pure."""

from __future__ import annotations

import json

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import Key
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import (
    FIELD_MANAGER,
    INPUTS_LABEL,
    LOAD_LABEL,
    NODE_LABEL,
    dataset_key,
    labels,
    owner_reference,
    short_hash,
)
from runtimes.interface import Task

_BACKOFF_LIMIT = 6


def target_of(load: Json) -> Key:
    """The Dataset that a DataLoad names."""
    target = (load.get("spec") or {}).get("dataset") or {}
    return Key(target.get("namespace") or load["metadata"]["namespace"], target.get("name", ""))


def load_key(obj: Json) -> list[Key]:
    """The DataLoad that a job or pod belongs to."""
    name = (obj["metadata"].get("labels") or {}).get(LOAD_LABEL)
    return [Key(obj["metadata"]["namespace"], name)] if name and dataset_key(obj) else []


def unsupported(load: Json) -> str:
    """What is wrong with the spec, whatever the runtime."""
    spec, metadata = load.get("spec") or {}, load["metadata"]
    where = f"DataLoad {metadata['namespace']}/{metadata['name']}: spec"
    if target_of(load).namespace != metadata["namespace"]:
        return f"{where}.dataset.namespace: must be the DataLoad's own, {metadata['namespace']}"
    if spec.get("policy", "Once") != "Once":
        return f"{where}.policy: {spec['policy']} is not supported here; use Once"
    if spec.get("runAfter"):
        return f"{where}.runAfter: is not supported here; create the DataLoad when its time has come"
    return ""


def inputs_of(load: Json, binding: Binding | None = None, versions: list[str] | None = None) -> str:
    """What an attempt depends on, as a short hash."""
    parts = [load.get("spec"), versions]
    if binding is not None:
        parts += [
            binding.dataset.get("spec"),
            binding.runtime.get("spec"),
            (binding.cache.profile or {}).get("spec"),
        ]
    return short_hash(json.dumps(parts, sort_keys=True))


def job_name(load: str, host: str, hosts: int) -> str:
    """Fluid's name where there is one node."""
    return f"{load}-loader-job" if hosts == 1 else f"{load}-loader-job-{short_hash(host)[:5]}"


def job_for(load: Json, binding: Binding, task: Task, name: str, host: str, inputs: str) -> Json:
    """The job on one node."""
    spec, key = load.get("spec") or {}, Key(binding.cache.namespace, binding.cache.name)
    own = labels(
        key, "load", **{LOAD_LABEL: load["metadata"]["name"], NODE_LABEL: host, INPUTS_LABEL: inputs}
    )
    meta = spec.get("podMetadata") or {}
    pod: Json = {
        "nodeSelector": {"kubernetes.io/hostname": host},
        "tolerations": [*binding.cache.dataset.spec.tolerations, *(spec.get("tolerations") or [])],
        **task.pod,
        "restartPolicy": "Never",
    }
    if spec.get("schedulerName"):
        pod["schedulerName"] = spec["schedulerName"]
    if spec.get("resources"):
        pod["containers"] = [{**c, "resources": spec["resources"]} for c in pod["containers"]]
    template_meta: Json = {"labels": {**(meta.get("labels") or {}), **own}}
    if meta.get("annotations"):
        template_meta["annotations"] = meta["annotations"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": key.namespace,
            "labels": own,
            "ownerReferences": [owner_reference(load)],
        },
        "spec": {"backoffLimit": _BACKOFF_LIMIT, "template": {"metadata": template_meta, "spec": pod}},
    }


def finished(job: Json) -> tuple[str, str, str]:
    """Complete or Failed with reason and message, or nothing while it runs."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"]), str(condition.get("reason", "")), str(condition.get("message", ""))
    return "", "", ""


def owner_uid(pod: Json) -> str:
    """Of the job that made a pod."""
    owners = pod["metadata"].get("ownerReferences") or []
    return str(owners[0].get("uid", "")) if owners else ""


def is_ready(pod: Json) -> bool:
    """Whether a pod is ready."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def event(load: Json, reason: str, message: str, warning: bool) -> Json:
    """About a DataLoad."""
    metadata, now = load["metadata"], now_rfc3339()
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": load["apiVersion"],
            "kind": load["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message[:1024],
        "source": {"component": FIELD_MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
