"""ManagedClusterSets: the two that always exist, what is in them, and who is bound to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from addon_framework.api.cluster import ManagedCluster, ManagedClusterSet, ManagedClusterSetBinding
from addon_framework.api.conditions import set_condition
from addon_framework.api.meta import Json, copy_json
from addon_framework.api.names import CLUSTER_SET_LABEL, SET_AUTOUPDATE_ANNOTATION
from addon_framework.hub.clustersets import (
    DEFAULT_SET,
    EXCLUSIVE,
    GLOBAL_SET,
    LABEL_SELECTOR,
    is_member,
    members,
)
from addon_framework.hub.selectors import SelectorError
from addon_framework.kube import Controller, Key, Watch, came_or_went, key_of
from addon_framework.kube.ensure import ensure, write_status
from addon_framework.kube.informer import AnyInformer
from addon_framework.kube.pace import Pace

MANAGER = "boundaryless-registration"
_PAUSE = 0.5  # seconds between two counts of one set: a fleet comes in a burst
_SELECTORS: dict[str, Json] = {
    DEFAULT_SET: {"selectorType": EXCLUSIVE},
    GLOBAL_SET: {"selectorType": LABEL_SELECTOR, "labelSelector": {}},
}


class DefaultSetController(Controller):
    """Keeps the sets `default` and `global`, unless they say autoupdate: "false"."""

    name = "registration-default-set"

    def watches(self) -> list[Watch]:
        """The sets; both names are also asked for once at the start."""
        return [Watch(ManagedClusterSet.RESOURCE)]

    async def start(self) -> None:
        """A hub without sets sends no event."""
        for name in _SELECTORS:
            self.queue.add(Key("", name))

    async def reconcile(self, key: Key) -> float | None:
        """Make or revert one of the two."""
        selector = _SELECTORS.get(key.name)
        if selector is None:
            return None
        live = self.cache(ManagedClusterSet.RESOURCE).get(key)
        if live is not None:
            annotations = live["metadata"].get("annotations") or {}
            if annotations.get(SET_AUTOUPDATE_ANNOTATION) == "false" or _same(live, selector):
                return None
        if live is not None:
            # An edit may have added to the selector: replace it, do not merge.
            replaced = {**live, "spec": {**live.get("spec", {}), "clusterSelector": selector}}
            await self.client.update(ManagedClusterSet.RESOURCE, replaced)
            return None
        desired = {
            "apiVersion": ManagedClusterSet.RESOURCE.api_version,
            "kind": ManagedClusterSet.RESOURCE.kind,
            "metadata": {"name": key.name},
            "spec": {"clusterSelector": selector},
        }
        await ensure(self.client, None, desired, field_manager=MANAGER, resource=ManagedClusterSet.RESOURCE)
        return None


def _same(live: Json, selector: Json) -> bool:
    have = (live.get("spec") or {}).get("clusterSelector") or {}
    if have.get("selectorType", EXCLUSIVE) != selector["selectorType"]:
        return False
    return selector["selectorType"] == EXCLUSIVE or not any((have.get("labelSelector") or {}).values())


class SetLabelController(Controller):
    """Puts a cluster without a set into `default` (OCM does it by webhook)."""

    name = "registration-set-label"

    def watches(self) -> list[Watch]:
        """Clusters only."""
        return [Watch(ManagedCluster.RESOURCE)]

    async def reconcile(self, key: Key) -> float | None:
        """Label it, if nobody has since it was read."""
        cluster = self.cache(ManagedCluster.RESOURCE).get(key)
        if cluster is None or cluster["metadata"].get("deletionTimestamp"):
            return None
        metadata = cluster["metadata"]
        if not (metadata.get("labels") or {}).get(CLUSTER_SET_LABEL):
            labels = {CLUSTER_SET_LABEL: DEFAULT_SET}
            body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "labels": labels}}
            await self.client.patch(ManagedCluster.RESOURCE, key.name, body)
        return None


class ClusterSetController(Controller):
    """ManagedClusterSet -> condition ClusterSetEmpty."""

    name = "registration-set"

    def __init__(self) -> None:
        self._pace = Pace[Key](_PAUSE)

    def watches(self) -> list[Watch]:
        """Sets, and clusters that enter or leave them."""
        return [
            Watch(ManagedClusterSet.RESOURCE),
            Watch(ManagedCluster.RESOURCE, map=self._sets_of, predicate=self._moved),
        ]

    def _sets_of(self, cluster: Json) -> Iterable[Key]:
        """A set whose selector cannot be evaluated has no members; its status says so."""
        for cluster_set in self.cache(ManagedClusterSet.RESOURCE).items():
            with contextlib.suppress(SelectorError):
                if is_member(cluster, cluster_set):
                    yield key_of(cluster_set)

    def _moved(self, old: Json | None, new: Json | None) -> bool:
        """Counting a set looks at every cluster, so not for every label of one."""
        if old is None or new is None:
            return True
        return labels_changed(old, new) and set(self._sets_of(old)) != set(self._sets_of(new))

    async def reconcile(self, key: Key) -> float | None:
        """Count the members, less often where there are many."""
        cluster_set = self.cache(ManagedClusterSet.RESOURCE).get(key)
        if cluster_set is None:
            self._pace.forget(key)
            return None
        if (wait := self._pace.wait(key)) is not None:
            return wait
        status = copy_json(cluster_set.get("status") or {})
        conditions = status.setdefault("conditions", [])
        try:
            with self._pace.work(key):
                count = len(members(cluster_set, self.cache(ManagedCluster.RESOURCE).items()))
        except SelectorError as error:
            set_condition(conditions, "ClusterSetEmpty", "Unknown", "InvalidSelector", str(error))
        else:
            if count:
                message = f"{count} ManagedClusters selected"
                set_condition(conditions, "ClusterSetEmpty", "False", "ClustersSelected", message)
            else:
                message = "No ManagedCluster selected"
                set_condition(conditions, "ClusterSetEmpty", "True", "NoClusterMatched", message)
        await write_status(self.client, ManagedClusterSet.RESOURCE, cluster_set, status)
        return None


class BindingController(Controller):
    """ManagedClusterSetBinding -> condition Bound."""

    name = "registration-binding"

    def watches(self) -> list[Watch]:
        """Bindings, and the sets they name coming and going."""
        return [
            Watch(ManagedClusterSetBinding.RESOURCE),
            Watch(ManagedClusterSet.RESOURCE, map=self._bindings_of, predicate=came_or_went),
        ]

    async def start(self) -> None:
        """An index from sets to their bindings."""
        self._index()

    def _index(self) -> AnyInformer:
        bindings = self.cache(ManagedClusterSetBinding.RESOURCE)
        bindings.add_index("set", lambda binding: [binding["metadata"]["name"]])
        return bindings

    def _bindings_of(self, cluster_set: Json) -> Iterable[Key]:
        found = self._index().by_index("set", cluster_set["metadata"]["name"])
        return [Key(b["metadata"]["namespace"], b["metadata"]["name"]) for b in found]

    async def reconcile(self, key: Key) -> float | None:
        """Say whether the set is there."""
        binding = self.cache(ManagedClusterSetBinding.RESOURCE).get(key)
        if binding is None:
            return None
        status = copy_json(binding.get("status") or {})
        conditions = status.setdefault("conditions", [])
        if self.cache(ManagedClusterSet.RESOURCE).get(Key("", key.name)) is None:
            message = f"ManagedClusterSet {key.name} does not exist"
            set_condition(conditions, "Bound", "False", "ClusterSetNotFound", message)
        else:
            set_condition(conditions, "Bound", "True", "ClusterSetBound", "")
        await write_status(self.client, ManagedClusterSetBinding.RESOURCE, binding, status)
        return None


def labels_changed(old: Json | None, new: Json | None) -> bool:
    """Whether an event can change which sets a cluster is in."""
    if old is None or new is None:
        return True
    return bool((old["metadata"].get("labels") or {}) != (new["metadata"].get("labels") or {}))
