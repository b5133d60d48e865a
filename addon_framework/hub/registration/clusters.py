"""Acceptance, denial and deletion of a ManagedCluster: its namespace, its RBAC, its conditions."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition, is_true, set_condition
from addon_framework.api.core import CLUSTERROLEBINDINGS, CLUSTERROLES, NAMESPACES, ROLEBINDINGS
from addon_framework.api.meta import Json, Resource, copy_json
from addon_framework.api.names import (
    CLEANUP_PRIORITY_ANNOTATION,
    CLUSTER_CLEANUP_FINALIZER,
    CLUSTER_NAME_LABEL,
    CONDITION_ACCEPTED,
    WORK_FINALIZER,
)
from addon_framework.api.work import ManifestWork
from addon_framework.hub.acceptance import is_accepted
from addon_framework.hub.registration import rbac
from addon_framework.hub.registration.blocking import FEW, blocks_otherwise, remaining
from addon_framework.kube import ApiError, Controller, Key, Watch
from addon_framework.kube.ensure import ensure, remove, set_finalizers, write_status
from addon_framework.kube.events import EventRecorder

log = structlog.get_logger(__name__)

MANAGER = "boundaryless-registration"
_OWNED = (CLUSTERROLES, CLUSTERROLEBINDINGS, ROLEBINDINGS, NAMESPACES)
_DRAINED = (ManagedClusterAddOn.RESOURCE, ManifestWork.RESOURCE)  # in this order
_COMMON = Key("", "")
_AGAIN = 1.0  # seconds, should the event that shows it be late


class ClusterController(Controller):
    """ManagedCluster -> namespace, RBAC, HubAcceptedManagedCluster; drains on deletion."""

    name = "registration-cluster"
    workers = 4

    def watches(self) -> list[Watch]:
        """The clusters, what we make for them, and what must go before they may."""
        cluster = ManagedCluster.RESOURCE
        owned = [Watch(r, map=_by_label, label_selector=CLUSTER_NAME_LABEL) for r in _OWNED]
        drained = [Watch(r, map=_by_namespace, predicate=blocks_otherwise) for r in _DRAINED]
        return [Watch(cluster), *owned, *drained]

    async def start(self) -> None:
        """The ClusterRoles that all clusters share are work like any other: retried until done."""
        self.queue.add(_COMMON)

    async def reconcile(self, key: Key) -> float | None:
        """Bring one cluster to its state."""
        if key == _COMMON:
            for role in rbac.common_roles():
                await ensure(self.client, None, role, field_manager=MANAGER, resource=CLUSTERROLES)
            return None
        cluster = self.cache(ManagedCluster.RESOURCE).get(key)
        if cluster is None:
            return None
        if cluster["metadata"].get("deletionTimestamp"):
            return await self._drain(cluster)
        if is_accepted(cluster):
            await self._accept(cluster)
        elif is_true(cluster, CONDITION_ACCEPTED) or self._live(
            CLUSTERROLES, rbac.cluster_role_name(key.name)
        ):  # it may have been denied before its condition could say that it was accepted
            await self._deny(cluster)
        return None

    async def _accept(self, cluster: Json) -> None:
        name = cluster["metadata"]["name"]
        finalizers = cluster["metadata"].get("finalizers") or []
        if CLUSTER_CLEANUP_FINALIZER not in finalizers:
            # Before anything exists that it has to clean up.
            await set_finalizers(
                self.client, ManagedCluster.RESOURCE, cluster, [*finalizers, CLUSTER_CLEANUP_FINALIZER]
            )
            return
        if name == rbac.RESERVED_NAME:
            problem = f"every cluster is in the group of a cluster named {name}: it needs another name"
            await self._condition(cluster, CONDITION_ACCEPTED, "False", "Error", problem)
            return
        if self._is_terminating(name):
            text = f"namespace {name} is being deleted; the cluster is let in when it is gone"
            await self._condition(cluster, CONDITION_ACCEPTED, "False", "NamespaceTerminating", text)
            return  # its deletion calls us again
        problem = ""
        try:
            await self._ensure(NAMESPACES, rbac.namespace(name))
            await self._ensure(CLUSTERROLES, rbac.cluster_role(name, accepted=True))
            await self._ensure(CLUSTERROLEBINDINGS, rbac.cluster_role_binding(name))
            await self._bind(name)
        except ApiError as error:
            problem = error.message
        if problem:
            await self._condition(cluster, CONDITION_ACCEPTED, "False", "Error", problem)
            raise ApiError(0, "RbacNotApplied", problem)
        await self._condition(
            cluster, CONDITION_ACCEPTED, "True", "HubClusterAdminAccepted", "Accepted by hub cluster admin"
        )

    async def _deny(self, cluster: Json) -> None:
        name = cluster["metadata"]["name"]
        await self._ensure(CLUSTERROLES, rbac.cluster_role(name, accepted=False))
        await self._remove_bindings(name)
        await self._condition(
            cluster, CONDITION_ACCEPTED, "False", "HubClusterAdminDenied", "Denied by hub cluster admin"
        )

    async def _drain(self, cluster: Json) -> float | None:
        """Add-ons first, then works, each in cleanup-priority order; then RBAC, then the finalizer."""
        metadata = cluster["metadata"]
        if CLUSTER_CLEANUP_FINALIZER not in (metadata.get("finalizers") or []):
            return None
        name = metadata["name"]
        for resource in _DRAINED:
            left = self.cache(resource).in_namespace(name)
            if not left:
                continue
            if is_accepted(cluster) and not self._is_terminating(name):
                await self._bind(name)  # its agent has to take them away
            lowest = min(map(_cleanup_priority, left))
            for obj in left:
                if _cleanup_priority(obj) == lowest:
                    await remove(self.client, resource, obj)
            reason, text = "ResourceRemaining", remaining(cluster, resource, left)
            is_news = get_condition(cluster, "Deleting") is None or len(left) <= FEW
            if await self._condition(cluster, "Deleting", "True", reason, text) and is_news:
                await EventRecorder(self.client, MANAGER).record(cluster, reason, text)
            return None  # their deletion calls us again
        await self._remove_bindings(name)
        # Whoever saw the cluster a moment ago may have made a work since, which its agent has begun with; it
        # cannot any more. What the server has and the cache has not shown yet calls us again.
        for resource in _DRAINED:
            if (await self.client.list(resource, name))["items"]:
                return _AGAIN
        role = rbac.cluster_role_name(name)
        for resource in (CLUSTERROLEBINDINGS, CLUSTERROLES):
            await remove(self.client, resource, self._live(resource, role))
        finalizers = [f for f in metadata["finalizers"] if f != CLUSTER_CLEANUP_FINALIZER]
        await set_finalizers(self.client, ManagedCluster.RESOURCE, cluster, finalizers)
        return None

    async def _bind(self, cluster: str) -> None:
        for binding in rbac.role_bindings(cluster):
            await self._ensure(ROLEBINDINGS, binding)

    async def _remove_bindings(self, cluster: str) -> None:
        for binding in rbac.role_bindings(cluster):
            live = self._live(ROLEBINDINGS, binding["metadata"]["name"], cluster)
            if live is not None and WORK_FINALIZER in (live["metadata"].get("finalizers") or []):
                kept = [f for f in live["metadata"]["finalizers"] if f != WORK_FINALIZER]
                await set_finalizers(self.client, ROLEBINDINGS, live, kept)
            await remove(self.client, ROLEBINDINGS, live)

    def _is_terminating(self, namespace: str) -> bool:
        live = self._live(NAMESPACES, namespace)
        return live is not None and bool(live["metadata"].get("deletionTimestamp"))

    async def _ensure(self, resource: Resource, desired: Json) -> None:
        metadata = desired["metadata"]
        live = self._live(resource, metadata["name"], metadata.get("namespace", ""))
        if live is not None and live["metadata"].get("deletionTimestamp"):
            return  # its deletion calls us again
        await ensure(self.client, live, desired, field_manager=MANAGER, resource=resource)

    def _live(self, resource: Resource, name: str, namespace: str = "") -> Json | None:
        found: Json | None = self.cache(resource, label_selector=CLUSTER_NAME_LABEL).get(Key(namespace, name))
        return found

    async def _condition(self, cluster: Json, kind: str, status: str, reason: str, message: str) -> bool:
        wanted = copy_json(cluster.get("status") or {})
        set_condition(wanted.setdefault("conditions", []), kind, status, reason, message)
        if await write_status(self.client, ManagedCluster.RESOURCE, cluster, wanted):
            name = cluster["metadata"]["name"]
            log.info("cluster", cluster=name, condition=kind, status=status, reason=reason)
            return True
        return False


def _by_label(obj: Json) -> Iterable[Key]:
    name = obj["metadata"]["labels"].get(CLUSTER_NAME_LABEL)
    return [Key("", name)] if name else []


def _by_namespace(obj: Json) -> Iterable[Key]:
    return [Key("", obj["metadata"]["namespace"])]


def _cleanup_priority(obj: Json) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(CLEANUP_PRIORITY_ANNOTATION, "0")
    return min(max(int(text), 0), 100) if text.isdigit() else 0
