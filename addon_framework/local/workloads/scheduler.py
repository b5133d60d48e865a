"""The scheduler: gives each pod a node it fits, or says why there is none.

https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/
"""

from __future__ import annotations

from collections import Counter

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import (
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
)
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import Conflict, Controller, Key, NotFound, Watch, key_of
from addon_framework.local.events import Recorder
from addon_framework.local.workloads.claims import claims_of
from addon_framework.local.workloads.fit import is_within_reach, misfits, preference
from addon_framework.local.workloads.neighbours import Neighbourhood, Placed, looks_at_others
from addon_framework.local.workloads.pods import has_ended
from addon_framework.local.workloads.preemption import cheapest, may_preempt, priority

_BY_NODE = "node-name"


class Scheduler(Controller):
    """One pod at a time, so that two never count on the same free GPU."""

    name = "scheduler"

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._assumed: dict[str, tuple[str, Json]] = {}  # uid: node, pod; bound, but not in our cache yet
        self._promised: dict[str, tuple[str, Json]] = {}  # uid: node, pod; for whom others have to leave

    def watches(self) -> list[Watch]:
        """Pods without a node; nodes, claims and pods that end may make room for all of those."""
        return [
            Watch(PODS, map=self._concerned),
            Watch(NODES, map=self._waiting, predicate=_room_changed),
            Watch(PERSISTENTVOLUMECLAIMS, map=self._waiting),
            Watch(PERSISTENTVOLUMES, map=self._waiting),
            Watch(NAMESPACES, map=lambda _: []),
        ]

    async def reconcile(self, key: Key) -> None:
        """Binds one pod."""
        pod = self.cache(PODS).get(key)
        if pod is None or not _is_pending(pod) or pod["metadata"]["uid"] in self._assumed:
            return
        if pod["spec"].get("schedulingGates"):
            why = "Scheduling is blocked due to non-empty scheduling gates"
            await self._refuse(pod, "SchedulingGated", why)
            return
        neighbours = self._neighbours()
        fitting, reasons = self._filter(pod, neighbours)
        if missing := self._unbound_claim(pod):
            fitting = []
            reasons = Counter({missing: len(self.cache(NODES))})
        if not fitting:
            if not missing:
                await self._preempt(pod, neighbours)
            await self._unschedulable(pod, reasons)
            return
        node = max(
            fitting,
            key=lambda each: (
                preference(pod["spec"], each) + neighbours.preference(pod, each),
                -len(self._pods_on(_name(each))),
            ),
        )
        metadata = pod["metadata"]
        binding: Json = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": _name(node)},
        }
        path = PODS.path(metadata["namespace"], metadata["name"], "binding")
        try:
            await self.client.request("POST", path, body=binding)
        except (Conflict, NotFound):
            return  # bound or gone meanwhile; the cache will say so
        current = self.cache(PODS).get(key)
        if current is not None and _is_pending(current):
            self._assumed[metadata["uid"]] = (_name(node), pod)
        self._recorder.event(pod, "Normal", "Scheduled", f"Successfully assigned {key} to {_name(node)}")

    async def _preempt(self, pod: Json, neighbours: Neighbourhood) -> None:
        """Ends pods of lower priority where that makes room; the pod is bound once they are gone."""
        nodes = list(self.cache(NODES))

        def fits(node: Json, others: list[Json]) -> bool:
            left = neighbours.of({each["metadata"]["uid"] for each in others}, node)
            specs = [each["spec"] for each in others]
            return not misfits(pod["spec"], node, specs) and not left.misfit(pod, node, nodes)

        if not may_preempt(pod):
            return
        there = {_name(node): self._pods_on(_name(node)) for node in nodes}
        if any(
            p["metadata"].get("deletionTimestamp") and priority(p) < priority(pod)
            for p in there.get((pod.get("status") or {}).get("nominatedNodeName", ""), ())
        ):
            return  # they are on their way out
        found = cheapest(pod, nodes, lambda node: there[_name(node)], fits)
        if found is None or not found.victims:
            return
        metadata = pod["metadata"]
        self._promised[metadata["uid"]] = (_name(found.node), pod)
        status = {"nominatedNodeName": _name(found.node)}
        body: Json = {"metadata": {"uid": metadata["uid"]}, "status": status}
        await self.client.patch(PODS, metadata["name"], body, metadata["namespace"], subresource="status")
        for victim in found.victims:
            condition = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "PreemptionByScheduler",
                "message": "default-scheduler: preempting to accommodate a higher priority pod",
                "lastTransitionTime": now_rfc3339(),
            }
            try:
                await self._condition(victim, condition)
            except (Conflict, NotFound):
                continue
            await self.client.remove(PODS, victim)
            message = f"Preempted by pod {metadata['uid']} on node {_name(found.node)}"
            self._recorder.event(victim, "Normal", "Preempted", message)

    def _filter(self, pod: Json, neighbours: Neighbourhood) -> tuple[list[Json], Counter[str]]:
        fitting, reasons = [], Counter[str]()
        nodes, volumes = list(self.cache(NODES)), self._volumes(pod)
        for node in nodes:
            others = [*self._pods_on(_name(node)), *self._expected_on(_name(node), pod)]
            found = misfits(pod["spec"], node, [other["spec"] for other in others])
            if not found and (reason := neighbours.misfit(pod, node, nodes)):
                found = [reason]
            if not found and not all(is_within_reach(volume, node) for volume in volumes):
                found = ["node(s) didn't match PersistentVolume's node affinity"]
            reasons.update(found)
            if not found:
                fitting.append(node)
        return fitting, reasons

    def _neighbours(self) -> Neighbourhood:
        placed = [Placed(pod, node) for node in self.cache(NODES) for pod in self._pods_on(_name(node))]

        def labels_of(namespace: str) -> dict[str, str]:
            found = self.cache(NAMESPACES).get(Key("", namespace))
            return (found["metadata"].get("labels") if found else None) or {}

        return Neighbourhood(placed, labels_of)

    def _pods_on(self, node: str) -> list[Json]:
        """A node's pods that have not ended, and those that are about to be there."""
        pods = self.cache(PODS)
        pods.add_index(_BY_NODE, lambda pod: [pod["spec"].get("nodeName") or ""])
        there = [pod for pod in pods.by_index(_BY_NODE, node) if not has_ended(pod)]
        return there + [pod for assumed, pod in self._assumed.values() if assumed == node]

    def _claims(self, pod: Json) -> list[tuple[str, Json | None]]:
        return [(key.name, self.cache(PERSISTENTVOLUMECLAIMS).get(key)) for key in claims_of(pod)]

    def _volumes(self, pod: Json) -> list[Json]:
        """The PersistentVolumes that its claims are bound to."""
        names = (claim["spec"].get("volumeName") for _, claim in self._claims(pod) if claim is not None)
        found = (self.cache(PERSISTENTVOLUMES).get(Key("", name)) for name in names if name)
        return [volume for volume in found if volume is not None]

    def _expected_on(self, node: str, pod: Json) -> list[Json]:
        """Pods for which room is being made, and that go before this one."""
        waiting = [other for promised, other in self._promised.values() if promised == node]
        return [other for other in waiting if priority(other) > priority(pod)]

    def _unbound_claim(self, pod: Json) -> str:
        for name, claim in self._claims(pod):
            if claim is None:
                return f'persistentvolumeclaim "{name}" not found'
            if claim["metadata"].get("deletionTimestamp"):
                return f'persistentvolumeclaim "{name}" is being deleted'
            if (claim.get("status") or {}).get("phase") != "Bound":
                return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    async def _unschedulable(self, pod: Json, reasons: Counter[str]) -> None:
        total = len(self.cache(NODES))
        listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
        message = (
            f"0/{total} nodes are available: {listed}." if total else "no nodes available to schedule pods"
        )
        if await self._refuse(pod, "Unschedulable", message):
            self._recorder.event(pod, "Warning", "FailedScheduling", message)

    async def _refuse(self, pod: Json, reason: str, message: str) -> bool:
        """Whether that is news."""
        before = get_condition(pod, "PodScheduled") or {}
        if (before.get("status"), before.get("message")) == ("False", message):
            return False
        condition: Json = {
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": before.get("lastTransitionTime") or now_rfc3339(),
        }
        await self._condition(pod, condition)
        return True

    async def _condition(self, pod: Json, condition: Json) -> None:
        metadata = pod["metadata"]
        body: Json = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [condition]}}
        await self.client.patch(
            PODS, metadata["name"], body, metadata["namespace"], kind="strategic", subresource="status"
        )

    def _concerned(self, pod: Json) -> list[Key]:
        """Called with the old and the new state of a pod."""
        current = self.cache(PODS).get(key_of(pod))
        if pod["spec"].get("nodeName") or current is None:
            self._assumed.pop(pod["metadata"]["uid"], None)
            self._promised.pop(pod["metadata"]["uid"], None)
            # What has ended or gone leaves room; what has come may be whom others want to be with.
            waiting = self._waiting(pod)
            if current is None or has_ended(current):
                return waiting
            return [key for key in waiting if looks_at_others(self.cache(PODS).get(key) or pod)]
        return [key_of(pod)] if _is_pending(pod) else []

    def _waiting(self, _: Json) -> list[Key]:
        pods = self.cache(PODS)
        pods.add_index(_BY_NODE, lambda pod: [pod["spec"].get("nodeName") or ""])
        waiting = [pod for pod in pods.by_index(_BY_NODE, "") if _is_pending(pod)]
        first = sorted(waiting, key=lambda pod: (-priority(pod), pod["metadata"]["creationTimestamp"]))
        return [key_of(pod) for pod in first]


def _is_pending(pod: Json) -> bool:
    spec, metadata = pod["spec"], pod["metadata"]
    ours = spec.get("schedulerName", "default-scheduler") == "default-scheduler"
    return ours and not spec.get("nodeName") and not metadata.get("deletionTimestamp") and not has_ended(pod)


def _room_changed(old: Json | None, new: Json | None) -> bool:
    """Heartbeats are no news."""
    if old is None or new is None:
        return True
    before, after = old.get("status") or {}, new.get("status") or {}
    return bool(
        old.get("spec") != new.get("spec")
        or old["metadata"].get("labels") != new["metadata"].get("labels")
        or before.get("allocatable") != after.get("allocatable")
    )


def _name(node: Json) -> str:
    return str(node["metadata"]["name"])
