"""How cells of tables print ages, lists and amounts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time

NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def age(timestamp: Any, now: datetime) -> str:
    """Time since, as kubectl shows it: 45s, 5m10s, 3h, 2d4h, 340d, 2y30d."""
    if not timestamp:
        return UNKNOWN
    try:
        return duration((now - parse_time(str(timestamp))).total_seconds())
    except (ValueError, TypeError):
        return "<invalid>"


def duration(seconds: float) -> str:
    """A duration in at most two units."""
    if seconds < -2:
        return "<invalid>"
    whole = max(int(seconds), 0)
    minutes, hours = whole // 60, whole // 3600
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(hours // 24, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{hours // 24}d"
    if hours < 24 * 365 * 8:
        return _two(hours // 24 // 365, "y", hours // 24 % 365, "d")
    return f"{hours // 24 // 365}y"


def _two(big: int, unit: str, small: int, below: str) -> str:
    return f"{big}{unit}{small}{below}" if small else f"{big}{unit}"


def until(start: Any, end: Any, now: datetime) -> str:
    """How long something took, or has taken so far."""
    if not start:
        return ""
    return duration(((parse_time(str(end)) if end else now) - parse_time(str(start))).total_seconds())


def typed(values: Any, kind: str) -> Json:
    """The one of a list's items, such as conditions, with that type."""
    return next((each for each in values or () if each.get("type") == kind), {})


def joined(values: Iterable[Any], empty: str = NONE) -> str:
    """a,b or <none>."""
    return ",".join(str(each) for each in values) or empty


def first_few(values: Iterable[Any], empty: str) -> str:
    """Three of them, and how many more there are."""
    found = list(values)
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return joined(found[:3], empty) + more


def selector(value: Any) -> str:
    """Labels, or a LabelSelector, as selectors are typed."""
    if not value:
        return NONE
    if "matchLabels" not in value and "matchExpressions" not in value:
        return joined(f"{key}={label}" for key, label in sorted(value.items()))
    parts = [f"{key}={label}" for key, label in sorted((value.get("matchLabels") or {}).items())]
    for term in value.get("matchExpressions") or ():
        key, values = term["key"], ",".join(sorted(term.get("values") or ()))
        forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "DoesNotExist": f"!{key}"}
        parts.append(forms.get(term.get("operator", ""), key))
    return joined(parts)


def containers(template: Any, field: str) -> str:
    """Names or images of a pod template."""
    found: list[Json] = ((template or {}).get("spec") or {}).get("containers") or []
    return joined(each.get(field, "") for each in found)


def access_modes(values: Any) -> str:
    """Abbreviated: RWO, ROX, RWX, RWOP."""
    return joined((_MODES.get(each, each) for each in values or ()), "")


def node_state(node: Json) -> str:
    """Ready or not, and whether it takes pods."""
    ready = typed((node.get("status") or {}).get("conditions"), "Ready")
    state = "Unknown"
    if ready:
        state = "Ready" if ready.get("status") == "True" else "NotReady"
    return state + (",SchedulingDisabled" if (node.get("spec") or {}).get("unschedulable") else "")


def node_roles(labels: Any) -> str:
    """From the labels of old and new."""
    prefix, old = "node-role.kubernetes.io/", "kubernetes.io/role"
    roles = {key.removeprefix(prefix) for key in labels or () if key.startswith(prefix)}
    return joined(sorted(roles | ({labels[old]} if labels and labels.get(old) else set())))


def job_state(job: Json) -> str:
    """The condition that counts most."""
    conditions = (job.get("status") or {}).get("conditions")
    for kind in ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if typed(conditions, kind).get("status") == "True":
            return kind
    return "Terminating" if job["metadata"].get("deletionTimestamp") else "Running"


def job_completions(job: Json) -> str:
    """Done of wanted, or of a work queue's one."""
    spec, done = job.get("spec") or {}, (job.get("status") or {}).get("succeeded", 0)
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    width = spec.get("parallelism") or 0
    return f"{done}/1" + (f" of {width}" if width > 1 else "")


def external_addresses(service: Json) -> str:
    """Where it is reached from outside."""
    spec, status = service.get("spec") or {}, service.get("status") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
    given = [each.get("ip") or each.get("hostname") for each in ingress]
    empty = "<pending>" if spec.get("type") == "LoadBalancer" else NONE
    return joined([*filter(None, given), *(spec.get("externalIPs") or ())], empty)


def service_ports(ports: Any) -> str:
    """80:30080/TCP,..."""
    found = []
    for port in ports or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        found.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return joined(found)


def subset_addresses(subsets: Any) -> list[str]:
    """Each address with each port."""
    return [
        f"{address.get('ip')}:{port.get('port')}" if port else str(address.get("ip"))
        for subset in subsets or ()
        for port in subset.get("ports") or [None]
        for address in subset.get("addresses") or ()
    ]


def event_source(event: Json) -> str:
    """Component and host."""
    source = event.get("source") or event.get("deprecatedSource") or {}
    reporter = event.get("reportingComponent") or event.get("reportingController") or ""
    component = source.get("component") or reporter
    host = source.get("host") or event.get("reportingInstance")
    return f"{component}, {host}" if host else component


def controller(obj: Json) -> str:
    """Who rules over it: statefulset.apps/web."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            group = str(owner.get("apiVersion", "")).rpartition("/")[0]
            return f"{owner['kind'].lower()}{'.' if group else ''}{group}/{owner['name']}"
    return NONE


def reference(value: Any) -> str:
    """Kind.group/name."""
    if not value:
        return NONE
    group = f".{value['apiGroup']}" if value.get("apiGroup") else ""
    return f"{value.get('kind')}{group}/{value.get('name')}"


def addresses(points: Any) -> str:
    """Of load balancers, as long as a column is wide."""
    text = ",".join(each.get("ip") or each.get("hostname") or "" for each in points or ())
    return text if len(text) <= 16 else f"{text[:13]}..."


def used(status: Any, limits: bool) -> str:
    """What is used of a quota, of limits or of all else."""
    hard, so_far = (status or {}).get("hard") or {}, (status or {}).get("used") or {}
    names = [name for name in sorted(hard) if name.startswith("limits") == limits]
    return ", ".join(f"{name}: {so_far.get(name, 0)}/{hard[name]}" for name in names)


def available(service: Json) -> str:
    """Of an API, and why not."""
    condition = typed((service.get("status") or {}).get("conditions"), "Available")
    state = str(condition.get("status") or "Unknown")
    return state if state == "True" or not condition else f"{state} ({condition.get('reason', '')})"


def targets(autoscaler: Json) -> str:
    """What is measured of what is wanted, two metrics of them."""
    spec, status = autoscaler.get("spec") or {}, autoscaler.get("status") or {}
    measured = status.get("currentMetrics") or []
    found = [
        _target(metric, measured[index] if index < len(measured) else {})
        for index, metric in enumerate(spec.get("metrics") or ())
    ]
    more = f" + {len(found) - 2} more..." if len(found) > 2 else ""
    return (", ".join(found[:2]) or NONE) + more


def _target(metric: Json, measured: Json) -> str:
    field = metric.get("type", "")[:1].lower() + metric.get("type", "")[1:]
    wanted, now = metric.get(field) or {}, (measured.get(field) or {}).get("current") or {}
    target = wanted.get("target") or {}
    named = f"{wanted['name']}: " if "name" in wanted else ""
    if target.get("averageUtilization") is not None:
        percent = now.get("averageUtilization")
        current = UNKNOWN if percent is None else f"{percent}%"
        return f"{named}{current}/{target['averageUtilization']}%"
    average = target.get("averageValue")
    current = now.get("averageValue" if average is not None else "value") or UNKNOWN
    suffix = " (avg)" if average is not None and field in ("external", "object") else ""
    return f"{named}{current}/{average if average is not None else target.get('value')}{suffix}"


def request_state(request: Json) -> str:
    """Of a certificate request: decided, failed, issued."""
    status = request.get("status") or {}
    kinds = [each.get("type") for each in status.get("conditions") or ()]
    state = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    return state + (",Failed" if "Failed" in kinds else "") + (",Issued" if status.get("certificate") else "")


def subjects(values: Any, kind: str) -> str:
    """Those of one kind."""
    return ", ".join(
        f"{each['namespace']}/{each['name']}" if each.get("namespace") else each.get("name", "")
        for each in values or ()
        if each.get("kind") == kind
    )


FILTERS = (
    access_modes, addresses, available, containers, controller, duration, event_source, external_addresses,
    first_few, job_completions, job_state, node_roles, node_state, reference, request_state, selector,
    service_ports, subjects, subset_addresses, targets, typed, used,
)  # fmt: skip
