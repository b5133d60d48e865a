"""READY, STATUS and RESTARTS of a pod, told from its containers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.tables import cells


def pod_row(pod: Json, now: datetime) -> list[Any]:
    """The cells of a pod."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    ready, reason, restarts, restarted = _state(pod, spec, status)
    times = str(restarts)
    if restarts and restarted:
        times = f"{restarts} ({cells.age(restarted, now)} ago)"
    gates = spec.get("readinessGates") or []
    conditions = {each.get("type"): each.get("status") for each in status.get("conditions") or ()}
    met = sum(conditions.get(gate.get("conditionType")) == "True" for gate in gates)
    total = len(spec.get("containers") or ()) + sum(map(_is_sidecar, spec.get("initContainers") or ()))
    addresses = [each.get("ip") for each in status.get("podIPs") or ()] or [status.get("podIP")]
    return [
        pod["metadata"].get("name", ""),
        f"{ready}/{total}",
        reason,
        times,
        cells.age(pod["metadata"].get("creationTimestamp"), now),
        addresses[0] or cells.NONE,
        spec.get("nodeName") or cells.NONE,
        status.get("nominatedNodeName") or cells.NONE,
        f"{met}/{len(gates)}" if gates else cells.NONE,
    ]


def _is_sidecar(container: Json) -> bool:
    return container.get("restartPolicy") == "Always"


def _state(pod: Json, spec: Json, status: Json) -> tuple[int, str, int, str]:
    reason = status.get("reason") or status.get("phase") or "Unknown"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    ready = restarts = 0
    restarted = ""
    initializing = False
    declared = {each.get("name"): each for each in spec.get("initContainers") or ()}
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        sidecar = _is_sidecar(declared.get(container.get("name"), {}))
        restarts += container.get("restartCount") or 0
        restarted = max(restarted, _finished(container))
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended is not None and not ended.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if initializing:
            continue
        initializing = True
        if ended is not None:
            reason = f"Init:{_ended(ended)}"
        elif waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            reason = f"Init:{waiting['reason']}"
        else:
            reason = f"Init:{index}/{len(declared)}"
    if not initializing or _condition(status, "Initialized"):
        running = False
        for container in reversed(status.get("containerStatuses") or []):
            restarts += container.get("restartCount") or 0
            restarted = max(restarted, _finished(container))
            state = container.get("state") or {}
            if (state.get("waiting") or {}).get("reason"):
                reason = state["waiting"]["reason"]
            elif state.get("terminated") is not None:
                reason = _ended(state["terminated"])
            elif state.get("running") is not None and container.get("ready"):
                running = True
                ready += 1
        if reason == "Completed" and running:
            reason = "Running" if _condition(status, "Ready") else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return ready, reason, restarts, restarted


def _ended(terminated: Json) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _finished(container: Json) -> str:
    last = (container.get("lastState") or {}).get("terminated") or {}
    return str(last.get("finishedAt") or "")


def _condition(status: Json, kind: str) -> bool:
    return any(
        each.get("type") == kind and each.get("status") == "True" for each in status.get("conditions") or ()
    )
