"""A DataProcess or DataBackup of a Dataset for the fleet: nothing runs it on the hub, and that says so."""

from __future__ import annotations

from collections.abc import Sequence

from addon_framework.api.data import DataBackup, DataProcess
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Controller, Key, Watch, key_of, patch_status
from addons.cache_runtime.agent.names import DATASETS
from addons.cache_runtime.hub.names import placement_of
from addons.cache_runtime.hub.status import refused_status


class ElsewhereController(Controller):
    """Of one kind."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.name = f"fleet-{resource.plural}"

    def watches(self) -> list[Watch]:
        """The operations, and Datasets that come later."""
        return [Watch(self.resource), Watch(DATASETS, map=lambda dataset: self._of(key_of(dataset)))]

    async def reconcile(self, key: Key) -> None:
        """One operation."""
        op: Json | None = self.cache(self.resource).get(key)
        if op is None or op["metadata"].get("deletionTimestamp"):
            return
        dataset: Json | None = self.cache(DATASETS).get(target(op))
        if dataset is None or not placement_of(dataset):
            return
        kind, named = self.resource.kind, dataset["metadata"]["name"]
        text = (
            f"{kind} {key}: Dataset {named} is the fleet's, whose data are on clusters; create the {kind} "
            f"there (fleetadm dataset get {named} -n {key.namespace} names them)"
        )
        await patch_status(self.client, self.resource, op, refused_status(op, text))

    def _of(self, dataset: Key) -> Sequence[Key]:
        cache = self.cache(self.resource)
        cache.add_index("dataset", lambda op: [str(target(op))])
        return cache.keys_by_index("dataset", str(dataset))


def controllers() -> list[Controller]:
    """Of both kinds."""
    return [ElsewhereController(resource) for resource in (DataProcess.RESOURCE, DataBackup.RESOURCE)]


def target(op: Json) -> Key:
    """Its Dataset: an object with a name, or, of a DataBackup, the name."""
    named = (op.get("spec") or {}).get("dataset") or ""
    name = named.get("name", "") if isinstance(named, dict) else named
    return Key(op["metadata"]["namespace"], str(name))
