"""Which nodes a load has to cover: those of the cache now, and who is still to come. Pure.

A load begins on the nodes that are known and is complete when all have been loaded. What no node takes is not
waited for, nor for ever what nobody has judged: a node that comes later is loaded then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addons.cache_runtime.agent.names import role_of
from addons.cache_runtime.agent.troubles import waiting_for
from runtimes.interface import Task

PATIENCE = 60.0  # seconds for pods that are neither on a node nor told that there is none for them


@dataclass(frozen=True)
class Coverage:
    """`hosts` have the cache. `missing` says who is waited for; `left_out` who is not, and why."""

    hosts: Sequence[str] = ()
    missing: str = ""
    left_out: str = ""


def role_for(task: Task, pods: Sequence[Json]) -> str:
    """Whose nodes a task is for: a load need not wait for a worker that only keeps files."""
    workers = any(role_of(each) == "worker" for each in pods)
    return "worker" if workers and task.after != "client" else "client"


def hosts_of(task: Task, pods: Sequence[Json]) -> list[str]:
    """Nodes where the task can run now."""
    role = role_for(task, pods)
    return sorted({p["spec"]["nodeName"] for p in pods if role_of(p) == role and _serves(task, p)})


def coverage(
    task: Task, pods: Sequence[Json], workloads: Sequence[Json], since: datetime, now: datetime
) -> Coverage:
    """`pods` and `workloads` are all of the cache; `since` is when somebody began to wait for them."""
    role = role_for(task, [*pods, *workloads])
    mine = [p for p in pods if role_of(p) == role and not p["metadata"].get("deletionTimestamp")]
    hosts = hosts_of(task, mine)
    wanted = [_wanted(each) for each in workloads if role_of(each) == role]
    absent = [p for p in mine if not p["spec"].get("nodeName")]
    refused = [p for p in absent if _is_refused(p)]
    left_out = f"not on {_count(len(refused), role)} that no node takes: {waiting_for(refused)}"
    total, serving = sum(each or 0 for each in wanted), [p for p in mine if _serves(task, p)]
    if None not in wanted and len(serving) + len(refused) >= total:
        return Coverage(hosts, left_out=left_out if refused else "")
    text = f"waiting for {total - len(serving)} of {_count(total, role)}"
    if None in wanted:
        text = f"waiting until it is known how many {role}s there will be"
    elif said := waiting_for([p for p in pods if role_of(p) == role and p not in serving]):
        text = f"{text}: {said}"
    made = (parse_time(each["metadata"]["creationTimestamp"]) for each in workloads)
    if (now - max([since, *made])).total_seconds() > PATIENCE:
        return Coverage(hosts, left_out=text)
    return Coverage(hosts, text)


def _wanted(workload: Json) -> int | None:
    """How many pods there will be; None while its controller has not looked at it as it is now."""
    said = workload.get("status") or {}
    if workload.get("kind") != "DaemonSet":
        return int(workload["spec"].get("replicas", 1))
    if int(said.get("observedGeneration") or 0) < int(workload["metadata"].get("generation") or 0):
        return None
    return int(said.get("desiredNumberScheduled") or 0)


def _serves(task: Task, pod: Json) -> bool:
    return bool(pod["spec"].get("nodeName")) and (task.after != "client" or is_true(pod, "Ready"))


def _is_refused(pod: Json) -> bool:
    """The scheduler has looked for a node."""
    condition = get_condition((pod.get("status") or {}).get("conditions") or [], "PodScheduled")
    return condition is not None and condition.get("status") == "False"


def _count(number: int, role: str) -> str:
    return f"{number} {role}{'' if number == 1 else 's'}"
