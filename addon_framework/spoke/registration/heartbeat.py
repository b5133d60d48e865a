"""The cluster's heartbeat: its Lease on the hub, renewed as often as its ManagedCluster says."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import LEASES
from addon_framework.api.meta import Json
from addon_framework.api.names import CLUSTER_LEASE
from addon_framework.api.time import micro_time
from addon_framework.kube import Client, Controller, Forbidden, Key, Unauthorized, Watch

DEFAULT_DURATION = 60


class HeartbeatController(Controller):
    """Renews `managed-cluster-lease`, which the hub makes and judges.

    `refused` is told when the hub does not know us any more, `doubt` when it does not let us.
    """

    name = "heartbeat"

    def __init__(
        self,
        cluster: str,
        refused: Callable[[str], None],
        doubt: Callable[[], None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._cluster, self._refused, self._doubt = cluster, refused, doubt
        self._now, self._jitter = now, jitter

    def watches(self) -> list[Watch]:
        """The lease's appearance, and how often it is to be renewed."""
        own = [Key(self._cluster, CLUSTER_LEASE)]
        return [
            Watch(
                LEASES,
                namespace=self._cluster,
                field_selector=f"metadata.name={CLUSTER_LEASE}",
                predicate=lambda old, new: old is None,
            ),
            Watch(
                ManagedCluster.RESOURCE,
                map=lambda _: own,
                field_selector=f"metadata.name={self._cluster}",
                predicate=lambda old, new: _duration(old) != _duration(new),
            ),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Renew it, and say when next."""
        cluster = self.cache(ManagedCluster.RESOURCE, field_selector=f"metadata.name={self._cluster}")
        await self.renew(self.client, key)
        return _duration(cluster.get(Key("", self._cluster))) * (0.75 + 0.25 * self._jitter())

    async def renew(self, hub: Client, key: Key) -> None:
        """One renewal. An update, since agents may do no more; NotFound until the hub has made the lease."""
        try:
            lease = await hub.get(LEASES, key.name, key.namespace)
            lease["spec"] = {**(lease.get("spec") or {}), "renewTime": micro_time(self._now())}
            await hub.update(LEASES, lease)
        except Unauthorized as error:
            self._refused(error.message)
            raise
        except Forbidden:
            self._doubt()
            raise


def _duration(cluster: Json | None) -> float:
    return float(((cluster or {}).get("spec") or {}).get("leaseDurationSeconds") or DEFAULT_DURATION)
