"""Labels on a ManagedCluster that say which add-ons it has, for predicates of placements."""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.api.names import FEATURE_LABEL_PREFIX
from addon_framework.kube import Controller, Key, Watch

_VALUES = {"True": "available", "False": "unhealthy"}


def feature_labels(addons: Iterable[Json]) -> dict[str, str]:
    """The feature labels of a cluster with these add-ons."""
    labels = {}
    for addon in addons:
        if addon["metadata"].get("deletionTimestamp"):
            continue
        available = get_condition(addon, "Available")
        value = _VALUES.get(available["status"] if available else "", "unreachable")
        labels[FEATURE_LABEL_PREFIX + addon["metadata"]["name"]] = value
    return labels


class FeatureController(Controller):
    """ManagedClusterAddOn Available -> label of the ManagedCluster."""

    name = "registration-feature"

    def watches(self) -> list[Watch]:
        """Clusters and their add-ons."""
        return [
            Watch(ManagedCluster.RESOURCE),
            Watch(
                ManagedClusterAddOn.RESOURCE,
                map=lambda obj: [Key("", obj["metadata"]["namespace"])],
                predicate=_changes_labels,
            ),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Set and clear labels in one patch, when any differs."""
        cluster = self.cache(ManagedCluster.RESOURCE).get(key)
        if cluster is None or cluster["metadata"].get("deletionTimestamp"):
            return None
        wanted = feature_labels(self.cache(ManagedClusterAddOn.RESOURCE).in_namespace(key.name))
        labels = cluster["metadata"].get("labels") or {}
        have = {name: value for name, value in labels.items() if name.startswith(FEATURE_LABEL_PREFIX)}
        if wanted != have:
            patch: dict[str, str | None] = dict.fromkeys(have.keys() - wanted.keys())
            patch.update({name: value for name, value in wanted.items() if have.get(name) != value})
            body = {"metadata": {"uid": cluster["metadata"]["uid"], "labels": patch}}
            await self.client.patch(ManagedCluster.RESOURCE, key.name, body)
        return None


def _changes_labels(old: Json | None, new: Json | None) -> bool:
    before, after = (feature_labels([each] if each is not None else []) for each in (old, new))
    return before != after
