"""AddOnPlacementScores on the hub: how much of each Dataset this cluster holds, for Placements to prefer it.

One object per Dataset, `dataset-<namespace>-<name>` in the cluster's namespace, with the score `cached` from
0 to 100; a cluster without the object scores 0. It has no end: what is cached stays when the agent dies.
"""

from __future__ import annotations

from typing import Any

import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import AddOnPlacementScore
from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL
from addon_framework.kube import (
    AlreadyExists,
    Client,
    Controller,
    Key,
    Manager,
    Watch,
    key_of,
    patch_status,
)
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.names import NAME_LABEL, NAMESPACE_LABEL, short_hash
from addons.cache_runtime.hub.names import FINALIZER as FLEET_FINALIZER

log = structlog.get_logger(__name__)
SCORES = AddOnPlacementScore.RESOURCE
SCORE = "cached"
LIMIT = 200  # objects per cluster on the hub
_STEP = 10  # of a load in progress only every tenth is worth a write


class ScoreController(Controller):
    """One key per Dataset. Its own client is the hub's; Datasets come from the others' informer."""

    name = "dataset-scores"

    def __init__(self, datasets: AnyInformer, cluster: str, addon: str, owner_uid: str = "") -> None:
        self._datasets, self._cluster, self._addon, self._owner = datasets, cluster, addon, owner_uid

    def watches(self) -> list[Watch]:
        """Its own scores."""
        return [Watch(SCORES, map=_dataset_of, **self._own)]

    async def start(self) -> None:
        """From now on what changes."""
        self._datasets.on_event(lambda old, new: self.queue.add(key_of(new or old)))

    async def reconcile(self, key: Key) -> float | None:
        """Writes when the score moved by a step, and removes it with the Dataset."""
        await self._datasets.synced()
        live = next((obj for obj in self._scores if _dataset_of(obj) == [key]), None)
        value = score_of(self._datasets.get(key))
        if value is None:
            if live is not None:
                await self.client.remove(SCORES, live)
            return None
        if live is None:
            await self._create(key)
            return None  # the watch tells when it is there
        wanted = {"scores": [{"name": SCORE, "value": value}]}
        await patch_status(self.client, SCORES, live, {**(live.get("status") or {}), **wanted})
        return None

    @property
    def _own(self) -> dict[str, Any]:
        return {"namespace": self._cluster, "label_selector": f"{ADDON_NAME_LABEL}={self._addon}"}

    @property
    def _scores(self) -> list[Json]:
        return self.cache(SCORES, **self._own).items()

    async def _create(self, key: Key) -> None:
        if len(self._scores) >= LIMIT:
            log.warning("no score for a dataset: there are too many", dataset=str(key), limit=LIMIT)
            return
        metadata: Json = {
            "name": score_name(key),
            "namespace": self._cluster,
            "labels": {ADDON_NAME_LABEL: self._addon, NAMESPACE_LABEL: key.namespace, NAME_LABEL: key.name},
        }
        if self._owner:  # so that the scores go when the add-on does
            resource = ManagedClusterAddOn.RESOURCE
            owner = {"apiVersion": resource.api_version, "kind": resource.kind, "name": self._addon}
            metadata["ownerReferences"] = [{**owner, "uid": self._owner}]
        try:
            await self.client.create(SCORES, {"metadata": metadata})
        except AlreadyExists:
            pass


def score_name(key: Key) -> str:
    """What a Placement's scoreCoordinate has as resourceName."""
    readable = f"dataset-{key.namespace}-{key.name}"
    return readable if len(readable) <= 63 else f"dataset-{short_hash(key.namespace, key.name)}"


def score_of(dataset: Json | None) -> int | None:
    """0 to 100; None when there is nothing to say."""
    if dataset is None or dataset["metadata"].get("deletionTimestamp"):
        return None
    if FLEET_FINALIZER in (dataset["metadata"].get("finalizers") or []):
        return None  # on a hub: what it says is of all clusters together
    said = ((dataset.get("status") or {}).get("cacheStates") or {}).get("cachedPercentage")
    if not said:
        return None
    percent = float(str(said).removesuffix("%"))
    return 100 if percent >= 100 else int(percent // _STEP * _STEP)


def _dataset_of(obj: Json) -> list[Key]:
    found = obj["metadata"].get("labels") or {}
    return [Key(found[NAMESPACE_LABEL], found[NAME_LABEL])] if NAME_LABEL in found else []


async def publish_scores(
    hub: Client, datasets: AnyInformer, cluster: str, addon: str, owner_uid: str
) -> None:
    """Runs until cancelled, apart from all else: a hub that is away holds up nothing here."""
    manager = Manager(hub, name=ScoreController.name)
    manager.add(ScoreController(datasets, cluster, addon, owner_uid))
    await manager.run()
