"""Holds the add-on cache-runtime on a cluster until the fleet's Datasets have left it.

Only its agent there can take the finalizers from them: were it gone first, neither they nor the cluster
could go.
"""

from __future__ import annotations

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.meta import Json
from addon_framework.api.work import ManifestWork
from addon_framework.kube import Controller, Key, Watch
from addon_framework.kube.ensure import set_finalizers
from addons.cache_runtime.hub.names import FINALIZER, OWNER_NAME_LABEL

ADDONS, WORKS = ManagedClusterAddOn.RESOURCE, ManifestWork.RESOURCE
AGENT = "cache-runtime"


def is_agent(addon: Json | None) -> bool:
    """Whether it is the add-on that caches."""
    return addon is not None and bool(addon["metadata"]["name"] == AGENT)


def leaves(addon: Json | None) -> bool:
    """Whether it is told to go: then Datasets go before it."""
    return addon is not None and bool(addon["metadata"].get("deletionTimestamp"))


def agent_changed(old: Json | None, new: Json | None) -> bool:
    """Whether a cluster's agent has come, has been told to go, or is gone."""
    return is_agent(new or old) and (old is None, leaves(old)) != (new is None, leaves(new))


class HoldingController(Controller):
    """A finalizer on the ManagedClusterAddOn while works of Datasets are in its namespace."""

    name = "fleet-datasets-holding"

    def watches(self) -> list[Watch]:
        """The add-on, and the works that it is held for."""
        return [
            Watch(ADDONS, predicate=lambda old, new: is_agent(new or old)),
            Watch(
                WORKS,
                map=lambda work: [Key(work["metadata"]["namespace"], AGENT)],
                predicate=lambda old, new: old is None or new is None,
                label_selector=OWNER_NAME_LABEL,
            ),
        ]

    async def reconcile(self, key: Key) -> None:
        """One cluster's add-on."""
        addon: Json | None = self.cache(ADDONS).get(key)
        if addon is None:
            return
        held = addon["metadata"].get("finalizers") or []
        needed = bool(self.cache(WORKS, label_selector=OWNER_NAME_LABEL).in_namespace(key.namespace))
        if needed and FINALIZER not in held and not leaves(addon):
            await set_finalizers(self.client, ADDONS, addon, [*held, FINALIZER])
        elif not needed and FINALIZER in held:
            await set_finalizers(self.client, ADDONS, addon, [each for each in held if each != FINALIZER])
