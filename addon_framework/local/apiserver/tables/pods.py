"""READY, STATUS and RESTARTS of a pod, told from its containers."""

from __future__ import annotations

from typing import NamedTuple

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.tables.cells import NONE, typed


class PodState(NamedTuple):
    """Cells of a pod; `restarted` is when a container ended last."""

    ready: str
    reason: str
    restarts: int
    restarted: str


class _Tally:
    """Counted over all containers."""

    ready = restarts = 0
    restarted = ""

    def add(self, container: Json) -> None:
        self.restarts += container.get("restartCount") or 0
        last = (container.get("lastState") or {}).get("terminated") or {}
        self.restarted = max(self.restarted, str(last.get("finishedAt") or ""))


def pod_state(pod: Json) -> PodState:
    """As kubectl tells it."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    tally = _Tally()
    reason = status.get("reason") or status.get("phase") or "Unknown"
    if typed(status.get("conditions"), "PodScheduled").get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    initializing = _init_state(spec, status, tally)
    reason = initializing or reason
    if not initializing or _is_true(status, "Initialized"):
        reason = _running_state(status, reason, tally)
    if pod["metadata"].get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    total = len(spec.get("containers") or ()) + sum(map(_is_sidecar, spec.get("initContainers") or ()))
    return PodState(f"{tally.ready}/{total}", reason, tally.restarts, tally.restarted)


def readiness_gates(pod: Json) -> str:
    """How many of them are met."""
    gates, conditions = pod.get("spec", {}).get("readinessGates"), pod.get("status", {}).get("conditions")
    met = sum(typed(conditions, gate.get("conditionType")).get("status") == "True" for gate in gates or ())
    return f"{met}/{len(gates)}" if gates else NONE


def _is_sidecar(container: Json) -> bool:
    return container.get("restartPolicy") == "Always"


def _init_state(spec: Json, status: Json, tally: _Tally) -> str:
    """Where initialization is; empty once it is over."""
    shown = ""
    declared = {each.get("name"): each for each in spec.get("initContainers") or ()}
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        tally.add(container)
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended is not None and not ended.get("exitCode"):
            continue
        if _is_sidecar(declared.get(container.get("name"), {})) and container.get("started"):
            tally.ready += bool(container.get("ready"))
        elif shown:
            continue
        elif ended is not None:
            shown = f"Init:{_ended(ended)}"
        elif waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            shown = f"Init:{waiting['reason']}"
        else:
            shown = f"Init:{index}/{len(declared)}"
    return shown


def _running_state(status: Json, reason: str, tally: _Tally) -> str:
    """What the containers do, once initialized."""
    running = False
    for container in reversed(status.get("containerStatuses") or []):
        tally.add(container)
        state = container.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif state.get("terminated") is not None:
            reason = _ended(state["terminated"])
        elif state.get("running") is not None and container.get("ready"):
            running = True
            tally.ready += 1
    if reason == "Completed" and running:
        return "Running" if _is_true(status, "Ready") else "NotReady"
    return reason


def _ended(terminated: Json) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _is_true(status: Json, condition: str) -> bool:
    return bool(typed(status.get("conditions"), condition).get("status") == "True")
