"""The install strategy: a ManagedClusterAddOn on every cluster that the placements chose, and on no other."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.meta import Json, owner_reference
from addon_framework.api.names import ADDON_GROUP
from addon_framework.hub.addons.lookup import (
    chosen_clusters,
    install_placements,
    is_managed,
    owner_of,
    placement_watches,
)
from addon_framework.kube import (
    AlreadyExists,
    ApiError,
    Controller,
    Key,
    NotFound,
    Watch,
    came_or_went,
)
from addon_framework.kube.ensure import remove
from addon_framework.kube.pace import Pace

log = structlog.get_logger(__name__)
DISABLED_ANNOTATION = f"{ADDON_GROUP}/disable-automatic-installation"
COPIED_ANNOTATION = "boundaryless.io/annotations-of-cluster"  # which of an add-on's are its cluster's


class InstallController(Controller):
    """ClusterManagementAddOn + PlacementDecisions -> ManagedClusterAddOns."""

    name = "addon-install"

    def __init__(self) -> None:
        self._pace = Pace[Key]()

    def watches(self) -> list[Watch]:
        """Add-ons, the decisions of their placements, and what was made from them."""
        return [
            Watch(ClusterManagementAddOn.RESOURCE, predicate=spec_changed),
            *placement_watches(self),
            Watch(ManagedClusterAddOn.RESOURCE, map=lambda a: [owner_of(a)], predicate=came_or_went),
            Watch(ManagedCluster.RESOURCE, map=self._all, predicate=_cluster_opened),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Create what is missing and delete what is too many, all at once."""
        cma = self.cache(ClusterManagementAddOn.RESOURCE).get(key)
        if cma is None or cma["metadata"].get("deletionTimestamp") or not is_managed(cma):
            self._pace.forget(key)
            return None
        if (wait := self._pace.wait(key)) is not None:
            return wait
        with self._pace.work(key):
            steps = self._steps(cma, install_placements(cma))
        failures = [r for r in await asyncio.gather(*steps, return_exceptions=True) if r is not None]
        if failures:
            raise failures[0]
        return None

    def _steps(self, cma: Json, placements: list[Json]) -> list[Coroutine[Any, Any, None]]:
        if not placements:
            return []
        wanted: set[str] = set()
        decided = True
        for placement in placements:
            chosen = chosen_clusters(self, Key(placement["namespace"], placement["name"]))
            decided = decided and chosen is not None
            wanted |= chosen or set()
        wanted = {cluster for cluster in wanted if self._may_install(cluster)}
        present = {
            addon["metadata"]["namespace"]: addon for addon in self._installed(cma["metadata"]["name"])
        }
        steps = [self._create(cma, cluster) for cluster in sorted(wanted - present.keys())]
        steps += [
            self._annotate(present[cluster], patch)
            for cluster in sorted(wanted & present.keys())
            if (patch := self._missing_annotations(present[cluster]))
        ]
        if decided:  # a placement that has not decided yet may still choose them
            steps += [
                self._delete(addon)
                for cluster, addon in sorted(present.items())
                if cluster not in wanted and not addon["metadata"].get("deletionTimestamp")
            ]
        return steps

    def _installed(self, name: str) -> list[Json]:
        cache = self.cache(ManagedClusterAddOn.RESOURCE)
        cache.add_index("addon", lambda addon: [addon["metadata"]["name"]])
        return cache.by_index("addon", name)

    def _may_install(self, name: str) -> bool:
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", name))
        if cluster is None or cluster["metadata"].get("deletionTimestamp"):
            return False
        return (cluster["metadata"].get("annotations") or {}).get(DISABLED_ANNOTATION) != "true"

    async def _create(self, cma: Json, cluster: str) -> None:
        name = cma["metadata"]["name"]
        resource = ManagedClusterAddOn.RESOURCE
        metadata = {"name": name, "namespace": cluster, "ownerReferences": [cma_reference(cma)]}
        if annotations := copied_annotations({}, self._annotations(cluster)):
            metadata["annotations"] = annotations
        addon = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": {}}
        try:
            await self.client.create(resource, addon)
        except AlreadyExists:
            return
        except NotFound as error:
            raise ApiError(404, "NoNamespace", f"cluster {cluster} has no namespace yet: {error}") from error
        log.info("add-on installed", addon=name, cluster=cluster)

    def _missing_annotations(self, addon: Json) -> Json:
        metadata = addon["metadata"]
        if metadata.get("deletionTimestamp"):
            return {}
        return copied_annotations(metadata.get("annotations") or {}, self._annotations(metadata["namespace"]))

    async def _annotate(self, addon: Json, patch: Json) -> None:
        metadata = addon["metadata"]
        body = {"metadata": {"uid": metadata["uid"], "annotations": patch}}
        await self.client.patch(ManagedClusterAddOn.RESOURCE, metadata["name"], body, metadata["namespace"])

    def _annotations(self, name: str) -> Json:
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", name)) or {"metadata": {}}
        return cluster["metadata"].get("annotations") or {}

    async def _delete(self, addon: Json) -> None:
        await remove(self.client, ManagedClusterAddOn.RESOURCE, addon)
        metadata = addon["metadata"]
        log.info("add-on removed", addon=metadata["name"], cluster=metadata["namespace"])

    def _all(self, _: Json) -> Iterable[Key]:
        return [
            Key("", cma["metadata"]["name"]) for cma in self.cache(ClusterManagementAddOn.RESOURCE).items()
        ]


def copied_annotations(present: Json, cluster: Json) -> Json:
    """The merge patch that gives an add-on its cluster's annotations about add-ons, and no stale ones.

    Those that its user wrote stay: only what was copied is taken away.
    """
    wanted = {name: value for name, value in cluster.items() if name.startswith(ADDON_GROUP)}
    copied = [name for name in present.get(COPIED_ANNOTATION, "").split(",") if name]
    patch: Json = {name: None for name in copied if name in present and name not in wanted}
    patch |= {name: value for name, value in wanted.items() if present.get(name) != value}
    if copied != sorted(wanted):
        patch[COPIED_ANNOTATION] = ",".join(sorted(wanted)) or None
    return patch


def cma_reference(cma: Json) -> Json:
    """The controlling reference from a ManagedClusterAddOn to its ClusterManagementAddOn."""
    return owner_reference(cma, ClusterManagementAddOn.RESOURCE, controller=True)


def spec_changed(old: Json | None, new: Json | None) -> bool:
    """Whether an event is more than a status write."""
    if old is None or new is None:
        return True
    fields = ("annotations", "labels", "deletionTimestamp", "uid")
    return old.get("spec") != new.get("spec") or any(
        old["metadata"].get(f) != new["metadata"].get(f) for f in fields
    )


def _cluster_opened(old: Json | None, new: Json | None) -> bool:
    """A cluster appeared, vanished, began to go, or switched automatic installation."""
    if old is None or new is None:
        return True
    return any(old["metadata"].get(f) != new["metadata"].get(f) for f in ("annotations", "deletionTimestamp"))
