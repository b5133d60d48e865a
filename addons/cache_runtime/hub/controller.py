"""Dataset on the hub -> one ManifestWork per cluster of its Placement -> status."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import structlog

from addon_framework.api.cluster import ManagedCluster, Placement, PlacementDecision
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import ROLEBINDINGS, ROLES, SECRETS
from addon_framework.api.data import DataMigrate
from addon_framework.api.meta import Json, Resource
from addon_framework.api.work import ManifestWork
from addon_framework.hub.acceptance import acceptance_changed, is_accepted
from addon_framework.hub.addons import lookup
from addon_framework.hub.addons.works import same_work
from addon_framework.kube import ApiError, Controller, Key, Watch, key_of, patch_status
from addon_framework.kube.ensure import ensure, remove, set_finalizers
from addons.cache_runtime.agent.names import DATALOADS, DATASETS
from addons.cache_runtime.hub.names import (
    CLUSTER_ANNOTATION,
    FINALIZER,
    OWNER_NAME_LABEL,
    RUNTIMES,
    cluster_of,
    dataset_of,
    migrated,
    owner_of,
    placement_of,
    work_name,
)
from addons.cache_runtime.hub.status import cluster_status, dataset_status, operation_status
from addons.cache_runtime.hub.works import copied_key, credentials, manifest_work, secrets_of

log = structlog.get_logger(__name__)

MANAGER = "fleet-datasets"
WORKS, PLACEMENTS, DECISIONS = ManifestWork.RESOURCE, Placement.RESOURCE, PlacementDecision.RESOURCE
MIGRATES = DataMigrate.RESOURCE
CREDENTIALS = (SECRETS, ROLES, ROLEBINDINGS)
_OURS_IN_STATUS = ("observedGeneration", "clusters")  # a hub with upstream's definitions drops them
# Secrets that no data is read with, and that may be many.
_PLAIN = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"


class NotYetError(Exception):
    """A Dataset cannot be sent as it is; what clusters have stays."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class FleetDatasetController(Controller):
    """Makes one Dataset that names a Placement true on the clusters chosen."""

    name = "fleet-datasets"
    workers = 4

    def watches(self) -> list[Watch]:
        """The Dataset, what goes along with it, where it goes, and what it became there."""
        return [
            Watch(DATASETS),
            *(Watch(resource) for resource in RUNTIMES),  # by the same name
            Watch(DATALOADS, map=lambda load: [dataset_of(load)]),
            Watch(MIGRATES, map=lambda migrate: [migrated(migrate)]),
            Watch(PLACEMENTS, map=lambda placement: self._placed_by(key_of(placement))),
            Watch(DECISIONS, map=self._decided),
            *(
                Watch(resource, map=owner_of, label_selector=OWNER_NAME_LABEL)
                for resource in (WORKS, *CREDENTIALS)
            ),
            Watch(SECRETS, map=self._readers, field_selector=_PLAIN),
            Watch(ManagedCluster.RESOURCE, map=self._sent_to, predicate=acceptance_changed),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One Dataset."""
        dataset: Json | None = self.cache(DATASETS).get(key)
        if dataset is None:
            await self._remove(key, keep=())
            return None
        finalizers = dataset["metadata"].get("finalizers") or []
        if dataset["metadata"].get("deletionTimestamp") or not placement_of(dataset):
            if FINALIZER not in finalizers:
                return None  # it stays on the hub, and is somebody else's
            left = await self._remove(key, keep=())
            await self._write(dataset, [], why=("Leaving", _leaving(left)))
            if not left:
                dataset = self.cache(DATASETS).get(key) or dataset
                kept = [name for name in finalizers if name != FINALIZER]
                await set_finalizers(self.client, DATASETS, dataset, kept)
            return None
        if FINALIZER not in finalizers:  # the event of this write brings us back
            await set_finalizers(self.client, DATASETS, dataset, [*finalizers, FINALIZER])
            return None
        await self._distribute(key, dataset)
        return None

    async def _distribute(self, key: Key, dataset: Json) -> None:
        why: tuple[str, str] | None = None
        failures: list[ApiError] = []
        with_values: list[str] = []
        present = sorted(
            work["metadata"]["namespace"]
            for work in self._owned(WORKS, key)
            if not work["metadata"].get("deletionTimestamp")
        )
        clusters = present
        try:
            self._values(key, secrets_of(dataset))  # nothing is written where one is missing
            runtime = self._runtime(key)
            clusters, why = self._clusters(key, dataset, present)
            for cluster in clusters:
                mine = [op for op in self._migrates(key) if cluster_of(op) == cluster]
                mine = [op for op in mine if self._is_whole(key, op)]
                work = manifest_work(dataset, runtime, self._loads(key), cluster, mine)
                here = self._values(key, secrets_of(dataset, mine)) if self._is_accepted(cluster) else {}
                with_values += [cluster] if here else []
                try:
                    await self._send(key, work)
                    if here:
                        await self._deliver(dataset, here, cluster)
                except ApiError as error:  # one cluster's trouble is not the others'
                    failures.append(error)
            await self._remove(key, keep=clusters, credentials=with_values)
        except NotYetError as error:
            why = error.reason, str(error)
        await self._write(dataset, clusters, why=why)
        await self._write_operations(key, clusters)
        if failures:
            raise failures[0]

    def _clusters(
        self, key: Key, dataset: Json, present: list[str]
    ) -> tuple[list[str], tuple[str, str] | None]:
        """Where it goes, and what is wrong with the choice. Without a decision it stays where it is."""
        name = placement_of(dataset)
        placement: Json | None = self.cache(PLACEMENTS).get(Key(key.namespace, name))
        if placement is None:
            raise NotYetError(
                "PlacementNotFound", f"there is no Placement {name} in namespace {key.namespace}; create it"
            )
        chosen = lookup.chosen_clusters(self, Key(key.namespace, name))
        if chosen is None:
            return present, ("Undecided", f"Placement {name} has not been decided on yet")
        if not chosen:
            said = get_condition(placement, "PlacementSatisfied") or {}
            return [], ("NoCluster", f"Placement {name} chose no cluster: {said.get('message', '')}")
        return sorted(chosen), None

    def _is_accepted(self, cluster: str) -> bool:
        """One that was rejected may still hold a certificate: nothing may be left for it to read."""
        return is_accepted(self.cache(ManagedCluster.RESOURCE).get(Key("", cluster)))

    def _values(self, key: Key, wanted: Iterable[tuple[str, str]]) -> dict[str, str]:
        """What is read with, as the clusters' one Secret has it."""
        values = {}
        for name, field in wanted:
            secret = self.cache(SECRETS, field_selector=_PLAIN).get(Key(key.namespace, name))
            if secret is None:
                text = f"there is no Secret {name} in namespace {key.namespace}; create it"
                raise NotYetError("SecretNotFound", text)
            if field not in (secret.get("data") or {}):
                raise NotYetError("SecretNotFound", f"Secret {name} has no key {field}")
            values[copied_key(name, field)] = secret["data"][field]
        return values

    def _runtime(self, key: Key) -> Json | None:
        found = [(r, obj) for r in RUNTIMES if (obj := self.cache(r).get(key)) is not None]
        found = [(r, obj) for r, obj in found if not obj["metadata"].get("deletionTimestamp")]
        if len(found) > 1:
            kinds = " and ".join(resource.kind for resource, _ in found)
            raise NotYetError("SeveralRuntimes", f"{kinds} have its name; delete all but one")
        if not found:
            return None
        resource, obj = found[0]
        return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}

    def _loads(self, key: Key) -> list[Json]:
        return self._operations(DATALOADS, dataset_of, key)

    def _migrates(self, key: Key) -> list[Json]:
        return self._operations(MIGRATES, migrated, key)

    def _operations(self, resource: Resource, of: Callable[[Json], Key], key: Key) -> list[Json]:
        cache = self.cache(resource)
        cache.add_index("dataset", lambda op: [str(of(op))])
        return [
            op
            for op in cache.by_index("dataset", str(key))
            if op["metadata"]["namespace"] == key.namespace and not op["metadata"].get("deletionTimestamp")
        ]

    def _is_whole(self, key: Key, migrate: Json) -> bool:
        """Whether the Secrets of a DataMigrate are there: what it lacks must not stop the Dataset."""
        try:
            self._values(key, secrets_of({}, [migrate]))
        except NotYetError:
            return False
        return True

    async def _send(self, key: Key, desired: Json) -> None:
        live = self._work(key, desired["metadata"]["namespace"])
        if live is not None and (live["metadata"].get("deletionTimestamp") or same_work(live, desired)):
            return  # what is being deleted is made anew once it is gone
        await self.client.apply(desired, field_manager=MANAGER, resource=WORKS)
        log.info("work written", dataset=str(key), cluster=desired["metadata"]["namespace"])

    async def _deliver(self, dataset: Json, values: dict[str, str], cluster: str) -> None:
        for resource, obj in zip(CREDENTIALS, credentials(dataset, values, cluster), strict=True):
            cache = self.cache(resource, label_selector=OWNER_NAME_LABEL)
            live = cache.get(Key(cluster, obj["metadata"]["name"]))
            if resource is SECRETS and live is not None and live.get("data") != obj["data"]:
                live = None  # a value that the Dataset names no more is a difference, too
            await ensure(self.client, live, obj, field_manager=MANAGER, resource=resource)

    async def _remove(
        self, key: Key, *, keep: Collection[str], credentials: Collection[str] = ()
    ) -> list[str]:
        """From other clusters than those to keep: first the work, then its credentials; those not clean."""
        left = set()
        for work in self._owned(WORKS, key):
            cluster = work["metadata"]["namespace"]
            if cluster not in keep and await remove(self.client, WORKS, work):
                left.add(cluster)
        for resource in CREDENTIALS:
            for obj in self._owned(resource, key):
                cluster = obj["metadata"]["namespace"]
                if cluster not in credentials and cluster not in left:
                    await remove(self.client, resource, obj)
        return sorted(left)

    async def _write(self, dataset: Json, clusters: list[str], *, why: tuple[str, str] | None) -> None:
        key = key_of(dataset)
        loads = [load["metadata"]["name"] for load in self._loads(key)]
        said = [cluster_status(cluster, self._work(key, cluster), loads) for cluster in clusters]
        works = [work for cluster in clusters if (work := self._work(key, cluster)) is not None]
        for work in self._owned(WORKS, key):
            cluster = work["metadata"]["namespace"]
            if cluster not in clusters and work["metadata"].get("deletionTimestamp"):
                said.append(cluster_status(cluster, work, loads, leaving=True))
        said.sort(key=lambda entry: str(entry["name"]))
        status = dataset_status(dataset, said, works, why=why)
        await patch_status(self.client, DATASETS, dataset, status, optional=_OURS_IN_STATUS)

    async def _write_operations(self, key: Key, clusters: list[str]) -> None:
        works = {cluster: self._work(key, cluster) for cluster in clusters}
        there = [work for work in works.values() if work is not None]
        for load in self._loads(key):
            status = operation_status("DataLoad", load, there, len(clusters))
            await patch_status(self.client, DATALOADS, load, status)
        for migrate in self._migrates(key):
            work, why = works.get(cluster_of(migrate)), ""
            if not cluster_of(migrate):
                why = f"annotation {CLUSTER_ANNOTATION} must say which cluster runs it"
            elif cluster_of(migrate) not in clusters:
                why = f"Dataset {key.name} is not on cluster {cluster_of(migrate)}"
            elif not self._is_whole(key, migrate):
                why = "a Secret or a key that it names is missing"
            sent = [work] if work is not None and not why else []
            status = operation_status("DataMigrate", migrate, sent, len(sent), why=why)
            await patch_status(self.client, MIGRATES, migrate, status)

    def _work(self, key: Key, cluster: str) -> Json | None:
        cache = self.cache(WORKS, label_selector=OWNER_NAME_LABEL)
        found: Json | None = cache.get(Key(cluster, work_name(key)))
        return found

    def _owned(self, resource: Resource, key: Key) -> list[Json]:
        cache = self.cache(resource, label_selector=OWNER_NAME_LABEL)
        cache.add_index("owner", lambda obj: [str(owner) for owner in owner_of(obj)])
        return cache.by_index("owner", str(key))

    def _sent_to(self, cluster: Json) -> Iterable[Key]:
        """The Datasets that a cluster has."""
        works = self.cache(WORKS, label_selector=OWNER_NAME_LABEL)
        return [key for work in works.in_namespace(cluster["metadata"]["name"]) for key in owner_of(work)]

    def _decided(self, decision: Json) -> Iterable[Key]:
        for placement in lookup.placement_of(decision):
            yield from self._placed_by(placement)

    def _placed_by(self, placement: Key) -> Iterable[Key]:
        """The Datasets that name a Placement."""
        cache = self.cache(DATASETS)
        cache.add_index("placement", lambda d: [f"{d['metadata']['namespace']}/{placement_of(d)}"])
        return [key_of(d) for d in cache.by_index("placement", f"{placement.namespace}/{placement.name}")]

    def _readers(self, secret: Json) -> Iterable[Key]:
        """The Datasets that are read with a Secret."""
        cache = self.cache(DATASETS)
        cache.add_index(
            "secret", lambda d: [f"{d['metadata']['namespace']}/{name}" for name, _ in secrets_of(d)]
        )
        named = f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"
        migrates = self.cache(MIGRATES)
        migrates.add_index(
            "secret", lambda op: [f"{op['metadata']['namespace']}/{name}" for name, _ in secrets_of({}, [op])]
        )
        users = [migrated(op) for op in migrates.by_index("secret", named)]
        return [*(key_of(d) for d in cache.by_index("secret", named)), *users]


def _leaving(left: list[str]) -> str:
    return f"Waiting for {', '.join(left)} to remove it" if left else "It is on no cluster"
