"""What keeps our pods from running, in the kubelet's or the scheduler's words where they have any. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addons.cache_runtime.agent.sizes import human_size

_APART = "anti-affinity"  # in the scheduler's words, which do not tell whose
# By label fluid.io/dataset-placement of the pod that finds no node (see components).
_RULES = {
    "Exclusive": "its Dataset's placement is Exclusive, so it takes no node that has a cache",
    "Shared": "a node takes one of them, and none beside the cache of a Dataset whose placement is Exclusive",
}
_RULE = "a node takes one of them"
_WORDS = 300  # characters of a log's line


def broken_pods(pods: Sequence[Json]) -> str:
    """Which of a cache's pods are not ready, on which node, and in the kubelet's words why."""
    found = []
    for pod in pods:
        said, node = pod.get("status") or {}, (pod.get("spec") or {}).get("nodeName")
        ready: Json = next((c for c in said.get("conditions") or [] if c.get("type") == "Ready"), {})
        if ready.get("status") == "True" or pod["metadata"].get("deletionTimestamp"):
            continue
        if not node and (unscheduled := _why(pod)):
            found.append(unscheduled)
            continue
        where = f"on node {node}" if node else "on no node yet"
        why = _ended(said) or ready.get("message") or said.get("reason") or said.get("phase", "")
        found.append(f"pod {pod['metadata']['name']} {where} is not ready: {why}")
    return "; ".join(sorted(found))


def over_quota(states: Mapping[str, Json]) -> str:
    """On which nodes a LocalRuntime holds more than it may, by the last state of each node's worker.

    A quota that is lowered takes nothing from pods that may need it.
    """
    found = [
        f"on node {node} the cache holds {human_size(said['cached'])} and its quota is "
        f"{human_size(said['capacity'])}: nothing goes until a DataLoad of something else needs room"
        for node, said in sorted(states.items())
        if "cache" in said and int(said["cached"]) > int(said.get("capacity") or said["cached"])
    ]
    return "; ".join(found)


def waiting_for(pods: Sequence[Json]) -> str:
    """Why some of them do not run; where nobody says, which node is silent."""
    return next(filter(None, map(_why, pods)), "") or next(filter(None, map(_silent, pods)), "")


def _why(pod: Json) -> str:
    said, name = pod.get("status") or {}, pod["metadata"]["name"]
    for container in _containers(said):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("message"):
            ended = (container.get("lastState") or {}).get("terminated") or {}
            words = _last(ended.get("message") or "")
            said_last = f"; container {container['name']} said last: {words}" if words else ""
            return f"pod {name}: {waiting.get('reason')}: {waiting['message']}{said_last}"
    scheduled = get_condition(said.get("conditions") or [], "PodScheduled") or {}
    if scheduled.get("status") != "False":
        return ""
    text = str(scheduled.get("message", ""))
    if _APART in text:
        placement = (pod["metadata"].get("labels") or {}).get("fluid.io/dataset-placement", "")
        text = f"{text} ({_RULES.get(placement, _RULE)})"
    return f"pod {name} is not scheduled: {text}"


def _silent(pod: Json) -> str:
    """Of a pod that a node has; what its mounts wait for, the kubelet says in events only."""
    said, node = pod.get("status") or {}, (pod.get("spec") or {}).get("nodeName")
    metadata = pod["metadata"]
    if not node or said.get("phase") not in (None, "", "Pending", "Running"):
        return ""
    if metadata.get("deletionTimestamp"):
        return f"pod {metadata['name']} is to end, and its node {node} has not said that it has"
    if said.get("phase") == "Running":
        return ""
    if not _containers(said):
        return f"pod {metadata['name']}: node {node} has not started it yet"
    where = f"{metadata.get('namespace', '')} {metadata['name']}"
    return (
        f"pod {metadata['name']} on node {node} is starting; if that lasts: kubectl describe pod -n {where}"
    )


def _containers(said: Json) -> list[Json]:
    return [*(said.get("initContainerStatuses") or []), *(said.get("containerStatuses") or [])]


def _ended(said: Json) -> str:
    for container in said.get("containerStatuses") or []:
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
        if not container.get("ready") and (ended or waiting):
            words = _last(ended.get("message") or "")
            how = f"exit code {ended.get('exitCode')} {words}".strip() if ended else ""
            what = f"{waiting.get('reason', '')} {waiting.get('message', '')}".strip()
            return f"container {container['name']}: {', '.join(filter(None, (what, how)))}"
    return ""


def _last(log: str) -> str:
    """Its last line for people, or what a report says of a failure; other reports are for us."""
    return next(filter(None, map(_words, reversed(log.splitlines()))), "")[:_WORDS]


def _words(line: str) -> str:
    if not line.startswith("{"):
        return line.strip()
    try:
        said = json.loads(line)
    except ValueError:  # a log is cut off where it is too long
        return ""
    return str(said.get("message", "")) if said.get("report") == "failed" else ""
