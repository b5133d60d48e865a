"""What OCM's add-on manager leaves to the manager of each add-on: the hashes of its configurations.

OCM's manager says which configurations an add-on has, in the status of both kinds, but not what is in them;
rollouts and progress wait until the add-on's own manager has filled that in. Where ours configures add-ons
itself (config_controller, cma) the hashes come with the references.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.meta import Json, copy_json
from addon_framework.hub.addons.config_objects import ConfigObjects
from addon_framework.hub.addons.configs import Kind, Reference
from addon_framework.kube import Controller, Key, Watch, key_of
from addon_framework.kube.ensure import write_status
from addon_framework.plugins import Plugins


class SpecHashController(Controller):
    """Fills specHash and lastObservedGeneration for the add-ons of plug-ins, beside OCM's add-on manager.

    The keys without a namespace are ClusterManagementAddOns, the others ManagedClusterAddOns.
    """

    name = "addon-spec-hash"
    workers = 4

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self._configs = ConfigObjects(self, self._users_of)

    def watches(self) -> list[Watch]:
        """Both kinds, and the configurations."""
        return [
            Watch(ClusterManagementAddOn.RESOURCE, map=lambda cma: [key_of(cma)]),
            Watch(ManagedClusterAddOn.RESOURCE, map=lambda addon: [key_of(addon)]),
            *self._configs.watches(),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One object's status."""
        if self._plugins.get(key.name) is None:
            return None  # templates are OCM's, and add-ons of others have a manager of their own
        resource = ManagedClusterAddOn.RESOURCE if key.namespace else ClusterManagementAddOn.RESOURCE
        obj = self.cache(resource).get(key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return None
        status = copy_json(obj.get("status") or {})
        own = (obj.get("spec") or {}).get("configs") or []
        named = {_reference(config, config) for config in own}
        for entry in _entries(status):
            reference = _reference(entry, entry["desiredConfig"])
            found = await self._configs.read([reference])
            if found.missing:
                continue
            if key.namespace:
                entry["lastObservedGeneration"] = found.generations[reference]
            # What a placement or a default gives to a cluster comes with its hash when its turn has come.
            if not key.namespace or reference in named:
                entry["desiredConfig"]["specHash"] = found.hashes[reference]
        await write_status(self.client, resource, obj, status)
        return None

    def _users_of(self, config: Reference) -> Iterable[Key]:
        for resource in (ClusterManagementAddOn.RESOURCE, ManagedClusterAddOn.RESOURCE):
            cache = self.cache(resource)
            cache.add_index("config", _configs_of)
            yield from (key_of(obj) for obj in cache.by_index("config", str(config)))


def _entries(status: Json) -> Iterator[Json]:
    """The references in the status of either kind that name an object."""
    lists = [status.get("configReferences"), status.get("defaultconfigReferences")]
    lists += [each.get("configReferences") for each in status.get("installProgressions") or []]
    for entries in lists:
        yield from (entry for entry in entries or [] if (entry.get("desiredConfig") or {}).get("name"))


def _reference(kind: Json, where: Json) -> Reference:
    return Reference(
        Kind(kind.get("group", ""), kind["resource"]), where.get("namespace", ""), where.get("name", "")
    )


def _configs_of(obj: Json) -> list[str]:
    return [str(_reference(entry, entry["desiredConfig"])) for entry in _entries(obj.get("status") or {})]
