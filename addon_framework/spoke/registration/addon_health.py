"""Whether an add-on's agent lives: its Lease here -> Available of the ManagedClusterAddOn on the hub."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.conditions import set_condition
from addon_framework.api.core import LEASES
from addon_framework.api.meta import Json
from addon_framework.api.names import HOSTING_CLUSTER_ANNOTATION
from addon_framework.api.time import parse_time
from addon_framework.kube import Client, Controller, Key, Watch
from addon_framework.kube.ensure import write_status
from addon_framework.spoke.home import Home
from addon_framework.spoke.informers import InformerPool, Scope
from addon_framework.spoke.registration.addons import install_namespace, is_hosted

GRACE = timedelta(seconds=5 * 60)  # OCM: five renewals of a minute


def verdict(addon: str, lease: Json | None, left: timedelta, hosting: str = "") -> tuple[str, str, str]:
    """Status, reason and message of the condition; `left` is how long the last renewal still counts. Pure."""
    renewed = ((lease or {}).get("spec") or {}).get("renewTime")
    if lease is None or not renewed:
        text = f"The status of {addon} add-on is unknown."
        if hosting:
            text += (
                f" There is no lease of it on hosting cluster {hosting}: do this cluster's agents run there?"
            )
        return "Unknown", "ManagedClusterAddOnLeaseNotFound", text
    if left <= timedelta():
        text = f"{addon} add-on is not available."
        return "False", "ManagedClusterAddOnLeaseUpdateStopped", text
    return "True", "ManagedClusterAddOnLeaseUpdated", f"{addon} add-on is available."


class AddonHealthController(Controller):
    """Judges the leases of add-ons whose health is told so, at every renewal and when one stays out."""

    name = "addon-health"

    def __init__(
        self,
        spoke: Client,
        cluster: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        home: Home | None = None,
    ) -> None:
        self._cluster, self._now = cluster, now
        self._seen: dict[Key, tuple[str, datetime]] = {}  # the last renewal, and when it counts from
        own = InformerPool(spoke, self._renewed)
        hosted = home is not None and home.client is not spoke
        self._leases = {
            False: own,
            True: InformerPool(home.client, self._renewed) if home is not None and hosted else own,
        }

    def watches(self) -> list[Watch]:
        """The add-ons; their leases are watched in the namespaces they say."""
        return [Watch(ManagedClusterAddOn.RESOURCE, namespace=self._cluster)]

    async def work(self) -> None:
        """As every controller; the leases' informers end with it."""
        try:
            await super().work()
        finally:
            await asyncio.gather(*(pool.close() for pool in self._leases.values()))

    async def reconcile(self, key: Key) -> float | None:
        """Judge one add-on; come back when its lease would run out."""
        addon: Json | None = self.cache(ManagedClusterAddOn.RESOURCE, namespace=self._cluster).get(key)
        status = (addon or {}).get("status") or {}
        # Without a namespace in status nobody has taken up the add-on yet.
        if addon is None or not status.get("namespace") or _is_customized(status):
            self._seen.pop(key, None)
            for pool in self._leases.values():
                pool.use(key, ())
            return None
        scope, leases = Scope(LEASES, install_namespace(addon)), self._leases[is_hosted(addon)]
        for pool in self._leases.values():
            pool.use(key, [scope] if pool is leases else ())
        informer = leases.get(scope)
        assert informer is not None
        await informer.synced()
        lease = informer.get(Key(scope.namespace, key.name))
        wanted = copy.deepcopy(status)
        hosting = (addon["metadata"].get("annotations") or {}).get(HOSTING_CLUSTER_ANNOTATION, "")
        renewed = ((lease or {}).get("spec") or {}).get("renewTime")
        left = self._since(key, renewed) + GRACE - self._now() if renewed else timedelta()
        found = verdict(key.name, lease, left, hosting)
        set_condition(wanted.setdefault("conditions", []), "Available", *found)
        await write_status(self.client, ManagedClusterAddOn.RESOURCE, addon, wanted)
        return left.total_seconds() + 0.1 if left > timedelta() else None

    def _since(self, key: Key, renewed: str) -> datetime:
        """From when a renewal counts: since it came here, for the add-on's node has a clock of its own.

        What it says is believed at the first look only, when nobody knows how old the lease is.
        """
        text, since = self._seen.get(key, ("", self._now()))
        if text != renewed:
            since = self._now() if text else min(parse_time(renewed), self._now())
            self._seen[key] = renewed, since
        return since

    def _renewed(self, scope: Scope, old: Json | None, new: Json | None) -> None:
        lease = new or old
        if lease is not None:
            self.queue.add(Key(self._cluster, lease["metadata"]["name"]))


def _is_customized(status: Json) -> bool:
    return bool((status.get("healthCheck") or {}).get("mode") == "Customized")
