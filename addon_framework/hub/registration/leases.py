"""Heartbeats: a cluster whose lease is not renewed becomes Unknown, and its add-ons with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.core import LEASES
from addon_framework.api.meta import Json, copy_json
from addon_framework.api.names import (
    CLUSTER_LEASE,
    CLUSTER_NAME_LABEL,
    CONDITION_ACCEPTED,
    CONDITION_AVAILABLE,
    CONDITION_CLOCK,
)
from addon_framework.api.time import parse_time
from addon_framework.kube import AlreadyExists, Controller, Key, NotFound, Watch
from addon_framework.kube.ensure import write_status

log = structlog.get_logger(__name__)

MISSED_RENEWALS = 5
DEFAULT_DURATION = 60
STOPPED = "ManagedClusterLeaseUpdateStopped"


def grace_period(cluster: Json) -> timedelta:
    """How long after the last renewal a cluster still counts as reachable."""
    seconds = (cluster.get("spec") or {}).get("leaseDurationSeconds") or DEFAULT_DURATION
    return timedelta(seconds=MISSED_RENEWALS * seconds)


class LeaseController(Controller):
    """Makes the lease, watches its renewals, tells of their end at the very moment.

    Whether a cluster is alive is judged by when its renewals come here. The time that it writes is believed
    only at the first look, and not when its clock is known to be another than ours.
    """

    name = "registration-lease"
    workers = 4

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._seen: dict[str, tuple[str, datetime]] = {}  # the last renewal, and when it counts from

    def watches(self) -> list[Watch]:
        """Clusters, their leases, and their add-ons (an add-on of an unreachable cluster is Unknown too)."""
        return [
            Watch(ManagedCluster.RESOURCE),
            Watch(LEASES, map=_cluster_of_lease, label_selector=CLUSTER_NAME_LABEL),
            Watch(
                ManagedClusterAddOn.RESOURCE,
                map=lambda obj: [Key("", obj["metadata"]["namespace"])],
                predicate=_may_be_alive,
            ),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Judge one cluster's lease; come back when it would run out."""
        cluster = self.cache(ManagedCluster.RESOURCE).get(key)
        if cluster is None or get_condition(cluster, CONDITION_ACCEPTED) is None:
            self._seen.pop(key.name, None)
            return None
        lease = self.cache(LEASES, label_selector=CLUSTER_NAME_LABEL).get(Key(key.name, CLUSTER_LEASE))
        deleting = bool(cluster["metadata"].get("deletionTimestamp"))
        if lease is None and not deleting:
            await self._create_lease(key.name)
            return None
        renewed = ((lease or {}).get("spec") or {}).get("renewTime")
        grace = grace_period(cluster)
        left = self._since(key.name, cluster, renewed) + grace - self._now() if renewed else timedelta()
        if left > timedelta():
            await self._clock(cluster, self._is_off(key.name, cluster))
            return left.total_seconds() + 0.01
        await self._unknown(cluster)
        await self._addons_unknown(key.name)
        return None

    def _since(self, name: str, cluster: Json, renewed: str) -> datetime:
        """From when a renewal counts."""
        text, since = self._seen.get(name, ("", self._now()))
        if text == renewed:
            return since
        written = parse_time(renewed)
        synced = get_condition(cluster, CONDITION_CLOCK)
        believed = not text and (synced is None or synced["status"] == "True") and written <= self._now()
        self._seen[name] = renewed, written if believed else self._now()
        return self._seen[name][1]

    def _is_off(self, name: str, cluster: Json) -> timedelta:
        """How much the cluster's clock is ahead of ours; nothing where it is too little to tell."""
        text, since = self._seen[name]
        ahead = parse_time(text) - since
        return ahead if abs(ahead) > grace_period(cluster) else timedelta()

    async def _create_lease(self, cluster: str) -> None:
        # Agents may update their lease and not create it, so the hub does.
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": CLUSTER_LEASE,
                "namespace": cluster,
                "labels": {CLUSTER_NAME_LABEL: cluster},
            },
            "spec": {
                "holderIdentity": CLUSTER_LEASE,
                "renewTime": self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        try:
            await self.client.create(LEASES, lease)
        except AlreadyExists:
            pass  # the cache is behind
        except NotFound:
            raise  # the namespace is not there yet: try again

    async def _unknown(self, cluster: Json) -> None:
        current = get_condition(cluster, CONDITION_AVAILABLE)
        if current is not None and current["status"] == "Unknown":
            return
        status = copy_json(cluster.get("status") or {})
        message = "Registration agent stopped updating its lease."
        set_condition(status.setdefault("conditions", []), CONDITION_AVAILABLE, "Unknown", STOPPED, message)
        if await write_status(self.client, ManagedCluster.RESOURCE, cluster, status):
            log.warning("cluster is unreachable", cluster=cluster["metadata"]["name"])

    async def _addons_unknown(self, cluster: str) -> None:
        for addon in self.cache(ManagedClusterAddOn.RESOURCE).in_namespace(cluster):
            current = get_condition(addon, "Available")
            if current is not None and current["status"] == "Unknown":
                continue
            status = copy_json(addon.get("status") or {})
            set_condition(
                status.setdefault("conditions", []),
                "Available",
                "Unknown",
                STOPPED,
                "Registration agent stopped updating its lease.",
            )
            await write_status(self.client, ManagedClusterAddOn.RESOURCE, addon, status)

    async def _clock(self, cluster: Json, ahead: timedelta) -> None:
        status = copy_json(cluster.get("status") or {})
        conditions = status.setdefault("conditions", [])
        if ahead:
            where = "future" if ahead > timedelta() else "past"
            message = f"The lease was renewed in the hub's {where}: the clocks of hub and cluster differ."
            set_condition(conditions, CONDITION_CLOCK, "False", "ManagedClusterClockOutOfSync", message)
        else:
            message = "The clock of the managed cluster is synced with the hub."
            set_condition(conditions, CONDITION_CLOCK, "True", "ManagedClusterClockSynced", message)
        await write_status(self.client, ManagedCluster.RESOURCE, cluster, status)


def _may_be_alive(old: Json | None, new: Json | None) -> bool:
    """Whether an event is that an add-on says of itself what only a cluster that is heard of can."""
    return new is not None and _status(new) != "Unknown" and (old is None or _status(old) != _status(new))


def _status(addon: Json) -> str:
    available = get_condition(addon, "Available")
    return available["status"] if available else ""


def _cluster_of_lease(lease: Json) -> Iterable[Key]:
    metadata = lease["metadata"]
    return [Key("", metadata["namespace"])] if metadata["name"] == CLUSTER_LEASE else []
