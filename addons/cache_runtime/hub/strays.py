"""What nobody on the hub takes says why: Datasets that name no Placement, operations of these or of none.

An agent of the hub's own cluster takes such Datasets at once, so they are left alone for a while, and for
good where anybody else has written a status.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from addon_framework.api.data import DataBackup, DataMigrate, DataProcess
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.api.time import parse_time
from addon_framework.kube import Controller, Key, Watch, key_of, patch_status
from addons.cache_runtime.agent.names import DATALOADS, DATASETS
from addons.cache_runtime.hub import elsewhere
from addons.cache_runtime.hub.names import dataset_of, migrated, placement_of
from addons.cache_runtime.hub.status import dataset_status

_PATIENCE = 10.0  # seconds
_HINT = f"label the Dataset {PLACEMENT_LABEL}=NAME to have it on clusters"
_TARGETS: dict[Resource, Callable[[Json], Key]] = {
    DATALOADS: dataset_of,
    DataMigrate.RESOURCE: migrated,
    DataProcess.RESOURCE: elsewhere.target,
    DataBackup.RESOURCE: elsewhere.target,
}


class StrayController(Controller):
    """Of one kind."""

    def __init__(self, resource: Resource, patience: float) -> None:
        self.resource, self._patience = resource, patience
        self.name = f"stray-{resource.plural}"

    def watches(self) -> list[Watch]:
        """The objects, and Datasets that come later; who takes one writes its status."""
        mine = [] if self.resource == DATASETS else [Watch(DATASETS, map=self._of)]
        return [Watch(self.resource), *mine]

    async def reconcile(self, key: Key) -> float | None:
        """One object; seconds until it has been left alone for long enough."""
        obj: Json | None = self.cache(self.resource).get(key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return None
        status = self._dataset(obj) if self.resource == DATASETS else self._operation(obj)
        if status is None:
            return None
        age = datetime.now(UTC) - parse_time(obj["metadata"]["creationTimestamp"])
        if (left := self._patience - age.total_seconds()) > 0:
            return left
        await patch_status(self.client, self.resource, obj, status)
        return None

    def _dataset(self, dataset: Json) -> Json | None:
        """The status of one that nobody has; None for any other."""
        if dataset.get("status") or placement_of(dataset):
            return None
        why = f"it names no Placement, and nothing here caches it; {_HINT}"
        return dataset_status(dataset, [], [], why=("NoPlacement", why))

    def _operation(self, op: Json) -> Json | None:
        key = _TARGETS[self.resource](op)
        dataset: Json | None = self.cache(DATASETS).get(key)
        absent = f"waiting for Dataset {key}, which does not exist yet"
        unplaced = f"Dataset {key} names no Placement, and nothing here caches it; {_HINT}"
        status = op.get("status") or {}
        if status and (status.get("infos") or {}).get("message") not in (absent, unplaced):
            return None
        if dataset is not None and placement_of(dataset):
            return None
        why = absent if dataset is None else unplaced
        return {"phase": "Pending", "duration": "Unfinished", "conditions": [], "infos": {"message": why}}

    def _of(self, dataset: Json) -> Sequence[Key]:
        cache = self.cache(self.resource)
        cache.add_index("stray", lambda op: [str(_TARGETS[self.resource](op))])
        return cache.keys_by_index("stray", str(key_of(dataset)))


def controllers(patience: float = _PATIENCE) -> list[Controller]:
    """Of all kinds."""
    return [StrayController(resource, patience) for resource in (DATASETS, *_TARGETS)]
