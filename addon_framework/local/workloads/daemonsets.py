"""DaemonSets: a pod on every node that fits.

https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from addon_framework.api.core import CONTROLLERREVISIONS, DAEMONSETS, NODES, PODS
from addon_framework.api.meta import Json
from addon_framework.kube import Controller, Key, Watch, key_of, patch_status
from addon_framework.local.events import Recorder
from addon_framework.local.workloads import revisions
from addon_framework.local.workloads.deployments import of_percent
from addon_framework.local.workloads.fit import may_be_on, untolerated
from addon_framework.local.workloads.pods import (
    Expectations,
    Pods,
    available,
    claim,
    counted,
    is_active,
    is_ready,
    owner_keys,
    pod_from,
    ready_for,
)

_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)
_TOLERATED_ON_HOST = (("network-unavailable", "NoSchedule"),)


class OnNode(NamedTuple):
    """A set's living pods on one node, and whether one should be made there, or may stay there."""

    pods: list[Json]
    leaving: list[Json]
    wanted: bool
    kept: bool


class DaemonSetController(Controller):
    """One pod per node; on a change of template as many nodes at once as maxUnavailable or maxSurge say."""

    name = "daemonset"

    def __init__(self, recorder: Recorder) -> None:
        self._pods = Pods(recorder)
        self._created = Expectations()

    def watches(self) -> list[Watch]:
        """DaemonSets, their pods and revisions, and nodes, which concern them all."""
        return [
            Watch(DAEMONSETS),
            Watch(PODS, map=owner_keys(lambda: self.cache(DAEMONSETS), "DaemonSet")),
            Watch(CONTROLLERREVISIONS, map=lambda _: []),
            Watch(NODES, map=self._all, predicate=_placement_changed),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One DaemonSet."""
        daemon_set = self.cache(DAEMONSETS).get(key)
        if daemon_set is None or daemon_set["metadata"].get("deletionTimestamp"):
            self._created.forget(key)
            return None
        pods = await claim(self.client, self.cache(PODS), daemon_set, DAEMONSETS)
        if (delay := self._created.unmet(key, pods)) is not None:
            return delay
        known = await revisions.keep(self.client, self.cache(CONTROLLERREVISIONS), daemon_set, DAEMONSETS)
        template = _template(daemon_set, revisions.hash_of(known.current))
        there = self._there(template["spec"], pods)
        await self._manage(key, daemon_set, template, there)
        if (daemon_set["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate":
            await self._roll(key, daemon_set, template, there)
        used = {pod["metadata"]["labels"].get(revisions.HASH, "") for pod in pods}
        await revisions.forget(self.client, daemon_set, known, used)
        return await self._status(daemon_set, there, revisions.hash_of(known.current))

    def _there(self, spec: Json, pods: list[Json]) -> dict[str, OnNode]:
        """By the node's name."""
        found: dict[str, OnNode] = {}
        for node in self.cache(NODES):
            name, fits = node["metadata"]["name"], may_be_on(spec, node)
            wanted = fits and untolerated(spec, node, "NoSchedule", "NoExecute") is None
            found[name] = OnNode([], [], wanted, fits and untolerated(spec, node, "NoExecute") is None)
        for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"])):
            on = found.setdefault(_node_of(pod), OnNode([], [], False, False))
            (on.leaving if pod["metadata"].get("deletionTimestamp") else on.pods).append(pod)
        return found

    async def _manage(self, key: Key, daemon_set: Json, template: Json, there: dict[str, OnNode]) -> None:
        """One on each node that wants one, none where none may stay; those that ended are made anew."""
        current = template["metadata"]["labels"][revisions.HASH]
        for node, on in there.items():
            if on.wanted and not on.pods and not on.leaving:
                await self._create(key, daemon_set, template, node)
            ended = [pod for pod in on.pods if not is_active(pod)]
            new = [pod for pod in on.pods if _is_of(pod, current)]
            old = [pod for pod in on.pods if not _is_of(pod, current)]
            surplus = ended or [*new[1:], *old[1:]] if on.kept else on.pods
            for pod in surplus:
                await self._pods.delete(self.client, daemon_set, pod)

    async def _create(self, key: Key, daemon_set: Json, template: Json, node: str) -> None:
        pod = pod_from(template, daemon_set, DAEMONSETS)
        pod["spec"] = {**pod["spec"], "affinity": _pinned(pod["spec"].get("affinity"), node)}
        if (created := await self._pods.create(self.client, daemon_set, pod)) is not None:
            self._created.expect(key, created["metadata"]["uid"])

    async def _roll(self, key: Key, daemon_set: Json, template: Json, there: dict[str, OnNode]) -> None:
        """Replaces old pods: those that are not available at once, others as far as the limits let."""
        rolling = (daemon_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        wanted = sum(on.wanted for on in there.values())
        surge = of_percent(rolling.get("maxSurge", 0), wanted, up=True)
        room = surge or max(1, of_percent(rolling.get("maxUnavailable", 1), wanted, up=True))
        current = template["metadata"]["labels"][revisions.HASH]
        seconds, now = int(daemon_set["spec"].get("minReadySeconds", 0)), datetime.now(UTC)
        broken: list[tuple[str, Json]] = []
        candidates: list[tuple[str, Json]] = []
        replaced: list[Json] = []
        for node, on in there.items():
            if not on.wanted:
                continue
            old = [pod for pod in on.pods if not _is_of(pod, current)]
            new = [pod for pod in on.pods if _is_of(pod, current)]
            able = bool(new) and ready_for(new[0], seconds, now) == 0
            if old and not new and not (on.leaving and not surge):
                healthy = ready_for(old[0], seconds, now) == 0
                (candidates if healthy else broken).append((node, old[0]))
            elif old and able:
                replaced.append(old[0])
            elif not able:
                room -= 1
        for node, pod in [*broken, *candidates[: max(0, room)]]:
            if surge:
                await self._create(key, daemon_set, template, node)
            else:
                await self._pods.delete(self.client, daemon_set, pod)
        for pod in replaced:
            await self._pods.delete(self.client, daemon_set, pod)

    async def _status(self, daemon_set: Json, there: dict[str, OnNode], current: str) -> float | None:
        wanted = [on for on in there.values() if on.wanted]
        here = [on.pods[0] for on in wanted if on.pods]
        able, wait = available(here, int(daemon_set["spec"].get("minReadySeconds", 0)))
        status: Json = {
            "currentNumberScheduled": len(here),
            "desiredNumberScheduled": len(wanted),
            "numberMisscheduled": sum(bool(on.pods) and not on.wanted for on in there.values()),
            "numberReady": sum(map(is_ready, here)),
            "observedGeneration": daemon_set["metadata"].get("generation", 1),
            **counted(
                numberAvailable=able,
                numberUnavailable=len(wanted) - able,
                updatedNumberScheduled=sum(any(_is_of(p, current) for p in on.pods) for on in wanted),
            ),
        }
        await patch_status(self.client, DAEMONSETS, daemon_set, status, exact=True)
        return wait

    def _all(self, node: Json) -> list[Key]:
        return list(map(key_of, self.cache(DAEMONSETS)))


def _placement_changed(old: Json | None, new: Json | None) -> bool:
    """Heartbeats are no news."""
    if old is None or new is None:
        return True
    return bool(
        old["metadata"].get("labels") != new["metadata"].get("labels") or old.get("spec") != new.get("spec")
    )


def _template(daemon_set: Json, digest: str) -> Json:
    template = daemon_set["spec"]["template"]
    labels = {**(template["metadata"].get("labels") or {}), revisions.HASH: digest}
    borne = [*_TOLERATED, *_TOLERATED_ON_HOST] if template["spec"].get("hostNetwork") else _TOLERATED
    tolerations = list(template["spec"].get("tolerations") or ())
    for name, effect in borne:
        key = f"node.kubernetes.io/{name}"
        tolerations.append({"key": key, "operator": "Exists", "effect": effect})
    return {
        **template,
        "metadata": {**template["metadata"], "labels": labels},
        "spec": {**template["spec"], "tolerations": tolerations},
    }


def _is_of(pod: Json, digest: str) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(revisions.HASH) == digest)


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
