"""ReplicaSets: as many pods as asked for.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from __future__ import annotations

import asyncio

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.core import PODS, REPLICASETS
from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.kube import ApiError, Controller, Key, Watch, patch_status
from addon_framework.local.events import Recorder
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
)

_COST = "controller.kubernetes.io/pod-deletion-cost"


class ReplicaSetController(Controller):
    """Creates what is missing, deletes what is too much: unready and young pods first."""

    name = "replicaset"

    def __init__(self, recorder: Recorder) -> None:
        self._pods = Pods(recorder)
        self._created = Expectations()

    def watches(self) -> list[Watch]:
        """ReplicaSets and their pods, and those that are nobody's."""
        keys = owner_keys(lambda: self.cache(REPLICASETS), "ReplicaSet")
        return [Watch(REPLICASETS), Watch(PODS, map=keys)]

    async def reconcile(self, key: Key) -> float | None:
        """One ReplicaSet."""
        replica_set = self.cache(REPLICASETS).get(key)
        if replica_set is None:
            self._created.forget(key)
            return None
        pods = await claim(self.client, self.cache(PODS), replica_set, REPLICASETS)
        if (delay := self._created.unmet(key, pods)) is not None:
            return delay
        active = [pod for pod in pods if is_active(pod)]
        problem: ApiError | None = None
        if not replica_set["metadata"].get("deletionTimestamp"):
            try:
                await self._scale(key, replica_set, active)
            except ApiError as error:
                problem = error
        wait = await self._status(replica_set, pods, active, problem)
        if problem is not None:
            raise problem
        return wait

    async def _scale(self, key: Key, replica_set: Json, active: list[Json]) -> None:
        missing = int(replica_set["spec"].get("replicas", 1)) - len(active)
        if missing < 0:
            surplus = sorted(active, key=_worth)[:-missing]
            await asyncio.gather(*(self._pods.delete(self.client, replica_set, pod) for pod in surplus))
            return
        batch = 1  # as long as it works, twice as many at once
        while missing > 0:
            new = [pod_from(replica_set["spec"]["template"], replica_set, REPLICASETS)] * min(batch, missing)
            made = await asyncio.gather(
                *(self._pods.create(self.client, replica_set, pod) for pod in new), return_exceptions=True
            )
            for pod in made:
                if isinstance(pod, dict):
                    self._created.expect(key, pod["metadata"]["uid"])
            for pod in made:
                if isinstance(pod, BaseException):
                    raise pod
            missing, batch = missing - len(new), 2 * batch

    async def _status(
        self, replica_set: Json, pods: list[Json], active: list[Json], problem: ApiError | None
    ) -> float | None:
        wanted = replica_set["spec"]["template"]["metadata"].get("labels") or {}
        able, wait = available(active, int(replica_set["spec"].get("minReadySeconds", 0)))
        before = (replica_set.get("status") or {}).get("conditions") or ()
        failures = [c for c in before if c["type"] == "ReplicaFailure"]
        conditions = [c for c in before if c["type"] != "ReplicaFailure"]
        if problem is not None:
            # The first one stays: another name in the message would be news that leads here again, at once.
            conditions += failures
            if not failures:
                set_condition(conditions, "ReplicaFailure", True, "FailedCreate", problem.message)
        status: Json = {
            "replicas": len(active),
            "terminatingReplicas": sum("deletionTimestamp" in pod["metadata"] for pod in pods),
            **counted(
                fullyLabeledReplicas=sum(wanted.items() <= p["metadata"]["labels"].items() for p in active),
                readyReplicas=sum(map(is_ready, active)),
                availableReplicas=able,
            ),
            "observedGeneration": replica_set["metadata"].get("generation", 1),
        }
        if conditions:
            status["conditions"] = conditions
        await patch_status(self.client, REPLICASETS, replica_set, status, exact=True)
        return wait


def _worth(pod: Json) -> tuple[object, ...]:
    """Smallest goes first: not scheduled, not running, not ready, cheap, often restarted, the youngest."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    ready = get_condition(pod, "Ready") or {}
    since = ready.get("lastTransitionTime") if is_ready(pod) else None
    return (
        bool(pod["spec"].get("nodeName")),
        status.get("phase") == "Running",
        is_ready(pod),
        _cost(pod),
        -parse_time(since).timestamp() if since else 0,
        -max((s.get("restartCount", 0) for s in status.get("containerStatuses") or ()), default=0),
        -parse_time(metadata["creationTimestamp"]).timestamp(),
    )


def _cost(pod: Json) -> int:
    text = str((pod["metadata"].get("annotations") or {}).get(_COST, "0"))
    return int(text) if text.removeprefix("-").isdecimal() else 0
