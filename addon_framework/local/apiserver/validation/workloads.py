"""Workloads: what makes pods, and the fields that may not change once it does."""

from __future__ import annotations

import re
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, builtin_errors, builtin_type, cause
from addon_framework.local.apiserver.validation.metadata import immutable
from addon_framework.local.apiserver.validation.pods import validate_template
from addon_framework.local.apiserver.validation.storage import claim_spec

_NOT_NEGATIVE = "must be greater than or equal to 0"
_STATEFUL_SET_UPDATE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)
_STATEFUL_SET_MUTABLE = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)


def _counts(spec: Json, path: str, keys: tuple[str, ...], causes: list[Cause]) -> None:
    for key in keys:
        value = spec.get(key)
        if isinstance(value, int) and value < 0:
            causes.append(cause.invalid(f"{path}.{key}", value, _NOT_NEGATIVE))


def _selects_own_pods(spec: Json, kind: str, causes: list[Cause]) -> None:
    """A selector that is there, not empty, and finds the pods of the template."""
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if selector is not None and builtin_errors(selector, builtin_type("meta.v1.LabelSelector")):
        if kind != "daemonset":
            causes.append(cause.invalid("spec.selector", selector, "invalid label selector"))
        return
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.append(cause.invalid("spec.selector", selector, f"empty selector is invalid for {kind}"))
        return
    if selector is None or not selects(selector, labels):
        causes.append(
            cause.invalid(
                "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
            )
        )


def selects(selector: Json, labels: Json) -> bool:
    """Whether a LabelSelector matches labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        key, operator, values = term.get("key"), term.get("operator"), term.get("values") or ()
        present = key in labels
        matches = {
            "In": present and labels.get(key) in values,
            "NotIn": not present or labels.get(key) not in values,
            "Exists": present,
            "DoesNotExist": not present,
        }
        if not matches.get(operator, False):
            return False
    return True


def _always_restarts(spec: Json, causes: list[Cause]) -> None:
    template = spec.get("template")
    if template is None:
        return
    policy = (template.get("spec") or {}).get("restartPolicy") or "Always"
    if policy != "Always":
        causes.append(cause.not_supported("spec.template.spec.restartPolicy", policy, ["Always"]))
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        causes.append(
            cause.forbidden(
                "spec.template.spec.activeDeadlineSeconds",
                "activeDeadlineSeconds in a workload's template is not supported",
            )
        )


def _rolling(spec: Json, key: str, allowed: tuple[str, ...], causes: list[Cause]) -> None:
    strategy = spec.get(key) or {}
    kind = strategy.get("type")
    path = f"spec.{key}"
    if kind is not None and kind not in allowed:
        causes.append(cause.not_supported(path, kind, allowed))
        return
    rolling = strategy.get("rollingUpdate")
    if kind not in (None, "RollingUpdate") and rolling is not None:
        causes.append(
            cause.forbidden(f"{path}.rollingUpdate", f"may not be specified when strategy `type` is '{kind}'")
        )
    if kind != "RollingUpdate" or rolling is None:
        return
    for name in ("maxUnavailable", "maxSurge"):
        _amount(rolling.get(name), f"{path}.rollingUpdate.{name}", causes)
    if (
        all(_is_zero(rolling.get(name)) for name in ("maxUnavailable", "maxSurge"))
        and len(rolling) > 0
        and ("maxSurge" in rolling)
    ):
        causes.append(
            cause.invalid(
                f"{path}.rollingUpdate.maxUnavailable",
                rolling.get("maxUnavailable"),
                "may not be 0 when `maxSurge` is 0",
            )
        )


def _is_zero(value: Any) -> bool:
    return value in (None, 0, "0%")


def _amount(value: Any, path: str, causes: list[Cause]) -> None:
    if isinstance(value, str) and not re.fullmatch(r"[0-9]+%", value):
        causes.append(
            cause.invalid(
                path,
                value,
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
                "'93%', regex used for validation is '[0-9]+%')",
            )
        )
    elif isinstance(value, int) and value < 0:
        causes.append(cause.invalid(path, value, _NOT_NEGATIVE))


def validate_deployment(obj: Json, old: Json | None) -> list[Cause]:
    """apps/v1 Deployment."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    _counts(
        spec,
        "spec",
        ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"),
        causes,
    )
    _selects_own_pods(spec, "deployment", causes)
    _template(spec, causes)
    _always_restarts(spec, causes)
    _rolling(spec, "strategy", ("Recreate", "RollingUpdate"), causes)
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        causes.append(
            cause.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
        )
    _same_selector(spec, old, causes)
    return causes


def _template(spec: Json, causes: list[Cause]) -> None:
    if spec.get("template") is not None:
        validate_template(spec["template"], "spec.template", causes)


def _same_selector(spec: Json, old: Json | None, causes: list[Cause]) -> None:
    if old is not None:
        immutable(spec.get("selector"), (old.get("spec") or {}).get("selector"), "spec.selector", causes)


def validate_replica_set(obj: Json, old: Json | None) -> list[Cause]:
    """apps/v1 ReplicaSet."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    _counts(spec, "spec", ("replicas", "minReadySeconds"), causes)
    _selects_own_pods(spec, "replicaset", causes)
    _template(spec, causes)
    _always_restarts(spec, causes)
    _same_selector(spec, old, causes)
    return causes


def validate_daemon_set(obj: Json, old: Json | None) -> list[Cause]:
    """apps/v1 DaemonSet."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    _counts(spec, "spec", ("minReadySeconds", "revisionHistoryLimit"), causes)
    _selects_own_pods(spec, "daemonset", causes)
    _template(spec, causes)
    _always_restarts(spec, causes)
    _rolling(spec, "updateStrategy", ("OnDelete", "RollingUpdate"), causes)
    _same_selector(spec, old, causes)
    return causes


def validate_stateful_set(obj: Json, old: Json | None) -> list[Cause]:
    """apps/v1 StatefulSet."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    _counts(spec, "spec", ("replicas", "minReadySeconds"), causes)
    _selects_own_pods(spec, "statefulset", causes)
    _template(_with_claims(spec), causes)
    _always_restarts(spec, causes)
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        claim_spec(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec", causes)
    policy = spec.get("podManagementPolicy")
    if policy and policy not in ("OrderedReady", "Parallel"):
        causes.append(
            cause.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
        )
    kind = (spec.get("updateStrategy") or {}).get("type")
    if kind and kind not in ("OnDelete", "RollingUpdate"):
        causes.append(
            cause.invalid(
                "spec.updateStrategy", spec["updateStrategy"], "must be 'RollingUpdate' or 'OnDelete'"
            )
        )
    if old is not None:
        before = old.get("spec") or {}
        changed = {key for key in spec.keys() | before.keys() if spec.get(key) != before.get(key)}
        if changed - _STATEFUL_SET_MUTABLE:
            causes.append(cause.forbidden("spec", _STATEFUL_SET_UPDATE))
    return causes


def _with_claims(spec: Json) -> Json:
    """With the claim templates as volumes, which mounts may name."""
    claims = [
        (each.get("metadata") or {}).get("name") or "" for each in spec.get("volumeClaimTemplates") or ()
    ]
    template = spec.get("template")
    if not claims or template is None or template.get("spec") is None:
        return spec
    taken = template["spec"].get("volumes") or []
    named = {each.get("name") for each in taken}
    extra = [
        {"name": name, "persistentVolumeClaim": {"claimName": name}}
        for name in dict.fromkeys(claims)
        if name not in named
    ]
    return {**spec, "template": {**template, "spec": {**template["spec"], "volumes": [*taken, *extra]}}}


def validate_job(obj: Json, old: Json | None) -> list[Cause]:
    """batch/v1 Job."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    _job_spec(spec, "spec", causes)
    if old is None:
        if spec.get("manualSelector"):
            _selects_own_pods(spec, "job", causes)
        return causes
    before = old.get("spec") or {}
    for key in ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"):
        immutable(spec.get(key), before.get(key), f"spec.{key}", causes)
    if spec.get("completionMode") != "Indexed":
        immutable(spec.get("completions"), before.get("completions"), "spec.completions", causes)
    started = (old.get("status") or {}).get("startTime") is not None
    if not before.get("suspend") or started:
        immutable(spec.get("template"), before.get("template"), "spec.template", causes)
    return causes


def _job_spec(spec: Json, path: str, causes: list[Cause]) -> None:
    _counts(
        spec,
        path,
        ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"),
        causes,
    )
    mode = spec.get("completionMode")
    if mode and mode not in ("Indexed", "NonIndexed"):
        causes.append(cause.not_supported(f"{path}.completionMode", mode, ["Indexed", "NonIndexed"]))
    if mode == "Indexed" and spec.get("completions") is None:
        causes.append(cause.required(f"{path}.completions", "when completion mode is Indexed"))
    limit, failed, whole = (
        spec.get(name) for name in ("backoffLimitPerIndex", "maxFailedIndexes", "completions")
    )
    for name, value in (("backoffLimitPerIndex", limit), ("maxFailedIndexes", failed)):
        if value is not None and mode == "NonIndexed":
            causes.append(cause.invalid(f"{path}.{name}", value, "requires indexed completion mode"))
    if failed is not None and limit is None:
        causes.append(cause.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if failed is not None and whole is not None and failed > whole:
        why = "must be less than or equal to completions"
        causes.append(cause.invalid(f"{path}.maxFailedIndexes", failed, why))
    template = spec.get("template")
    if template is None:
        return
    _failure_policy(spec, path, causes)
    validate_template(template, f"{path}.template", causes)
    policy = (template.get("spec") or {}).get("restartPolicy")
    where = f"{path}.template.spec.restartPolicy"
    if policy == "Always":
        causes.append(cause.required(where, 'valid values: "OnFailure", "Never"'))
    elif policy and policy not in ("Never", "OnFailure"):
        causes.append(cause.not_supported(where, policy, ["Never", "OnFailure"]))


def _failure_policy(spec: Json, path: str, causes: list[Cause]) -> None:
    pod = (spec["template"] or {}).get("spec") or {}
    names = {each.get("name") for key in ("containers", "initContainers") for each in pod.get(key) or ()}
    for index, rule in enumerate((spec.get("podFailurePolicy") or {}).get("rules") or ()):
        where = f"{path}.podFailurePolicy.rules[{index}]"
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if (codes is None) == (not conditions):
            causes.append(
                cause.invalid(where, rule, "specifying one of OnExitCodes and OnPodConditions is required")
            )
        if codes is None:
            continue
        if codes.get("containerName") is not None and codes["containerName"] not in names:
            why = "must be one of the container or initContainer names in the pod template"
            causes.append(cause.invalid(f"{where}.onExitCodes.containerName", codes["containerName"], why))
        if not codes.get("values"):
            causes.append(cause.invalid(f"{where}.onExitCodes.values", [], "at least one value is required"))
        for at, value in enumerate(codes.get("values") or ()):
            if value == 0 and codes.get("operator") == "In":
                why = "must not be 0 for the In operator"
                causes.append(cause.invalid(f"{where}.onExitCodes.values[{at}]", value, why))


_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MACROS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_WORDS = {
    name: str(index)
    for group in (
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    )
    for index, name in enumerate(group, 1 if len(group) == 12 else 0)
}


def schedule_error(schedule: str) -> str | None:
    """Why a text is no cron schedule; None if it is one."""
    if schedule.startswith("@"):
        if schedule in _MACROS or re.fullmatch(r"@every \S+", schedule):
            return None
        return f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for text, (low, high) in zip(fields, _FIELDS, strict=True):
        for part in text.lower().split(","):
            found = re.fullmatch(r"(?:\*|\?|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
            if found is None or found[3] == "0":
                return f'failed to parse int from {part}: strconv.Atoi: parsing "{part}": invalid syntax'
            for value in (found[1], found[2]):
                if value is None:
                    continue
                number = _WORDS.get(value, value)
                if not number.isdigit():
                    return (
                        f'failed to parse int from {value}: strconv.Atoi: parsing "{value}": invalid syntax'
                    )
                if int(number) > high:
                    return f"end of range ({number}) above maximum ({high}): {part}"
                if int(number) < low:
                    return f"beginning of range ({number}) below minimum ({low}): {part}"
    return None


def validate_cron_job(obj: Json, old: Json | None) -> list[Cause]:
    """batch/v1 CronJob."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    schedule = spec.get("schedule")
    if schedule:
        wrong = schedule_error(schedule)
        if wrong:
            causes.append(cause.invalid("spec.schedule", schedule, wrong))
        if "TZ" in schedule:
            causes.append(
                cause.invalid(
                    "spec.schedule",
                    schedule,
                    "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
                )
            )
    policy = spec.get("concurrencyPolicy")
    allowed = ("Allow", "Forbid", "Replace")
    if policy and policy not in allowed:
        causes.append(cause.not_supported("spec.concurrencyPolicy", policy, allowed))
    _counts(
        spec,
        "spec",
        ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"),
        causes,
    )
    inner = (spec.get("jobTemplate") or {}).get("spec")
    if inner is not None:
        _job_spec(inner, "spec.jobTemplate.spec", causes)
    name = (obj.get("metadata") or {}).get("name") or ""
    if old is None and len(name) > 52:
        causes.append(cause.invalid("metadata.name", name, "must be no more than 52 characters"))
    return causes
