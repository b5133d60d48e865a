"""Deployments: ReplicaSets by template, rolled over within surge and unavailability.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime

import orjson

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.core import DEPLOYMENTS, REPLICASETS
from addon_framework.api.meta import Json, owner_reference
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.kube import AlreadyExists, Controller, Key, Watch, patch_status
from addon_framework.local.events import Recorder
from addon_framework.local.workloads.pods import owned_by, owner_key

_HASH, _REVISION = "pod-template-hash", "deployment.kubernetes.io/revision"


def template_hash(template: Json) -> str:
    """Names the ReplicaSet of a template."""
    return hashlib.sha256(orjson.dumps(template, option=orjson.OPT_SORT_KEYS)).hexdigest()[:10]


def of_percent(value: int | str, total: int, *, up: bool) -> int:
    """A number, or a percentage of `total`."""
    if isinstance(value, int):
        return value
    exact = int(value.rstrip("%")) * total / 100
    return math.ceil(exact) if up else math.floor(exact)


class DeploymentController(Controller):
    """Brings one ReplicaSet up and the others down."""

    name = "deployment"

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def watches(self) -> list[Watch]:
        """Deployments and their ReplicaSets."""
        return [Watch(DEPLOYMENTS), Watch(REPLICASETS, map=owner_key("Deployment"))]

    async def reconcile(self, key: Key) -> float | None:
        """One Deployment."""
        deployment = self.cache(DEPLOYMENTS).get(key)
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return None
        sets = owned_by(self.cache(REPLICASETS), deployment)
        spec = deployment["spec"]
        name = template_hash(spec["template"])
        new = next((s for s in sets if s["metadata"]["labels"].get(_HASH) == name), None)
        revision = max((_revision(s) for s in sets), default=0)
        if new is None and not spec.get("paused"):
            await self._create(deployment, name, revision + 1, sets)
            return None
        old = [s for s in sets if s is not new]
        if new is not None:
            new = await self._make_latest(new, revision)
            await self._scale(deployment, new, old)
            await self._forget_history(deployment, old)
        return await self._status(deployment, new, sets, revision)

    async def _create(self, deployment: Json, name: str, revision: int, sets: list[Json]) -> None:
        spec, metadata = deployment["spec"], deployment["metadata"]
        template = spec["template"]
        labels = {**(template["metadata"].get("labels") or {}), _HASH: name}
        first = not any(int(s["spec"].get("replicas", 0)) for s in sets)
        replica_set: Json = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{metadata['name']}-{name}",
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": {_REVISION: str(revision)},
                "ownerReferences": [owner_reference(deployment, DEPLOYMENTS, controller=True)],
            },
            "spec": {
                "replicas": int(spec.get("replicas", 1)) if first else 0,
                "selector": {
                    **spec["selector"],
                    "matchLabels": {**(spec["selector"].get("matchLabels") or {}), _HASH: name},
                },
                "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
            },
        }
        try:
            await self.client.create(REPLICASETS, replica_set)
        except AlreadyExists:
            return  # our cache has not seen it yet

    async def _make_latest(self, new: Json, revision: int) -> Json:
        """A template that comes back, as `kubectl rollout undo` brings it, is a new revision."""
        if _revision(new) == revision:
            return new
        metadata = new["metadata"]
        patch = {"metadata": {"annotations": {_REVISION: str(revision + 1)}}}
        return await self.client.patch(REPLICASETS, metadata["name"], patch, metadata["namespace"])

    async def _scale(self, deployment: Json, new: Json, old: list[Json]) -> None:
        spec = deployment["spec"]
        wanted = int(spec.get("replicas", 1))
        strategy = spec.get("strategy") or {}
        running_old = sum(int((s.get("status") or {}).get("replicas", 0)) for s in old)
        if strategy.get("type") == "Recreate":
            for replica_set in old:
                await self._set_replicas(deployment, replica_set, 0)
            if not running_old:
                await self._set_replicas(deployment, new, wanted)
            return
        rolling = strategy.get("rollingUpdate") or {}
        surge = of_percent(rolling.get("maxSurge", "25%"), wanted, up=True)
        unavailable = of_percent(rolling.get("maxUnavailable", "25%"), wanted, up=False)
        if surge == 0 and unavailable == 0:
            unavailable = 1
        asked_old = sum(int(s["spec"].get("replicas", 0)) for s in old)
        asked_new = int(new["spec"].get("replicas", 0))
        room = wanted + surge - asked_old
        target = wanted if not asked_old else max(min(wanted, max(asked_new, room)), 0)
        await self._set_replicas(deployment, new, target)
        if not asked_old:
            return
        # How many may go is told by what was asked for, which is never behind, unlike the sets' status.
        least = wanted - unavailable
        spare = asked_old + target - least - max(target - _available(new), 0)
        broken_first = [(s, int(s["spec"].get("replicas", 0)) - _available(s)) for s in old]
        surplus = sum(map(_available, (new, *old))) - least
        for replica_set, broken in sorted(broken_first, key=lambda pair: _revision(pair[0])):
            asked = int(replica_set["spec"].get("replicas", 0))
            fewer = max(min(asked, max(broken, 0) + max(surplus, 0), spare), 0)
            spare -= fewer
            surplus -= max(fewer - max(broken, 0), 0)
            await self._set_replicas(deployment, replica_set, asked - fewer)

    async def _set_replicas(self, deployment: Json, replica_set: Json, count: int) -> None:
        before = int(replica_set["spec"].get("replicas", 0))
        if before != count:
            metadata = replica_set["metadata"]
            patch = {"spec": {"replicas": count}}
            await self.client.patch(REPLICASETS, metadata["name"], patch, metadata["namespace"])
            way = "up" if count > before else "down"
            message = f"Scaled {way} replica set {metadata['name']} from {before} to {count}"
            self._recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _forget_history(self, deployment: Json, old: list[Json]) -> None:
        limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
        idle = [
            s for s in old if not s["spec"].get("replicas") and not (s.get("status") or {}).get("replicas")
        ]
        for replica_set in sorted(idle, key=_revision)[: max(len(idle) - limit, 0)]:
            metadata = replica_set["metadata"]
            await self.client.delete(
                REPLICASETS, metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )

    def _progress(self, deployment: Json, conditions: list[Json], name: str, moved: bool) -> float | None:
        """Says that it goes on, or that it has not for progressDeadlineSeconds; when to look again."""
        deadline = int(deployment["spec"].get("progressDeadlineSeconds") or 600)
        current = get_condition(conditions, "Progressing")
        fresh = current is None or current["reason"] == "NewReplicaSetAvailable"
        changed = deployment["metadata"].get("generation") != (deployment.get("status") or {}).get(
            "observedGeneration"
        )
        if fresh or moved or changed:
            _set(conditions, "Progressing", True, "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
            now = next(c for c in conditions if c["type"] == "Progressing")
            now["lastUpdateTime"] = now_rfc3339()
            return deadline
        assert current is not None
        since = parse_time(current["lastUpdateTime"])
        left = deadline - (datetime.now(UTC) - since).total_seconds()
        if left > 0 or current["status"] == "False":
            return left if left > 0 else None
        message = f'ReplicaSet "{name}" has timed out progressing.'
        _set(conditions, "Progressing", False, "ProgressDeadlineExceeded", message)
        return None

    async def _status(
        self, deployment: Json, new: Json | None, sets: list[Json], revision: int
    ) -> float | None:
        wanted = int(deployment["spec"].get("replicas", 1))

        def total(field: str) -> int:
            return sum(int((s.get("status") or {}).get(field, 0)) for s in sets)

        updated = int(((new or {}).get("status") or {}).get("replicas", 0))
        available, replicas = total("availableReplicas"), total("replicas")
        status: Json = {
            "observedGeneration": deployment["metadata"].get("generation", 1),
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": total("readyReplicas"),
            "availableReplicas": available,
        }
        if wanted > available:
            status["unavailableReplicas"] = wanted - available
        conditions = [dict(c) for c in (deployment.get("status") or {}).get("conditions") or ()]
        rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        least = wanted - of_percent(rolling.get("maxUnavailable", "25%"), wanted, up=False)
        enough = available >= least
        _set(
            conditions,
            "Available",
            enough,
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        )
        name = new["metadata"]["name"] if new else ""
        before = deployment.get("status") or {}
        wait = None
        if updated == wanted == replicas == available:
            message = f'ReplicaSet "{name}" has successfully progressed.'
            _set(conditions, "Progressing", True, "NewReplicaSetAvailable", message)
        else:
            counts = ("updatedReplicas", "readyReplicas", "availableReplicas")
            moved = any(status[field] > before.get(field, 0) for field in counts)
            wait = self._progress(deployment, conditions, name, moved)
        status["conditions"] = conditions
        await patch_status(self.client, DEPLOYMENTS, deployment, status)
        metadata = deployment["metadata"]
        if new is not None and (metadata.get("annotations") or {}).get(_REVISION) != str(_revision(new)):
            patch = {"metadata": {"annotations": {_REVISION: str(_revision(new))}}}
            await self.client.patch(DEPLOYMENTS, metadata["name"], patch, metadata["namespace"])
        return wait


def _set(conditions: list[Json], kind: str, value: bool, reason: str, message: str = "") -> None:
    if set_condition(conditions, kind, value, reason, message):
        condition = next(c for c in conditions if c["type"] == kind)
        condition["lastUpdateTime"] = condition["lastTransitionTime"]


def _available(replica_set: Json) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas", 0))


def _revision(replica_set: Json) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(_REVISION, 0))
