"""Workloads: what makes pods, and the fields that may not change once it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.selectors import selects
from addon_framework.local.apiserver.schemas import Cause, cause, names
from addon_framework.local.apiserver.validation.limits import errors
from addon_framework.local.apiserver.validation.metadata import immutable
from addon_framework.local.apiserver.validation.pods import containers_of, mounts
from addon_framework.local.apiserver.validation.storage import claim_spec
from addon_framework.local.cron import Schedule

_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


def _selects_own_pods(spec: Json, path: str, kind: str) -> Iterator[Cause]:
    """A selector that is there, not empty, and finds the pods of the template."""
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    where = f"{path}selector"
    if selector is not None and errors(selector, "meta.v1.LabelSelector"):
        if kind != "daemonset":
            yield cause.invalid(where, selector, "invalid label selector")
    elif selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield cause.invalid(where, selector, f"empty selector is invalid for {kind}")
    elif not selects(selector, labels):
        why = "`selector` does not match template `labels`"
        yield cause.invalid(f"{path}template.metadata.labels", labels, why)


def _always_on(spec: Json, path: str, kind: str) -> Iterator[Cause]:
    """What Deployments, ReplicaSets, DaemonSets and StatefulSets have in common."""
    yield from _selects_own_pods(spec, path, kind)
    pod = (spec.get("template") or {}).get("spec") or {}
    yield from _restarts(pod, path)
    yield from mounts(pod, f"{path}template.spec.", [each for each in _claims(spec) if not names.label(each)])


def _restarts(pod: Json, path: str) -> Iterator[Cause]:
    policy = pod.get("restartPolicy") or "Always"
    if policy != "Always":
        yield cause.not_supported(f"{path}template.spec.restartPolicy", policy, ["Always"])
    if pod.get("activeDeadlineSeconds") is not None:
        why = "activeDeadlineSeconds in a workload's template is not supported"
        yield cause.forbidden(f"{path}template.spec.activeDeadlineSeconds", why)


def _claims(spec: Json) -> list[str]:
    """Names of a StatefulSet's claims."""
    return [(each.get("metadata") or {}).get("name") or "" for each in spec.get("volumeClaimTemplates") or ()]


def _rolling(strategy: Json, path: str, allowed: tuple[str, ...]) -> Iterator[Cause]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind is not None and kind not in allowed:
        yield cause.not_supported(path, kind, allowed)
    elif kind not in (None, "RollingUpdate") and rolling is not None:
        why = f"may not be specified when strategy `type` is '{kind}'"
        yield cause.forbidden(f"{path}.rollingUpdate", why)
    elif kind == "RollingUpdate" and rolling is not None:
        for name in ("maxUnavailable", "maxSurge"):
            yield from _amount(rolling.get(name), f"{path}.rollingUpdate.{name}")
        if "maxSurge" in rolling and all(rolling.get(name) in (None, 0, "0%") for name in rolling):
            why = "may not be 0 when `maxSurge` is 0"
            yield cause.invalid(f"{path}.rollingUpdate.maxUnavailable", rolling.get("maxUnavailable"), why)


def _amount(value: Any, path: str) -> Iterator[Cause]:
    if isinstance(value, str) and not re.fullmatch(r"[0-9]+%", value):
        why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%')"
        yield cause.invalid(path, value, why)
    elif isinstance(value, int) and value < 0:
        yield cause.invalid(path, value, "must be greater than or equal to 0")


def _deployment(spec: Json, path: str) -> Iterator[Cause]:
    yield from _always_on(spec, path, "deployment")
    yield from _rolling(spec.get("strategy") or {}, f"{path}strategy", ("Recreate", "RollingUpdate"))
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        why = "must be greater than minReadySeconds"
        yield cause.invalid(f"{path}progressDeadlineSeconds", deadline, why)


def _replica_set(spec: Json, path: str) -> Iterator[Cause]:
    return _always_on(spec, path, "replicaset")


def _controller(spec: Json, path: str) -> Iterator[Cause]:
    selector, template = spec.get("selector") or {}, spec.get("template")
    if not selector:
        yield cause.required(f"{path}selector")
    if template is None:
        yield cause.required(f"{path}template")
        return
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not selector.items() <= labels.items():
        why = "`selector` does not match template `labels`"
        yield cause.invalid(f"{path}template.metadata.labels", labels, why)
    yield from _restarts(template.get("spec") or {}, path)


def _pod_template(obj: Json, path: str) -> Iterator[Cause]:
    if not obj.get("template"):
        yield cause.required("template.spec.containers")


def _daemon_set(spec: Json, path: str) -> Iterator[Cause]:
    yield from _always_on(spec, path, "daemonset")
    strategy = spec.get("updateStrategy") or {}
    yield from _rolling(strategy, f"{path}updateStrategy", ("OnDelete", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate") or {}
    if all(rolling.get(each) not in (None, 0, "0%") for each in ("maxSurge", "maxUnavailable")):
        where, why = (
            f"{path}updateStrategy.rollingUpdate.maxSurge",
            "may not be set when maxUnavailable is non-zero",
        )
        yield cause.invalid(where, rolling["maxSurge"], why)


def _stateful_set(spec: Json, path: str) -> Iterator[Cause]:
    yield from _always_on(spec, path, "statefulset")
    volumes = ((spec.get("template") or {}).get("spec") or {}).get("volumes") or []
    known = [each.get("name") for each in volumes]
    added = [name for name in dict.fromkeys(_claims(spec)) if name not in known]
    for index, name in enumerate(added, len(volumes)):  # they are volumes of the pods to be
        where = f"{path}template.spec.volumes[{index}]"
        if name:
            yield from cause.broken(f"{where}.name", name, names.label(name))
        else:
            yield cause.required(f"{where}.name")
            yield cause.required(f"{where}.persistentVolumeClaim.claimName")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") not in (None, "", "OnDelete", "RollingUpdate"):
        yield cause.invalid(f"{path}updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'")


def _new_stateful_set(obj: Json, path: str) -> Iterator[Cause]:
    for index, claim in enumerate((obj.get("spec") or {}).get("volumeClaimTemplates") or ()):
        yield from claim_spec(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec.")


def _stateful_set_changed(obj: Json, old: Json) -> Iterator[Cause]:
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    if {key for key in spec.keys() | before.keys() if spec.get(key) != before.get(key)} - set(_MUTABLE):
        listed = ", ".join(f"'{each}'" for each in _MUTABLE[:-1])
        why = f"updates to statefulset spec for fields other than {listed} and '{_MUTABLE[-1]}' are forbidden"
        yield cause.forbidden("spec", why)


def _counts(obj: Json, old: Json) -> Iterator[Cause]:
    """Of pods in a status: none is below zero, and no part is more than the whole."""
    state = obj.get("status") or {}
    for field, count in state.items():
        if isinstance(count, int) and count < 0:
            yield cause.invalid(f"status.{field}", count, "must be greater than or equal to 0")
    whole, ready = state.get("replicas") or 0, state.get("readyReplicas") or 0
    for field in ("updatedReplicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"):
        if (count := state.get(field) or 0) > whole:
            yield cause.invalid(f"status.{field}", count, "cannot be greater than status.replicas")
    if (count := state.get("availableReplicas") or 0) > ready:
        yield cause.invalid("status.availableReplicas", count, "cannot be greater than readyReplicas")


def _new_job(job: Json, path: str) -> Iterator[Cause]:
    spec = job.get("spec") or {}
    return _selects_own_pods(spec, "spec.", "job") if spec.get("manualSelector") else iter(())


def _job_changed(job: Json, old: Json) -> Iterator[Cause]:
    spec = job.get("spec") or {}
    if spec.get("selector") is None:
        yield cause.required("spec.selector")
    yield from _selects_own_pods(spec, "spec.", "job")
    for key in ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"):
        yield from immutable(job, old, f"spec.{key}")
    if spec.get("completionMode") != "Indexed":
        yield from immutable(job, old, "spec.completions")
    elif spec.get("completions") not in ((old.get("spec") or {}).get("completions"), spec.get("parallelism")):
        why = "can only be modified in tandem with spec.parallelism"
        yield cause.invalid("spec.completions", spec.get("completions"), why)
    started = (old.get("status") or {}).get("startTime") is not None
    if started or not (old.get("spec") or {}).get("suspend"):
        yield from immutable(job, old, "spec.template")


def _job(spec: Json, path: str) -> Iterator[Cause]:
    mode, whole = spec.get("completionMode"), spec.get("completions")
    limit, failed = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    if mode == "Indexed" and whole is None:
        yield cause.required(f"{path}completions", "when completion mode is Indexed")
    for name, value in (("backoffLimitPerIndex", limit), ("maxFailedIndexes", failed)):
        if value is not None and mode == "NonIndexed":
            yield cause.invalid(f"{path}{name}", value, "requires indexed completion mode")
    if failed is not None and limit is None:
        yield cause.required(f"{path}backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if failed is not None and whole is not None and failed > whole:
        yield cause.invalid(f"{path}maxFailedIndexes", failed, "must be less than or equal to completions")
    pod = (spec.get("template") or {}).get("spec") or {}
    yield from mounts(pod, f"{path}template.spec.")
    if pod.get("restartPolicy") == "Always":
        why = 'valid values: "OnFailure", "Never"'
        yield cause.required(f"{path}template.spec.restartPolicy", why)
    for index, rule in enumerate((spec.get("podFailurePolicy") or {}).get("rules") or ()):
        yield from _failure_rule(rule, f"{path}podFailurePolicy.rules[{index}]", pod)


def _failure_rule(rule: Json, path: str, pod: Json) -> Iterator[Cause]:
    codes = rule.get("onExitCodes")
    if (codes is None) == (not rule.get("onPodConditions")):
        yield cause.invalid(path, rule, "specifying one of OnExitCodes and OnPodConditions is required")
    if codes is None:
        return
    name, values = codes.get("containerName"), codes.get("values") or []
    if name is not None and name not in [each.get("name") for _, each in containers_of(pod)]:
        why = "must be one of the container or initContainer names in the pod template"
        yield cause.invalid(f"{path}.onExitCodes.containerName", name, why)
    if not values:
        yield cause.invalid(f"{path}.onExitCodes.values", [], "at least one value is required")
    for at, value in enumerate(values):
        if value == 0 and codes.get("operator") == "In":
            yield cause.invalid(
                f"{path}.onExitCodes.values[{at}]", value, "must not be 0 for the In operator"
            )


def _cron_job(spec: Json, path: str) -> Iterator[Cause]:
    schedule = spec.get("schedule") or ""
    try:
        if schedule and not re.fullmatch(r"@every \S+", schedule):
            Schedule.parse(schedule)
    except ValueError as error:
        yield cause.invalid(f"{path}schedule", schedule, str(error))
    if "TZ" in schedule:
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield cause.invalid(f"{path}schedule", schedule, why)


def _new_cron_job(obj: Json, path: str) -> Iterator[Cause]:
    name = (obj.get("metadata") or {}).get("name") or ""
    if len(name) > 52:
        yield cause.invalid("metadata.name", name, "must be no more than 52 characters")


CHECKS: dict[str, Any] = {
    "apps.v1.DeploymentSpec": _deployment,
    "apps.v1.ReplicaSetSpec": _replica_set,
    "apps.v1.DaemonSetSpec": _daemon_set,
    "apps.v1.StatefulSetSpec": _stateful_set,
    "batch.v1.JobSpec": _job,
    "core.v1.PodTemplate": _pod_template,
    "core.v1.ReplicationControllerSpec": _controller,
    "batch.v1.CronJobSpec": _cron_job,
}
CREATIONS: dict[str, Any] = {
    "apps.v1.StatefulSet": _new_stateful_set,
    "batch.v1.Job": _new_job,
    "batch.v1.CronJob": _new_cron_job,
}
CHANGES: dict[str, Any] = {
    "apps.v1.Deployment": _counts,
    "apps.v1.ReplicaSet": _counts,
    "apps.v1.DaemonSet": _counts,
    "apps.v1.StatefulSet": _stateful_set_changed,
    "batch.v1.Job": _job_changed,
}
