"""Deployments: ReplicaSets by template, rolled over within surge and unavailability.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.core import DEPLOYMENTS, REPLICASETS
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.kube import AlreadyExists, ApiError, Controller, Key, Watch, patch_status
from addon_framework.local.events import Recorder
from addon_framework.local.workloads.pods import child_of, claim, controller_of, counted, owner_keys
from addon_framework.local.workloads.revisions import template_hash

_HASH, _PREFIX = "pod-template-hash", "deployment.kubernetes.io"
_REVISION, _HISTORY = f"{_PREFIX}/revision", f"{_PREFIX}/revision-history"
_DESIRED, _MAX = f"{_PREFIX}/desired-replicas", f"{_PREFIX}/max-replicas"
_OWN = {_REVISION, _HISTORY, _DESIRED, _MAX, "kubectl.kubernetes.io/last-applied-configuration"}
_OWN |= {"deprecated.deployment.rollback.to"}


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
        """Deployments, their ReplicaSets, and those that are nobody's."""
        keys = owner_keys(lambda: self.cache(DEPLOYMENTS), "Deployment")
        return [Watch(DEPLOYMENTS), Watch(REPLICASETS, map=keys)]

    async def reconcile(self, key: Key) -> float | None:
        """One Deployment."""
        deployment = self.cache(DEPLOYMENTS).get(key)
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return None
        sets = await claim(self.client, self.cache(REPLICASETS), deployment, DEPLOYMENTS)
        spec = deployment["spec"]
        new = next((s for s in sets if _has_template(s, spec["template"])), None)
        revision = max((_revision(s) for s in sets), default=0)
        if new is None and not spec.get("paused"):
            await self._create(deployment, revision + 1, sets)
            return None
        old = [s for s in sets if s is not new]
        if new is not None and not spec.get("paused"):
            new = await self._make_latest(deployment, new, revision)
        rolls = (spec.get("strategy") or {}).get("type") != "Recreate"
        if spec.get("paused") or (rolls and _was_scaled(deployment, sets)):
            await self._scale_all(deployment, new, sets)
        elif new is not None:
            await self._scale(deployment, new, old)
            await self._forget_history(deployment, old)
        return await self._status(deployment, new, sets, revision)

    async def _create(self, deployment: Json, revision: int, sets: list[Json]) -> None:
        spec, metadata = deployment["spec"], deployment["metadata"]
        template = spec["template"]
        status = deployment.get("status") or {}
        name = template_hash(template, int(status.get("collisionCount", 0)))
        labels = {**(template["metadata"].get("labels") or {}), _HASH: name}
        wanted, others = int(spec.get("replicas", 1)), sum(map(_asked, sets))
        recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
        count = (
            wanted if not others else 0 if recreate else min(wanted, max(0, wanted + _surge(spec) - others))
        )
        replica_set = child_of(
            deployment,
            DEPLOYMENTS,
            REPLICASETS,
            {"labels": labels, "annotations": {**_inherited(deployment), _REVISION: str(revision)}},
            name=f"{metadata['name']}-{name}",
        )
        matched = {**(spec["selector"].get("matchLabels") or {}), _HASH: name}
        replica_set["spec"] = {
            "replicas": count,
            **counted(minReadySeconds=int(spec.get("minReadySeconds", 0))),
            "selector": {**spec["selector"], "matchLabels": matched},
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        }
        try:
            created = await self.client.create(REPLICASETS, replica_set)
        except AlreadyExists:
            there = await self.client.get(REPLICASETS, replica_set["metadata"]["name"], metadata["namespace"])
            if (controller_of(there) or {}).get("uid") != metadata["uid"] or not _has_template(
                there, template
            ):
                status = {**status, "collisionCount": int(status.get("collisionCount", 0)) + 1}
                await patch_status(self.client, DEPLOYMENTS, deployment, status, exact=True)
            return  # else our cache has not seen it yet
        except ApiError as error:
            message = f"Failed to create new replica set {replica_set['metadata']['name']!r}: {error.message}"
            self._recorder.event(deployment, "Warning", "ReplicaSetCreateError", message)
            raise
        if count:
            self._tell(deployment, created, 0, count)

    async def _make_latest(self, deployment: Json, new: Json, revision: int) -> Json:
        """A template that comes back, as `kubectl rollout undo` brings it, is a new revision."""
        metadata, spec = new["metadata"], deployment["spec"]
        annotations, before = dict(metadata.get("annotations") or {}), _revision(new)
        wanted = {**annotations, **_inherited(deployment)}
        if before != revision:
            history = [each for each in annotations.get(_HISTORY, "").split(",") if each]
            wanted |= {_REVISION: str(revision + 1), _HISTORY: ",".join([*history, str(before)])}
        seconds = int(spec.get("minReadySeconds", 0))
        if wanted == annotations and int(new["spec"].get("minReadySeconds", 0)) == seconds:
            return new
        patch = {"metadata": {"annotations": wanted}, "spec": {"minReadySeconds": seconds or None}}
        return await self.client.patch(REPLICASETS, metadata["name"], patch, metadata["namespace"])

    async def _scale_all(self, deployment: Json, new: Json | None, sets: list[Json]) -> None:
        """Another number of replicas while several templates run: each has its share of the difference.

        https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling
        """
        wanted = int(deployment["spec"].get("replicas", 1))
        active = sorted((s for s in sets if _asked(s)), key=lambda s: (_asked(s), _revision(s)), reverse=True)
        if len(active) <= 1:
            if one := active[0] if active else new or max(sets, key=_revision, default=None):
                await self._set_replicas(deployment, one, wanted)
            return
        if new is not None and _asked(new) == _available(new) == wanted:
            active, allowed = [s for s in active if s is not new], 0
        else:
            allowed = wanted + _surge(deployment["spec"]) if wanted else 0
        left = allowed - sum(map(_asked, active))
        sizes = []
        for replica_set in active:
            asked = _asked(replica_set)
            limit = int((replica_set["metadata"].get("annotations") or {}).get(_MAX) or wanted)
            share = round(asked * allowed / limit) - asked if limit and left else 0
            share = max(left, min(share, 0)) if left < 0 else min(left, max(share, 0))
            left -= share
            sizes.append(asked + share)
        sizes[0] = max(0, sizes[0] + left)
        for replica_set, size in zip(active, sizes, strict=True):
            await self._set_replicas(deployment, replica_set, size)

    async def _scale(self, deployment: Json, new: Json, old: list[Json]) -> None:
        spec = deployment["spec"]
        wanted = int(spec.get("replicas", 1))
        strategy = spec.get("strategy") or {}
        running_old = sum(
            int((s.get("status") or {}).get(field, 0))
            for s in old
            for field in ("replicas", "terminatingReplicas")
        )
        if strategy.get("type") == "Recreate":
            for replica_set in old:
                await self._set_replicas(deployment, replica_set, 0)
            if not running_old:
                await self._set_replicas(deployment, new, wanted)
            return
        surge, unavailable = _surge(spec), _unavailable(spec)
        if surge == 0 and unavailable == 0:
            unavailable = 1
        asked_old, asked_new = sum(map(_asked, old)), _asked(new)
        room = wanted + surge - asked_old
        target = wanted if not asked_old else max(min(wanted, max(asked_new, room)), 0)
        await self._set_replicas(deployment, new, target)
        if not asked_old:
            return
        # How many may go is told by what was asked for, which is never behind, unlike the sets' status.
        least = wanted - unavailable
        spare = asked_old + target - least - max(target - _available(new), 0)
        broken_first = [(s, _asked(s) - _available(s)) for s in old]
        surplus = sum(map(_available, (new, *old))) - least
        for replica_set, broken in sorted(broken_first, key=lambda pair: _revision(pair[0])):
            asked = _asked(replica_set)
            fewer = max(min(asked, max(broken, 0) + max(surplus, 0), spare), 0)
            spare -= fewer
            surplus -= max(fewer - max(broken, 0), 0)
            await self._set_replicas(deployment, replica_set, asked - fewer)

    async def _set_replicas(self, deployment: Json, replica_set: Json, count: int) -> None:
        before, metadata = _asked(replica_set), replica_set["metadata"]
        annotations = metadata.get("annotations") or {}
        wanted = _sizes(deployment)
        if before == count and (not count or wanted.items() <= annotations.items()):
            return
        patch = {"metadata": {"annotations": wanted}, "spec": {"replicas": count}}
        await self.client.patch(REPLICASETS, metadata["name"], patch, metadata["namespace"])
        if before != count:
            self._tell(deployment, replica_set, before, count)

    def _tell(self, deployment: Json, replica_set: Json, before: int, count: int) -> None:
        way = "up" if count > before else "down"
        message = f"Scaled {way} replica set {replica_set['metadata']['name']} from {before} to {count}"
        self._recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _forget_history(self, deployment: Json, old: list[Json]) -> None:
        limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
        idle = [
            s for s in old if not s["spec"].get("replicas") and not (s.get("status") or {}).get("replicas")
        ]
        for replica_set in sorted(idle, key=_revision)[: max(len(idle) - limit, 0)]:
            await self.client.remove(REPLICASETS, replica_set)

    def _progress(
        self, deployment: Json, conditions: list[Json], new: Json | None, moved: bool
    ) -> float | None:
        """Says that it goes on, or that it has not for progressDeadlineSeconds; when to look again."""
        deadline = int(deployment["spec"].get("progressDeadlineSeconds") or 600)
        current = get_condition(conditions, "Progressing")
        name = new["metadata"]["name"] if new else ""
        if deployment["spec"].get("paused"):
            _set(conditions, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
            return None
        if current is None and new is not None and not (new.get("status") or {}).get("replicas"):
            _set(conditions, "Progressing", True, "NewReplicaSetCreated", f'Created new replica set "{name}"')
            return deadline
        if current is not None and current["reason"] == "DeploymentPaused":
            _set(conditions, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")
            return 0.05
        fresh = current is None or current["reason"] == "NewReplicaSetAvailable"
        changed = deployment["metadata"].get("generation") != (deployment.get("status") or {}).get(
            "observedGeneration"
        )
        if fresh or moved or changed:
            message = f'ReplicaSet "{name}" is progressing.'
            _set(conditions, "Progressing", True, "ReplicaSetUpdated", message, anew=True)
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
        wanted, before = int(deployment["spec"].get("replicas", 1)), deployment.get("status") or {}

        def total(field: str) -> int:
            return sum(int((s.get("status") or {}).get(field, 0)) for s in sets)

        updated = int(((new or {}).get("status") or {}).get("replicas", 0))
        available, replicas = total("availableReplicas"), total("replicas")
        status: Json = {
            "observedGeneration": deployment["metadata"].get("generation", 1),
            "terminatingReplicas": total("terminatingReplicas"),
            **counted(
                replicas=replicas,
                updatedReplicas=updated,
                readyReplicas=total("readyReplicas"),
                availableReplicas=available,
                unavailableReplicas=max(0, sum(map(_asked, sets)) - available),
                collisionCount=int(before.get("collisionCount", 0)),
            ),
        }
        conditions = [dict(c) for c in before.get("conditions") or () if c["type"] != "ReplicaFailure"]
        refusals = [failure for s in sets if (failure := get_condition(s, "ReplicaFailure"))]
        conditions += [{**each, "lastUpdateTime": each["lastTransitionTime"]} for each in refusals[:1]]
        if available >= wanted - _unavailable(deployment["spec"]):
            message = "Deployment has minimum availability."
            _set(conditions, "Available", True, "MinimumReplicasAvailable", message)
        else:
            message = "Deployment does not have minimum availability."
            _set(conditions, "Available", False, "MinimumReplicasUnavailable", message)
        wait = None
        if updated == wanted == replicas == available and not deployment["spec"].get("paused"):
            message = f'ReplicaSet "{new["metadata"]["name"] if new else ""}" has successfully progressed.'
            _set(conditions, "Progressing", True, "NewReplicaSetAvailable", message)
        else:
            counts = ("updatedReplicas", "readyReplicas", "availableReplicas")
            moved = any(status.get(field, 0) > before.get(field, 0) for field in counts)
            wait = self._progress(deployment, conditions, new, moved)
        status["conditions"] = conditions
        await patch_status(self.client, DEPLOYMENTS, deployment, status, exact=True)
        metadata = deployment["metadata"]
        if new is not None and (metadata.get("annotations") or {}).get(_REVISION) != str(_revision(new)):
            patch = {"metadata": {"annotations": {_REVISION: str(_revision(new))}}}
            await self.client.patch(DEPLOYMENTS, metadata["name"], patch, metadata["namespace"])
        return wait


def _set(
    conditions: list[Json], kind: str, value: bool | str, reason: str, message: str, *, anew: bool = False
) -> None:
    """What has changed, or is said `anew`, is the last one, as kube-controller-manager leaves it."""
    if set_condition(conditions, kind, value, reason, message) or anew:
        condition = next(c for c in conditions if c["type"] == kind)
        condition["lastUpdateTime"] = now_rfc3339()
        conditions.sort(key=lambda each: each is condition)


def _asked(replica_set: Json) -> int:
    return int(replica_set["spec"].get("replicas", 0))


def _surge(spec: Json) -> int:
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    return of_percent(rolling.get("maxSurge", "25%"), int(spec.get("replicas", 1)), up=True)


def _unavailable(spec: Json) -> int:
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    return of_percent(rolling.get("maxUnavailable", "25%"), int(spec.get("replicas", 1)), up=False)


def _sizes(deployment: Json) -> dict[str, str]:
    """What a ReplicaSet is told of the whole, to know later that it was scaled."""
    spec = deployment["spec"]
    wanted = int(spec.get("replicas", 1))
    recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
    return {_DESIRED: str(wanted), _MAX: str(wanted + (0 if recreate else _surge(spec)))}


def _inherited(deployment: Json) -> dict[str, str]:
    """The Deployment's annotations, such as kubernetes.io/change-cause, but for those about itself."""
    given = deployment["metadata"].get("annotations") or {}
    return {name: text for name, text in given.items() if name not in _OWN} | _sizes(deployment)


def _was_scaled(deployment: Json, sets: list[Json]) -> bool:
    """Whether spec.replicas has changed since the running sets were last told of it."""
    wanted = str(deployment["spec"].get("replicas", 1))
    return any(
        ((s["metadata"].get("annotations") or {}).get(_DESIRED) or wanted) != wanted
        for s in sets
        if _asked(s)
    )


def _has_template(replica_set: Json, template: Json) -> bool:
    own = replica_set["spec"]["template"]
    labels = {k: v for k, v in (own["metadata"].get("labels") or {}).items() if k != _HASH}
    return bool({**own, "metadata": {**own["metadata"], "labels": labels}} == template)


def _available(replica_set: Json) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas", 0))


def _revision(replica_set: Json) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(_REVISION, 0))
