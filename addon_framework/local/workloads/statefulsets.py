"""StatefulSets: numbered pods with names and claims of their own, in order.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from addon_framework.api.core import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from addon_framework.api.meta import Json
from addon_framework.kube import AlreadyExists, ApiError, Controller, Key, Watch, patch_status
from addon_framework.local.events import Recorder
from addon_framework.local.workloads import retention, revisions
from addon_framework.local.workloads.deployments import of_percent
from addon_framework.local.workloads.pods import (
    available,
    claim,
    counted,
    is_active,
    is_closing,
    is_ready,
    owner_keys,
    pod_from,
    ready_for,
)


class Plan(NamedTuple):
    """What one pass works with: the set, its living pods by number, and its revisions."""

    owner: Json
    pods: dict[int, Json]
    known: revisions.Revisions

    @property
    def update(self) -> str:
        """The revision of the template."""
        return str(self.known.current["metadata"]["name"])

    @property
    def current(self) -> str:
        """The one from which the pods are being moved away."""
        name = (self.owner.get("status") or {}).get("currentRevision")
        return str(name) if name and self.known.template(name) else self.update

    @property
    def first(self) -> int:
        """The lowest number."""
        return int((self.owner["spec"].get("ordinals") or {}).get("start", 0))

    @property
    def wanted(self) -> range:
        """All numbers."""
        return range(self.first, self.first + int(self.owner["spec"].get("replicas", 1)))

    @property
    def rolling(self) -> Json:
        """How to roll."""
        return (self.owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}

    def revision(self, ordinal: int) -> str:
        """The one that a pod is made of: below the partition it stays what it was."""
        if (self.owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") != "RollingUpdate":
            return self.update
        kept = ordinal < self.first + int(self.rolling.get("partition", 0))
        return self.current if kept else self.update


class StatefulSetController(Controller):
    """Creates 0, 1, 2, ... and removes from the end; one at a time unless podManagementPolicy is Parallel."""

    name = "statefulset"

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def watches(self) -> list[Watch]:
        """StatefulSets, their pods and revisions; claims are read, and do not concern anybody."""
        return [
            Watch(STATEFULSETS),
            Watch(PODS, map=owner_keys(lambda: self.cache(STATEFULSETS), "StatefulSet")),
            Watch(CONTROLLERREVISIONS, map=lambda _: []),
            Watch(PERSISTENTVOLUMECLAIMS, map=lambda _: []),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One StatefulSet."""
        owner = self.cache(STATEFULSETS).get(key)
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            return None
        named = re.compile(rf"{re.escape(key.name)}-\d+")
        claimed = await claim(
            self.client,
            self.cache(PODS),
            owner,
            STATEFULSETS,
            lambda pod: bool(named.fullmatch(pod["metadata"]["name"])),
        )
        pods = {_ordinal(pod): pod for pod in claimed}
        known = await revisions.keep(self.client, self.cache(CONTROLLERREVISIONS), owner, STATEFULSETS)
        plan = Plan(owner, pods, known)
        if await self._scale(plan):
            await self._roll(plan)
        used = {_revision(pod) for pod in claimed} | {plan.current}
        await revisions.forget(self.client, owner, known, used)
        return await self._status(plan)

    async def _scale(self, plan: Plan) -> bool:
        """Whether all pods are there, available, and none too much."""
        ordered = plan.owner["spec"].get("podManagementPolicy") != "Parallel"
        seconds, now = int(plan.owner["spec"].get("minReadySeconds", 0)), datetime.now(UTC)
        claims, settled = self.cache(PERSISTENTVOLUMECLAIMS), True
        for ordinal in plan.wanted:
            pod = plan.pods.get(ordinal)
            if pod is None:
                await self._create(plan, ordinal)
            elif not pod["metadata"].get("deletionTimestamp") and not is_active(pod):
                await self._delete(plan, pod)  # it ended; the next of its name follows
            elif ready_for(pod, seconds, now) == 0:
                await retention.settle(self.client, claims, plan.owner, pod)
                continue
            settled = False
            if ordered:
                return False
        for ordinal in sorted((n for n in plan.pods if n not in plan.wanted), reverse=True):
            settled = False
            pod = plan.pods[ordinal]
            if not pod["metadata"].get("deletionTimestamp"):
                await retention.settle(self.client, claims, plan.owner, pod, leaves=True)
                await self._delete(plan, pod)
            if ordered:
                break
        return settled or not ordered

    async def _create(self, plan: Plan, ordinal: int) -> None:
        owner, revision = plan.owner, plan.revision(ordinal)
        spec, metadata = owner["spec"], owner["metadata"]
        name = f"{metadata['name']}-{ordinal}"
        template = plan.known.template(revision) or spec["template"]
        pod = pod_from(template, owner, STATEFULSETS, name=name, generateName=f"{metadata['name']}-")
        pod["metadata"]["labels"] |= {
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
            revisions.HASH: revision,
        }
        try:
            volumes = await self._claims(owner, name)
            claimed = {volume["name"] for volume in volumes}
            kept = [v for v in pod["spec"].get("volumes") or () if v["name"] not in claimed]
            own = {"hostname": name, "subdomain": spec.get("serviceName", ""), "volumes": [*kept, *volumes]}
            pod["spec"] = {**pod["spec"], **own}
            await self.client.create(PODS, pod)
        except AlreadyExists:
            return  # our cache has not seen it yet, or its predecessor is not gone
        except ApiError as error:
            if is_closing(error):
                return
            why = f"Create Pod {name} in StatefulSet {metadata['name']} failed error: {error.message}"
            self._recorder.event(owner, "Warning", "FailedCreate", why)
            raise
        done = f"Create Pod {name} in StatefulSet {metadata['name']} successful"
        self._recorder.event(owner, "Normal", "SuccessfulCreate", done)

    async def _delete(self, plan: Plan, pod: Json) -> None:
        if await self.client.remove(PODS, pod):
            names = f"Pod {pod['metadata']['name']} in StatefulSet {plan.owner['metadata']['name']}"
            self._recorder.event(plan.owner, "Normal", "SuccessfulDelete", f"Delete {names} successful")

    async def _claims(self, owner: Json, pod: str) -> list[Json]:
        """Makes the claims of one pod; its volumes."""
        volumes = []
        for template in owner["spec"].get("volumeClaimTemplates") or ():
            name = f"{template['metadata']['name']}-{pod}"
            given, matched = template["metadata"], owner["spec"]["selector"].get("matchLabels") or {}
            body = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": name,
                    "namespace": owner["metadata"]["namespace"],
                    "labels": {**(given.get("labels") or {}), **matched},
                    "annotations": dict(given.get("annotations") or {}),
                    "ownerReferences": retention.owners(owner, None),
                },
                "spec": template["spec"],
            }
            try:
                await self.client.create(PERSISTENTVOLUMECLAIMS, body)
            except AlreadyExists:
                pass  # claims outlive their pods
            else:
                done = f"Create Claim {name} Pod {pod} in StatefulSet {owner['metadata']['name']} success"
                self._recorder.event(owner, "Normal", "SuccessfulCreate", done)
            volumes.append({"name": given["name"], "persistentVolumeClaim": {"claimName": name}})
        return volumes

    async def _roll(self, plan: Plan) -> None:
        """Replaces pods of another revision, the last first, while no more than maxUnavailable are away."""
        spec = plan.owner["spec"]
        if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
            return
        room = max(1, of_percent(plan.rolling.get("maxUnavailable", 1), len(plan.wanted), up=False))
        seconds, now = int(spec.get("minReadySeconds", 0)), datetime.now(UTC)
        for ordinal in sorted(plan.pods, reverse=True):
            pod = plan.pods[ordinal]
            if ordinal < plan.first + int(plan.rolling.get("partition", 0)) or room <= 0:
                return
            stale, going = _revision(pod) != plan.update, bool(pod["metadata"].get("deletionTimestamp"))
            if stale and not going:
                await self._delete(plan, pod)
            if stale or ready_for(pod, seconds, now) != 0:
                room -= 1

    async def _status(self, plan: Plan) -> float | None:
        pods = list(plan.pods.values())
        ready = sum(map(is_ready, pods))
        able, wait = available(pods, int(plan.owner["spec"].get("minReadySeconds", 0)))
        living = [pod for pod in pods if is_active(pod)]
        updated = sum(_revision(pod) == plan.update for pod in living)
        current = plan.current
        rolls = (plan.owner["spec"].get("updateStrategy") or {}).get("type") != "OnDelete"
        if rolls and updated == len(pods) == len(plan.wanted) == ready:
            current = plan.update
        status: Json = {
            "replicas": len(pods),
            "availableReplicas": able,
            "currentRevision": current,
            "updateRevision": plan.update,
            "collisionCount": 0,
            "observedGeneration": plan.owner["metadata"].get("generation", 1),
            **counted(
                readyReplicas=ready,
                currentReplicas=sum(_revision(pod) == current for pod in living),
                updatedReplicas=updated,
            ),
        }
        await patch_status(self.client, STATEFULSETS, plan.owner, status, exact=True)
        return wait


def _ordinal(pod: Json) -> int:
    tail = str(pod["metadata"]["name"]).rpartition("-")[2]
    return int(tail) if tail.isdigit() else -1


def _revision(pod: Json) -> str:
    return str((pod["metadata"].get("labels") or {}).get(revisions.HASH, ""))
