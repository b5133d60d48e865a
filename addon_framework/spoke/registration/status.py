"""The ManagedCluster's status: joined, available, how large, which version, which claims."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

from addon_framework.api.cluster import ClusterClaim, ManagedCluster
from addon_framework.api.conditions import is_true, set_condition
from addon_framework.api.core import NODES
from addon_framework.api.meta import Json
from addon_framework.api.names import CONDITION_ACCEPTED, CONDITION_AVAILABLE, CONDITION_JOINED
from addon_framework.kube import ApiError, Client, Controller, Key, NotFound, Watch
from addon_framework.kube.ensure import write_status
from addon_framework.spoke.registration import facts

PROBE_EVERY = 60.0  # seconds, OCM's period
PROBE_AGAIN = 5.0  # after a failure
PATIENCE = 10.0  # an API server that restarts is no reason to move work elsewhere


class ClusterStatusController(Controller):
    """Nodes, claims and the API server's health -> status of our ManagedCluster on the hub."""

    name = "cluster-status"

    def __init__(self, spoke: Client, cluster: str) -> None:
        self._spoke, self._cluster = spoke, cluster
        self._failing_since: float | None = None

    def watches(self) -> list[Watch]:
        """Our ManagedCluster on the hub; nodes and claims here."""
        to_us = self._to_us
        return [
            Watch(ManagedCluster.RESOURCE, field_selector=f"metadata.name={self._cluster}"),
            Watch(NODES, map=to_us, predicate=_node_matters, client=self._spoke),
            Watch(ClusterClaim.RESOURCE, map=to_us, client=self._spoke),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Write what differs; probe again after a while."""
        own = self.cache(ManagedCluster.RESOURCE, field_selector=f"metadata.name={self._cluster}")
        cluster: Json | None = own.get(key)
        if cluster is None or not is_true(cluster, CONDITION_ACCEPTED):
            return None
        status = copy.deepcopy(cluster.get("status") or {})
        conditions = status.setdefault("conditions", [])
        set_condition(conditions, CONDITION_JOINED, True, "ManagedClusterJoined", "Managed cluster joined")
        problem = await self._probe(status)
        if problem and not self._lasts():
            return PROBE_AGAIN
        if problem:
            set_condition(
                conditions, CONDITION_AVAILABLE, False, "ManagedClusterKubeAPIServerUnavailable", problem
            )
        else:
            text = "Managed cluster is available"
            set_condition(conditions, CONDITION_AVAILABLE, True, "ManagedClusterAvailable", text)
            nodes = self.cache(NODES, client=self._spoke).items()
            status["capacity"], status["allocatable"] = facts.resources(nodes)
            status["clusterClaims"] = facts.claims(
                self.cache(ClusterClaim.RESOURCE, client=self._spoke).items()
            )
        await write_status(self.client, ManagedCluster.RESOURCE, cluster, status)
        return PROBE_AGAIN if problem else PROBE_EVERY

    async def _probe(self, status: Json) -> str:
        """The reason why the cluster's API server is not healthy, "" when it is; and its version."""
        try:
            try:
                await self._spoke.request("GET", "/livez")
            except NotFound:
                await self._spoke.request("GET", "/healthz")
            version = await self._spoke.request("GET", "/version")
        except ApiError as error:
            return f"The kube-apiserver is not ok: {error.message}"
        self._failing_since = None
        status["version"] = {"kubernetes": str(version.get("gitVersion") or "")}
        return ""

    def _lasts(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._failing_since = now if self._failing_since is None else self._failing_since
        return now - self._failing_since >= PATIENCE

    @property
    def _to_us(self) -> Callable[[Json], list[Key]]:
        own = [Key("", self._cluster)]
        return lambda _: own


def _node_matters(old: Json | None, new: Json | None) -> bool:
    """Heartbeats do not."""

    def size(node: Json | None) -> object:
        status = (node or {}).get("status") or {}
        unschedulable = ((node or {}).get("spec") or {}).get("unschedulable")
        return status.get("capacity"), status.get("allocatable"), bool(unschedulable)

    return old is None or new is None or size(old) != size(new)
