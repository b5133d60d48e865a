"""What the kubelet says of a pod: phase, conditions, containers.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339, parse_time

_GATES = 'corresponding condition of pod readiness gate "{}" does not exist or is not True.'


@dataclass
class ContainerState:
    """What the status says of one container."""

    spec: Json
    init: bool = False
    state: Json = field(default_factory=lambda: waiting("PodInitializing"))
    last: Json = field(default_factory=dict)
    restarts: int = 0
    started: bool = False
    ready: bool = False

    def status(self) -> Json:
        """As `containerStatuses` has it."""
        image = self.spec.get("image", "")
        status: Json = {
            "name": self.spec["name"],
            "image": image,
            "imageID": image,
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": self.started,
            "state": self.state,
            "lastState": self.last,
        }
        ended = self.last.get("terminated") or {}  # which stays until there is another one
        if identity := ended.get("containerID") if "waiting" in self.state else self.identity:
            status["containerID"] = identity
        return status

    @property
    def identity(self) -> str:
        """Of the present run."""
        return f"process://{self.spec['name']}-{self.restarts}"

    def ended(self, code: int, started_at: str, reason: str = "", message: str = "") -> None:
        """The present run is over."""
        self.state = terminated(code, started_at, reason, message)
        self.state["terminated"]["containerID"] = self.identity

    def resume(self, before: Json) -> None:
        """What an earlier life of this node said: a container that ran then is gone now."""
        self.restarts, self.last = int(before.get("restartCount", 0)), before.get("lastState") or {}
        state = before.get("state") or {}
        if running := state.get("running"):
            self.restarts += 1
            self.last = terminated(137, running.get("startedAt", ""), "ContainerStatusUnknown")
        elif ended := state.get("terminated"):
            self.restarts += 1
            self.last = {"terminated": ended}
        elif self.last:
            self.restarts += 1  # it waited for its restart


class PodStatus:
    """Builds the status; conditions keep their time while they stay what they are."""

    def __init__(self, pod: Json, address: str, host: str) -> None:
        self.phase, self.reason, self.message = "Pending", "", ""
        status = pod.get("status") or {}
        self._gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
        self.opened: set[str] = set()  # conditions that others have made true
        self._start_time = status.get("startTime") or now_rfc3339()
        self._address, self._host = address, host
        self._transitions = {
            c["type"]: (c["status"], c["lastTransitionTime"])
            for c in status.get("conditions") or ()
            if c.get("lastTransitionTime")
        }

    @property
    def age(self) -> float:
        """Seconds since the pod has come to a node."""
        return (datetime.now(UTC) - parse_time(self._start_time)).total_seconds()

    @property
    def finished(self) -> bool:
        """No container will run any more."""
        return self.phase in ("Succeeded", "Failed")

    def build(self, containers: Sequence[ContainerState]) -> Json:
        """The status as it is now."""
        inits = [c for c in containers if c.init]
        mains = [c for c in containers if not c.init]
        unready = [c.spec["name"] for c in mains if not c.ready]
        ready = not unready and self.phase == "Running"
        reason, message = "", ""
        if not ready:
            reason = "PodCompleted" if self.phase == "Succeeded" else "ContainersNotReady"
            reason = "PodFailed" if self.phase == "Failed" else reason
            message = "" if self.finished else f"containers with unready status: [{' '.join(unready)}]"
        closed = [gate for gate in self._gates if gate not in self.opened]
        gated = (False, "ReadinessGatesNotReady", _GATES.format(closed[0])) if ready and closed else None
        status: Json = {
            "phase": self.phase,
            "startTime": self._start_time,
            "hostIP": self._host,
            "hostIPs": [{"ip": self._host}],
            "podIP": self._address,
            "podIPs": [{"ip": self._address}],
            "conditions": [
                self._condition("PodReadyToStartContainers", not self.finished),
                self._initialized(inits),
                self._condition("Ready", *(gated or (ready, reason, message))),
                self._condition("ContainersReady", ready, reason, message),
                self._condition("PodScheduled", True),
            ],
            # In the order of their names, as kubelets tell them.
            "containerStatuses": sorted((c.status() for c in mains), key=itemgetter("name")),
        }
        if inits:
            status["initContainerStatuses"] = [c.status() for c in inits]
        for name in ("reason", "message"):
            if value := getattr(self, name):
                status[name] = value
        return status

    def _initialized(self, inits: Sequence[ContainerState]) -> Json:
        missing = [c.spec["name"] for c in inits if not (c.ready or c.started)]
        if not missing or self.phase == "Succeeded":
            reason = "PodCompleted" if self.phase == "Succeeded" else ""
            return self._condition("Initialized", True, reason)
        message = f"containers with incomplete status: [{' '.join(missing)}]"
        return self._condition("Initialized", False, "ContainersNotInitialized", message)

    def _condition(self, kind: str, value: bool, reason: str = "", message: str = "") -> Json:
        text = "True" if value else "False"
        if self._transitions.get(kind, ("",))[0] != text:
            self._transitions[kind] = (text, now_rfc3339())
        condition: Json = {"type": kind, "status": text, "lastTransitionTime": self._transitions[kind][1]}
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        return condition


def statuses_of(pod: Json) -> dict[str, Json]:
    """What a pod's status says of each of its containers, by name."""
    said = pod.get("status") or {}
    sections = ("initContainerStatuses", "containerStatuses")
    return {each["name"]: each for section in sections for each in said.get(section) or ()}


def waiting(reason: str, message: str = "") -> Json:
    """A container that does not run."""
    return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}


def terminated(code: int, started_at: str, reason: str = "", message: str = "") -> Json:
    """A container that has ended; one that never ran has no `started_at`."""
    ended: Json = {
        "exitCode": code,
        "reason": reason or ("Completed" if code == 0 else "Error"),
        "finishedAt": now_rfc3339(),
    }
    ended |= {"startedAt": started_at} if started_at else {}
    return {"terminated": ended | ({"message": message} if message else {})}
