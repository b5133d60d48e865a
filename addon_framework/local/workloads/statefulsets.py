"""StatefulSets: numbered pods with names and claims of their own, in order.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
A revision is the hash of the template. Old templates are not kept: a pod that is replaced below `partition`
gets the current one.
"""

from __future__ import annotations

from addon_framework.api.core import PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from addon_framework.api.meta import Json
from addon_framework.kube import AlreadyExists, Controller, Key, Watch, patch_status
from addon_framework.local.events import Recorder
from addon_framework.local.workloads.deployments import template_hash
from addon_framework.local.workloads.pods import (
    create_pod,
    delete_pod,
    is_active,
    is_ready,
    owned_by,
    owner_key,
    pod_from,
)

_HASH = "controller-revision-hash"


class StatefulSetController(Controller):
    """Creates 0, 1, 2, ... and removes from the end; one at a time unless podManagementPolicy is Parallel."""

    name = "statefulset"

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def watches(self) -> list[Watch]:
        """StatefulSets and their pods."""
        return [Watch(STATEFULSETS), Watch(PODS, map=owner_key("StatefulSet"))]

    async def reconcile(self, key: Key) -> None:
        """One StatefulSet."""
        stateful_set = self.cache(STATEFULSETS).get(key)
        if stateful_set is None or stateful_set["metadata"].get("deletionTimestamp"):
            return
        pods = {_ordinal(pod): pod for pod in owned_by(self.cache(PODS), stateful_set)}
        revision = f"{key.name}-{template_hash(stateful_set['spec']['template'])}"
        if await self._scale(stateful_set, pods, revision):
            await self._roll(stateful_set, pods, revision)
        await self._status(stateful_set, pods, revision)

    async def _scale(self, stateful_set: Json, pods: dict[int, Json], revision: str) -> bool:
        """Whether all pods are there, ready, and none too much."""
        spec = stateful_set["spec"]
        first = int((spec.get("ordinals") or {}).get("start", 0))
        wanted = range(first, first + int(spec.get("replicas", 1)))
        ordered = spec.get("podManagementPolicy") != "Parallel"
        settled = True
        for ordinal in wanted:
            pod = pods.get(ordinal)
            if pod is None:
                await self._create(stateful_set, ordinal, revision)
            elif not pod["metadata"].get("deletionTimestamp") and not is_active(pod):
                await delete_pod(self.client, pod)  # it ended; the next of its name follows
            elif is_ready(pod):
                continue
            elif ordered and _is_stale(pod, revision) and not pod["metadata"].get("deletionTimestamp"):
                # A broken pod of an old template would block its own repair.
                await delete_pod(self.client, pod)
            settled = False
            if ordered:
                return False
        surplus = sorted((n for n in pods if n not in wanted), reverse=True)
        for ordinal in surplus:
            settled = False
            if not pods[ordinal]["metadata"].get("deletionTimestamp"):
                await delete_pod(self.client, pods[ordinal])
            if ordered:
                break
        return settled

    async def _create(self, stateful_set: Json, ordinal: int, revision: str) -> None:
        spec, metadata = stateful_set["spec"], stateful_set["metadata"]
        name = f"{metadata['name']}-{ordinal}"
        volumes = await self._claims(stateful_set, name)
        pod = pod_from(spec["template"], stateful_set, STATEFULSETS, name=name)
        pod["metadata"]["labels"] |= {
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
            _HASH: revision,
        }
        claimed = {volume["name"] for volume in volumes}
        kept = [v for v in pod["spec"].get("volumes") or () if v["name"] not in claimed]
        pod["spec"] = {
            **pod["spec"],
            "hostname": name,
            "subdomain": spec.get("serviceName", ""),
            "volumes": [*kept, *volumes],
        }
        try:
            if await create_pod(self.client, pod) is None:
                return
        except AlreadyExists:
            return  # our cache has not seen it yet, or its predecessor is not gone
        self._recorder.event(
            stateful_set,
            "Normal",
            "SuccessfulCreate",
            f"create Pod {name} in StatefulSet {metadata['name']} successful",
        )

    async def _claims(self, stateful_set: Json, pod: str) -> list[Json]:
        """Makes the claims of one pod; its volumes."""
        volumes = []
        for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
            name = f"{template['metadata']['name']}-{pod}"
            claim = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": name,
                    "namespace": stateful_set["metadata"]["namespace"],
                    "labels": {
                        **(template["metadata"].get("labels") or {}),
                        **(stateful_set["spec"]["selector"].get("matchLabels") or {}),
                    },
                },
                "spec": template["spec"],
            }
            try:
                await self.client.create(PERSISTENTVOLUMECLAIMS, claim)
            except AlreadyExists:
                pass  # claims outlive their pods
            volumes.append(
                {"name": template["metadata"]["name"], "persistentVolumeClaim": {"claimName": name}}
            )
        return volumes

    async def _roll(self, stateful_set: Json, pods: dict[int, Json], revision: str) -> None:
        """Replaces one pod of an older template, the last first."""
        strategy = stateful_set["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        partition = int((strategy.get("rollingUpdate") or {}).get("partition", 0))
        for ordinal in sorted(pods, reverse=True):
            if ordinal >= partition and _is_stale(pods[ordinal], revision):
                await delete_pod(self.client, pods[ordinal])
                return

    async def _status(self, stateful_set: Json, pods: dict[int, Json], revision: str) -> None:
        before = stateful_set.get("status") or {}
        ready = sum(map(is_ready, pods.values()))
        updated = sum(not _is_stale(pod, revision) for pod in pods.values())
        current = before.get("currentRevision") or revision
        if updated == len(pods) == int(stateful_set["spec"].get("replicas", 1)) == ready:
            current = revision
        of_current = sum(pod["metadata"]["labels"].get(_HASH) == current for pod in pods.values())
        status: Json = {
            **before,
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentReplicas": of_current,
            "updatedReplicas": updated,
            "currentRevision": current,
            "updateRevision": revision,
            "collisionCount": 0,
            "observedGeneration": stateful_set["metadata"].get("generation", 1),
        }
        await patch_status(self.client, STATEFULSETS, stateful_set, status)


def _ordinal(pod: Json) -> int:
    tail = str(pod["metadata"]["name"]).rpartition("-")[2]
    return int(tail) if tail.isdigit() else -1


def _is_stale(pod: Json, revision: str) -> bool:
    return bool(pod["metadata"]["labels"].get(_HASH) != revision)
