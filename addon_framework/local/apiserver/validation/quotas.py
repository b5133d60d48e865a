"""What a namespace may use, and how workloads are scaled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause
from addon_framework.local.apiserver.validation.containers import amounts

_SCOPES = (
    "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass",
    "Terminating", "VolumeAttributesClass",
)  # fmt: skip
_COUNTED = (
    "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets",
    "services", "services.loadbalancers", "services.nodeports",
)  # fmt: skip
_LIMITED = ("Container", "PersistentVolumeClaim", "Pod")
_ORDER = ("min", "defaultRequest", "default", "max")
_SAID = {"defaultRequest": "default request", "default": "default"}


def _quota(spec: Json, path: str) -> Iterator[Cause]:
    counted = {key: value for key, value in (spec.get("hard") or {}).items() if not _is_counted(key)}
    yield from (each for each in amounts(counted, f"{path}hard") if isinstance(each, Cause))
    scopes, hard = spec.get("scopes") or [], sorted(spec.get("hard") or {})
    for scope in scopes:
        if scope not in _SCOPES:
            yield cause.invalid(f"{path}scopes", scopes, "unsupported scope")
            continue
        for _ in (name for name in hard if "/" not in name and name not in _within(scope)):
            yield cause.invalid(f"{path}scopes", scopes, "unsupported scope applied to resource")
    if any({scope, f"Not{scope}"} <= set(scopes) for scope in ("BestEffort", "Terminating")):
        yield cause.invalid(f"{path}scopes", scopes, "conflicting scopes")


def _within(scope: str) -> tuple[str, ...]:
    """What a quota with that scope may limit."""
    if scope == "VolumeAttributesClass":
        return ("persistentvolumeclaims", "requests.storage")
    sized = [f"{group}{name}" for group in ("", "limits.", "requests.") for name in ("cpu", "memory")]
    return ("pods",) if scope == "BestEffort" else ("pods", *sized)


def _is_counted(name: str) -> bool:
    return name in _COUNTED or name.startswith(("limits.", "requests.", "count/"))


def _limit_range(spec: Json, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, item in enumerate(spec.get("limits") or ()):
        where, kind = f"{path}limits[{index}]", item.get("type") or ""
        if "/" not in kind and kind not in _LIMITED:
            yield cause.invalid(f"{where}.type", kind, "must be a standard limit type or fully qualified")
        if kind in seen:
            yield cause.duplicate(f"{where}.type", kind)
        seen.add(kind)
        yield from _ordered(item, where)


def _ordered(item: Json, path: str) -> Iterator[Cause]:
    """Minimum, default request, default limit and maximum of a resource, none above the next."""
    known: dict[str, dict[str, Any]] = {}
    for field in (*_ORDER, "maxLimitRequestRatio"):
        for found in amounts(item.get(field) or {}, f"{path}.{field}"):
            if isinstance(found, Cause):
                yield found
            else:
                known.setdefault(found[0], {})[field] = found[1]
    for name, values in known.items():
        for index, low in enumerate(_ORDER):
            for high in _ORDER[index + 1 :]:
                if low in values and high in values and values[low] > values[high]:
                    what = [f"{_SAID.get(each, each)} value {item[each][name]}" for each in (low, high)]
                    at = high if low == "min" and high != "max" else low
                    why = f"{what[0]} is greater than {what[1]}"
                    yield cause.invalid(f"{path}.{at}[{name}]", str(item[at][name]), why)
        if (ratio := values.get("maxLimitRequestRatio")) is not None and ratio < 1:
            said = item["maxLimitRequestRatio"][name]
            yield cause.invalid(
                f"{path}.maxLimitRequestRatio[{name}]", str(said), f"ratio {said} is less than 1"
            )


def _autoscaler(spec: Json, path: str) -> Iterator[Cause]:
    low, high = spec.get("minReplicas") or 0, spec.get("maxReplicas") or 0
    if high < low:
        yield cause.invalid(f"{path}maxReplicas", high, "must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef") or {}
    version = target.get("apiVersion") or ""
    if "/" not in version and target.get("kind") != "ReplicationController":
        yield cause.invalid(f"{path}scaleTargetRef.apiVersion", version, "apiVersion must specify API group")
    for index, metric in enumerate(spec.get("metrics") or ()):
        kind = metric.get("type") or ""
        field = kind[:1].lower() + kind[1:]
        if (
            field in ("containerResource", "external", "object", "pods", "resource")
            and metric.get(field) is None
        ):
            why = "must populate information for the given metric source"
            yield cause.required(f"{path}metrics[{index}].{field}", why)


def _resource_metric(value: Json, path: str) -> Iterator[Cause]:
    target = value.get("target") or {}
    if target.get("averageUtilization") is None and target.get("averageValue") is None:
        why = "must set either a target raw value or a target utilization"
        yield cause.required(f"{path}target.averageUtilization", why)


CHECKS: dict[str, Any] = {
    "core.v1.LimitRangeSpec": _limit_range,
    "core.v1.ResourceQuotaSpec": _quota,
    "autoscaling.v2.HorizontalPodAutoscalerSpec": _autoscaler,
    "autoscaling.v2.ResourceMetricSource": _resource_metric,
}
