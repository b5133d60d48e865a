"""ReplicaSets: as many pods as asked for."""

from __future__ import annotations

import asyncio

from addon_framework.api.core import PODS, REPLICASETS
from addon_framework.api.meta import Json
from addon_framework.kube import Controller, Key, Watch, patch_status
from addon_framework.local.events import Recorder
from addon_framework.local.workloads.pods import (
    Expectations,
    create_pod,
    delete_pod,
    is_active,
    is_ready,
    owned_by,
    owner_key,
    pod_from,
)


class ReplicaSetController(Controller):
    """Creates what is missing, deletes what is too much: unready and young pods first."""

    name = "replicaset"

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._created = Expectations()

    def watches(self) -> list[Watch]:
        """ReplicaSets and their pods."""
        return [Watch(REPLICASETS), Watch(PODS, map=owner_key("ReplicaSet"))]

    async def reconcile(self, key: Key) -> float | None:
        """One ReplicaSet."""
        replica_set = self.cache(REPLICASETS).get(key)
        if replica_set is None:
            self._created.forget(key)
            return None
        pods = owned_by(self.cache(PODS), replica_set)
        if (delay := self._created.unmet(key, pods)) is not None:
            return delay
        active = [pod for pod in pods if is_active(pod)]
        wanted = int(replica_set["spec"].get("replicas", 1))
        if not replica_set["metadata"].get("deletionTimestamp"):
            if len(active) < wanted:
                template = replica_set["spec"]["template"]
                new = [pod_from(template, replica_set, REPLICASETS) for _ in range(wanted - len(active))]
                for pod in await asyncio.gather(*(create_pod(self.client, pod) for pod in new)):
                    if pod is not None:
                        self._created.expect(key, pod["metadata"]["uid"])
                        message = f"Created pod: {pod['metadata']['name']}"
                        self._recorder.event(replica_set, "Normal", "SuccessfulCreate", message)
            elif len(active) > wanted:
                surplus = sorted(active, key=_worth)[: len(active) - wanted]
                await asyncio.gather(*(delete_pod(self.client, pod) for pod in surplus))
        ready = sum(map(is_ready, active))
        status: Json = {
            **(replica_set.get("status") or {}),
            "replicas": len(active),
            "fullyLabeledReplicas": len(active),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": replica_set["metadata"].get("generation", 1),
        }
        await patch_status(self.client, REPLICASETS, replica_set, status)
        return None


def _worth(pod: Json) -> tuple[bool, bool, str]:
    """Smallest goes first: not scheduled, not ready, then the youngest (its time is the largest)."""
    created = pod["metadata"]["creationTimestamp"]
    inverted = "".join(chr(0x10FFFF - ord(c)) for c in created)
    return (bool(pod["spec"].get("nodeName")), is_ready(pod), inverted)
