"""What the status of a workload says, as CEL: whether it is available, on its way, failing, or over.

The same text serves where we evaluate it ourselves and where it is shipped as condition rules to OCM's agent,
so it uses nothing but CEL's own functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

PROGRESSING, DEGRADED, COMPLETE, AVAILABLE = "Progressing", "Degraded", "Complete", "Available"
WORKLOADS_NOT_AVAILABLE = "WorkloadsNotAvailable"  # of a work: every object is there, not all of them serve


class Workload(NamedTuple):
    """A kind that runs something: its plural, and an expression for each condition that it can have."""

    resource: str
    rules: Mapping[str, str]


def workload(manifest: Mapping[str, object]) -> Workload | None:
    """What is known of the kind of an object; None when it runs nothing."""
    group = str(manifest.get("apiVersion", "")).rpartition("/")[0]
    return _WORKLOADS.get((group, str(manifest.get("kind", ""))))


def _number(path: str, name: str) -> str:
    """An integer that is left out when it is 0."""
    return f"(has({path}.{name}) ? {path}.{name} : 0)"


def _seen(*holds: str) -> str:
    """The status is of this generation, and all of this holds."""
    seen = f"{_number('object.status', 'observedGeneration')} >= object.metadata.generation"
    return f"has(object.status) && {' && '.join([seen, *holds])}"


def _reports(kind: str, status: str = "True") -> str:
    holds = f"object.status.conditions.exists(c, c.type == '{kind}' && c.status == '{status}')"
    return f"has(object.status) && has(object.status.conditions) && {holds}"


def _all_of(wanted: str, *counts: str) -> list[str]:
    return [f"{_number('object.status', count)} == {wanted}" for count in counts]


_REPLICAS = "(has(object.spec.replicas) ? object.spec.replicas : 1)"
_DEPLOYED = ("updatedReplicas", "replicas", "availableReplicas")
_SCHEDULED = _number("object.status", "desiredNumberScheduled")
_STRATEGY = "object.spec.updateStrategy"
_ON_DELETE = f"(has({_STRATEGY}) && has({_STRATEGY}.type) && {_STRATEGY}.type == 'OnDelete')"
_ROLLING = f"has({_STRATEGY}) && has({_STRATEGY}.rollingUpdate)"
_PARTITION = f"({_ROLLING} ? {_number(f'{_STRATEGY}.rollingUpdate', 'partition')} : 0)"
_UPDATED = f"{_number('object.status', 'updatedReplicas')} >= {_REPLICAS} - {_PARTITION}"
_SUSPENDED = "has(object.spec) && has(object.spec.suspend) && object.spec.suspend"
_JOB_OVER = f"({_reports('Complete')}) || ({_reports('Failed')})"
_PHASE = "(has(object.status) && has(object.status.phase) ? object.status.phase : '')"

_WORKLOADS: Mapping[tuple[str, str], Workload] = {
    ("apps", "Deployment"): Workload(
        "deployments",
        {
            AVAILABLE: _reports("Available"),
            PROGRESSING: f"!({_seen(*_all_of(_REPLICAS, *_DEPLOYED))})",
            DEGRADED: _reports("Progressing", "False"),  # its own progressDeadlineSeconds is over
        },
    ),
    ("apps", "StatefulSet"): Workload(
        "statefulsets",
        {
            AVAILABLE: f"has(object.status) && {_number('object.status', 'readyReplicas')} >= {_REPLICAS}",
            PROGRESSING: f"!({_seen(*_all_of(_REPLICAS, 'readyReplicas'))} && ({_ON_DELETE} || {_UPDATED}))",
        },
    ),
    ("apps", "DaemonSet"): Workload(
        "daemonsets",
        {
            AVAILABLE: f"has(object.status) && {_number('object.status', 'observedGeneration')} > 0 && "
            f"{_number('object.status', 'numberAvailable')} >= {_SCHEDULED}",
            PROGRESSING: f"!({_seen(*_all_of(_SCHEDULED, 'numberAvailable'))} && ({_ON_DELETE} || "
            f"{_number('object.status', 'updatedNumberScheduled')} == {_SCHEDULED}))",
        },
    ),
    ("batch", "Job"): Workload(
        "jobs",
        {
            AVAILABLE: f"!({_reports('Failed')})",
            PROGRESSING: f"!({_reports('Complete')}) && !({_SUSPENDED})",
            DEGRADED: _reports("Failed"),
            COMPLETE: _JOB_OVER,
        },
    ),
    ("", "Pod"): Workload(
        "pods",
        {
            AVAILABLE: f"{_PHASE} == 'Succeeded' || ({_reports('Ready')})",
            PROGRESSING: f"!({_PHASE} == 'Succeeded' || ({_reports('Ready')}))",
            DEGRADED: f"{_PHASE} == 'Failed'",
            COMPLETE: f"{_PHASE} in ['Succeeded', 'Failed']",
        },
    ),
}
