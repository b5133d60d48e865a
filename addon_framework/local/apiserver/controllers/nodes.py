"""Nodes that have fallen silent, the taints their state earns them, and pods that do not bear these.

https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller. It runs beside the store and not with
the other controllers, which are lost with the node that runs them.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.events import event_about
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.local.apiserver.controllers.loop import work
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.patches import STRATEGIC
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.store import Event, Store
from addon_framework.local.apiserver.system import own_write
from addon_framework.local.apiserver.write import Write
from addon_framework.local.workloads.fit import toleration_of

GRACE = 50.0  # seconds of silence; kube-controller-manager's --node-monitor-grace-period
_LOST = 40.0  # seconds that pods outlive their Node object
_PERIOD, _COLLECTING = 1.0, 20  # seconds, and how many of those between looks at all pods
_PREFIX = "node.kubernetes.io/"
_PRESSURES = {
    "MemoryPressure": "memory-pressure",
    "DiskPressure": "disk-pressure",
    "PIDPressure": "pid-pressure",
    "NetworkUnavailable": "network-unavailable",
}
_OURS = {f"{_PREFIX}{name}" for name in ("not-ready", "unreachable", "unschedulable", *_PRESSURES.values())}


class NodeLifecycle:
    """Looks at each node every second, which costs next to nothing, and at once when it changes."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        objects: Objects,
        *,
        clock: Callable[[], float] = time.monotonic,
        grace: float = GRACE,
    ) -> None:
        self._store, self._objects, self._clock, self._grace = store, objects, clock, grace
        self._kinds = {each: registry.kinds[("", each)] for each in ("nodes", "pods", "events")}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._heard: dict[str, tuple[str, float]] = {}  # node: its last sign of life, and when it came
        self._since: dict[tuple[str, str], float] = {}  # node, uid of a pod that bears its taints for a while
        self._homeless: dict[str, float] = {}  # uid of a pod: since when its node is gone
        store.listen(self._changed)

    async def run(self) -> None:
        """Until cancelled."""
        ticking = asyncio.create_task(self._tick())
        try:
            await work("nodes", self._queue, self.sync)
        finally:
            ticking.cancel()

    async def _tick(self) -> None:
        for tick in itertools.count():
            for node in self._store.list("nodes"):
                self._queue.put_nowait(node["metadata"]["name"])
            if tick % _COLLECTING == 0:
                self._queue.put_nowait("")
            await asyncio.sleep(_PERIOD)

    def _changed(self, event: Event) -> None:
        if event.resource == "nodes":
            self._queue.put_nowait(event.key[1])

    def sync(self, name: str) -> None:
        """One node; "" for pods that have none any more."""
        if not name:
            self._collect()
            return
        node = self._store.get("nodes", ("", name))
        if node is None:
            self._heard.pop(name, None)
            return
        if (
            self._silence(node) > self._grace
            and (get_condition(node, "Ready") or {}).get("status") != "Unknown"
        ):
            node = self._lost(node)
        self._evict(self._taint(node))

    # Silence

    def _silence(self, node: Json) -> float:
        """Seconds since this server has heard of the kubelet: the times it writes are its own clock's."""
        name = node["metadata"]["name"]
        lease = self._store.get("leases.coordination.k8s.io", ("kube-node-lease", name)) or {}
        beats = [c.get("lastHeartbeatTime") for c in (node.get("status") or {}).get("conditions") or ()]
        sign = f"{node['metadata']['uid']} {(lease.get('spec') or {}).get('renewTime')} {beats}"
        if self._heard.get(name, ("",))[0] != sign:
            self._heard[name] = (sign, self._clock())
        return self._clock() - self._heard[name][1]

    def _lost(self, node: Json) -> Json:
        name, now = node["metadata"]["name"], now_rfc3339()
        types = {"Ready", *(c["type"] for c in (node.get("status") or {}).get("conditions") or ())}
        unknown = {"status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": now}
        unknown["message"] = "Kubelet stopped posting node status."
        conditions = [{"type": each, **unknown} for each in sorted(types)]
        node = self._patch("nodes", ("", name), {"status": {"conditions": conditions}}, "status")
        self._event(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        for pod in self._pods_on(name):
            if is_true(pod, "Ready"):
                self._condition(pod, {"type": "Ready", "status": "False", "lastTransitionTime": now})
                self._event(pod, "Warning", "NodeNotReady", "Node is not ready")
        return node

    # Taints

    def _taint(self, node: Json) -> Json:
        taints = (node.get("spec") or {}).get("taints") or []
        wanted = dict.fromkeys(self._earned(node))
        kept = [t for t in taints if t["key"] not in _OURS or (t["key"], t["effect"]) in wanted]
        there = {(t["key"], t["effect"]) for t in kept}
        now = now_rfc3339()
        new = [{"key": k, "effect": e, "timeAdded": now} for k, e in wanted if (k, e) not in there]
        if kept + new == taints:
            return node
        patch = {"spec": {"taints": kept + new or None}}
        return self._patch("nodes", ("", node["metadata"]["name"]), patch)

    def _earned(self, node: Json) -> Iterable[tuple[str, str]]:
        """Where no node at all is well, nobody is sent away: it is rather the network that is down."""
        if (node.get("spec") or {}).get("unschedulable"):
            yield f"{_PREFIX}unschedulable", "NoSchedule"
        for kind, name in _PRESSURES.items():
            if is_true(node, kind):
                yield f"{_PREFIX}{name}", "NoSchedule"
        ready = (get_condition(node, "Ready") or {}).get("status", "True")
        if ready != "True":
            key = f"{_PREFIX}{'not-ready' if ready == 'False' else 'unreachable'}"
            yield key, "NoSchedule"
            if any(is_true(other, "Ready") for other in self._store.list("nodes")):
                yield key, "NoExecute"

    # Eviction

    def _evict(self, node: Json) -> None:
        name = node["metadata"]["name"]
        taints = [t for t in (node.get("spec") or {}).get("taints") or () if t["effect"] == "NoExecute"]
        waiting = {}
        for pod in self._pods_on(name) if taints else ():
            limit = _bears(pod, taints)
            key = (name, pod["metadata"]["uid"])
            if pod["metadata"].get("deletionTimestamp") or limit is None:
                continue
            waiting[key] = self._since.get(key, self._clock())
            if self._clock() - waiting[key] >= limit:
                self._delete(pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
                where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                self._event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {where}")
        self._since = {key: at for key, at in self._since.items() if key[0] != name} | waiting

    def _collect(self) -> None:
        """Pods of nodes that are gone: nobody else would ever end them."""
        nodes = {node["metadata"]["name"] for node in self._store.list("nodes")}
        homeless = {}
        for pod in self._store.list("pods"):
            if (where := pod["spec"].get("nodeName")) and where not in nodes:
                uid = pod["metadata"]["uid"]
                homeless[uid] = self._homeless.get(uid, self._clock())
                if self._clock() - homeless[uid] >= _LOST:
                    self._delete(pod, "DeletionByPodGC", "PodGC: node no longer exists", now=True)
        self._homeless = homeless

    def _delete(self, pod: Json, reason: str, message: str, *, now: bool = False) -> None:
        condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
        self._condition(pod, condition | {"lastTransitionTime": now_rfc3339()})
        metadata = pod["metadata"]
        options: Json = {"preconditions": {"uid": metadata["uid"]}}
        options |= {"gracePeriodSeconds": 0} if now else {}
        self._objects.delete(self._write("pods", (metadata["namespace"], metadata["name"])), options)

    # Reading and writing

    def _pods_on(self, node: str) -> list[Json]:
        return [pod for pod in self._store.list("pods") if pod["spec"].get("nodeName") == node]

    def _condition(self, pod: Json, condition: Json) -> None:
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        self._patch("pods", key, {"status": {"conditions": [condition]}}, "status")

    def _patch(self, plural: str, key: tuple[str, str], patch: Json, subresource: str = "") -> Json:
        return self._objects.patch(self._write(plural, key, subresource), STRATEGIC, patch)

    def _write(self, plural: str, key: tuple[str, str], subresource: str = "") -> Write:
        return own_write(self._kinds[plural], key, subresource)

    def _event(self, obj: Json, type: str, reason: str, message: str) -> None:
        event = event_about(obj, type, reason, message, component="node-controller")
        namespace = event["metadata"]["namespace"]
        self._objects.create(self._write("events", (namespace, "")), event)


def _bears(pod: Json, taints: list[Json]) -> float | None:
    """Seconds for which a pod may stay: 0 for one that may not, None for one that may for ever."""
    limits = []
    for taint in taints:
        toleration = toleration_of(taint, pod["spec"].get("tolerations") or ())
        if toleration is None:
            return 0.0
        if (seconds := toleration.get("tolerationSeconds")) is not None:
            limits.append(max(0.0, float(seconds)))
    return min(limits, default=None)
