"""DaemonSets: a pod on every node that fits."""

from __future__ import annotations

from addon_framework.api.core import DAEMONSETS, NODES, PODS
from addon_framework.api.meta import Json
from addon_framework.kube import Controller, Key, Watch, patch_status
from addon_framework.local.events import Recorder
from addon_framework.local.workloads.deployments import template_hash
from addon_framework.local.workloads.fit import misfits
from addon_framework.local.workloads.pods import (
    Expectations,
    create_pod,
    delete_pod,
    is_ready,
    owned_by,
    owner_key,
    pod_from,
)

_HASH = "controller-revision-hash"
_TOLERATED = ("not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")


class DaemonSetController(Controller):
    """One pod per node; on a change of template one node after the other (RollingUpdate)."""

    name = "daemonset"

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._created = Expectations()

    def watches(self) -> list[Watch]:
        """DaemonSets, their pods, and nodes, which concern them all."""
        return [
            Watch(DAEMONSETS),
            Watch(PODS, map=owner_key("DaemonSet")),
            Watch(NODES, map=self._all, predicate=_placement_changed),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One DaemonSet."""
        daemon_set = self.cache(DAEMONSETS).get(key)
        if daemon_set is None or daemon_set["metadata"].get("deletionTimestamp"):
            self._created.forget(key)
            return None
        pods = owned_by(self.cache(PODS), daemon_set)
        if (delay := self._created.unmet(key, pods)) is not None:
            return delay
        template = _template(daemon_set)
        fitting = {
            node["metadata"]["name"] for node in self.cache(NODES) if not misfits(template["spec"], node)
        }
        by_node: dict[str, list[Json]] = {}
        for pod in pods:
            by_node.setdefault(_node_of(pod), []).append(pod)
        for name in fitting - by_node.keys():
            pod = pod_from(template, daemon_set, DAEMONSETS)
            pod["spec"] = {**pod["spec"], "affinity": _pinned(pod["spec"].get("affinity"), name)}
            if (created := await create_pod(self.client, pod)) is None:
                return None
            self._created.expect(key, created["metadata"]["uid"])
            name = created["metadata"]["name"]
            self._recorder.event(daemon_set, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        current = template["metadata"]["labels"][_HASH]
        await self._remove(daemon_set, by_node, fitting, current)
        await self._status(daemon_set, fitting, by_node, current)
        return None

    async def _remove(
        self, daemon_set: Json, by_node: dict[str, list[Json]], fitting: set[str], current: str
    ) -> None:
        rolling = (daemon_set["spec"].get("updateStrategy") or {}).get(
            "type", "RollingUpdate"
        ) == "RollingUpdate"
        replacing = False
        for name, pods in by_node.items():
            alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
            ended = [
                pod for pod in alive if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")
            ]
            surplus = alive if name not in fitting else ended or alive[1:]
            stale = [pod for pod in alive if pod["metadata"]["labels"].get(_HASH) != current]
            replacing = replacing or len(alive) < len(pods)
            if rolling and stale and not surplus and not replacing:
                surplus, replacing = stale[:1], True
            for pod in surplus:
                await delete_pod(self.client, pod)

    async def _status(
        self, daemon_set: Json, fitting: set[str], by_node: dict[str, list[Json]], current: str
    ) -> None:
        here = [by_node[name][0] for name in fitting if name in by_node]
        ready = sum(map(is_ready, here))
        status: Json = {
            "currentNumberScheduled": len(here),
            "desiredNumberScheduled": len(fitting),
            "numberMisscheduled": len(by_node.keys() - fitting - {""}),
            "numberReady": ready,
            "numberAvailable": ready,
            "updatedNumberScheduled": sum(p["metadata"]["labels"].get(_HASH) == current for p in here),
            "observedGeneration": daemon_set["metadata"].get("generation", 1),
        }
        if missing := len(fitting) - ready:
            status["numberUnavailable"] = missing
        await patch_status(self.client, DAEMONSETS, daemon_set, status)

    def _all(self, node: Json) -> list[Key]:
        return [Key(d["metadata"]["namespace"], d["metadata"]["name"]) for d in self.cache(DAEMONSETS)]


def _placement_changed(old: Json | None, new: Json | None) -> bool:
    """Heartbeats are no news."""
    if old is None or new is None:
        return True
    return bool(
        old["metadata"].get("labels") != new["metadata"].get("labels") or old.get("spec") != new.get("spec")
    )


def _template(daemon_set: Json) -> Json:
    template = daemon_set["spec"]["template"]
    labels = {**(template["metadata"].get("labels") or {}), _HASH: template_hash(template)}
    tolerations = list(template["spec"].get("tolerations") or ())
    tolerations += [{"key": f"node.kubernetes.io/{name}", "operator": "Exists"} for name in _TOLERATED]
    return {
        **template,
        "metadata": {**template["metadata"], "labels": labels},
        "spec": {**template["spec"], "tolerations": tolerations},
    }


def _pinned(affinity: Json | None, node: str) -> Json:
    """To one node, by name, as kube-controller-manager does it."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {**(affinity or {}), "nodeAffinity": required}


def _node_of(pod: Json) -> str:
    """Where it is, or where it must go."""
    if name := pod["spec"].get("nodeName"):
        return str(name)
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for expression in term.get("matchFields") or ():
            return str(expression["values"][0])
    return ""
