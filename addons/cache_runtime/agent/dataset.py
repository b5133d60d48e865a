"""The Dataset controller: binds a Dataset to its runtime, keeps pods, volume and status, and ends them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from addon_framework.api.core import (
    CONFIGMAPS,
    CRONJOBS,
    JOBS,
    NETWORKPOLICIES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICES,
)
from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.kube import Controller, Invalid, Key, NotFound, Watch, key_of, patch_status
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent import components, restoring, status, volumes
from addons.cache_runtime.agent.backends import Binding, Resolver
from addons.cache_runtime.agent.bypass import Bypass, original_of
from addons.cache_runtime.agent.cleaning import Cleaner
from addons.cache_runtime.agent.clients import Clients
from addons.cache_runtime.agent.credentials import Credentials, CredentialsError
from addons.cache_runtime.agent.events import RemountEvents
from addons.cache_runtime.agent.executions import Executions
from addons.cache_runtime.agent.leaving import Leaving
from addons.cache_runtime.agent.measurements import Measurements
from addons.cache_runtime.agent.names import (
    DATALOADS,
    DATASET_FINALIZER,
    DATASETS,
    FIELD_MANAGER,
    HASH_ANNOTATION,
    MANAGED,
    OPERATIONS,
    OURS_IN_STATUS,
    ROLES,
    claims_of,
    dataset_id,
    dataset_key,
    role_of,
    runtime_finalizer,
    volume_name,
)
from addons.cache_runtime.agent.nodes import NodeLabels, relabelled
from addons.cache_runtime.agent.observing import WORKLOADS, Observer, of_operation
from addons.cache_runtime.agent.ports import NoPortLeftError, Ports
from addons.cache_runtime.agent.rebinding import Rebinding
from addons.cache_runtime.agent.reference_rules import is_reference, reference_of
from addons.cache_runtime.agent.references import References
from addons.cache_runtime.agent.reloading import Reloading
from addons.cache_runtime.agent.renewal import Renewal
from addons.cache_runtime.agent.reports import Reports
from addons.cache_runtime.agent.rights import Rights
from addons.cache_runtime.agent.secrets import SecretWatch
from addons.cache_runtime.agent.status import Counts, Observed
from addons.cache_runtime.agent.teardown import Teardown
from runtimes.counting import is_counted
from runtimes.interface import Profile

_CREDENTIALS_RETRY = 2.0
_STRANGER_RETRY = 10.0
_PARTS = (*WORKLOADS, CONFIGMAPS, SERVICES, NETWORKPOLICIES)  # what a backend's components become


class DatasetController(Controller):
    """One key per Dataset, and the runtime of the same name."""

    name = "dataset"
    workers = 4

    def __init__(self, resolver: Resolver, *, install_namespace: str) -> None:
        self.resolver = resolver
        self._install_namespace = install_namespace
        self.credentials: Credentials
        self.reports: Reports
        self._teardown: Teardown
        self._remounts: RemountEvents
        self._observer: Observer
        self.references: References
        self.executions: Executions
        self.secrets: SecretWatch
        self._ports = Ports()
        self.measurements = Measurements(lambda key: self.queue.add(key))

    def wire(self, credentials: Credentials, reports: Reports) -> None:
        """What is shared with the DataLoad controller."""
        self.credentials, self.reports = credentials, reports
        self._remounts = RemountEvents(self.client, reports)
        rights = Rights(self.client, self._install_namespace)
        self.executions = Executions(self.client, lambda key: self.queue.add(key), rights)
        self._observer = Observer(self.of, reports, self.executions, self.measurements)
        self.references = References(self.client, self.of, self.resolver, lambda key: self.queue.add(key))
        self._rebinding = Rebinding(self.client, self.of, self.references, reports, self._install_namespace)
        self._reloading = Reloading(self.client, self.of)
        self._bypass = Bypass(self.client, self.of, self.resolver)
        cleaner = Cleaner(self.client, self.of, self._install_namespace)
        self._teardown = Teardown(self.client, self.of, cleaner, self.references)
        labels = NodeLabels(self.client, self.of)
        self._clients = Clients(self.of, self.references)
        self._leaving = Leaving(self.of, labels, cleaner, self._teardown.users, self._clients)
        self._renewal = Renewal(self.client, self.of, self.references, rights, is_gone=reports.is_gone)
        self.secrets = SecretWatch(self.client, lambda name: self.queue.add(name[1]))
        self.of(NODES).on_event(self._relabelled)

    def of(self, resource: Resource) -> AnyInformer:
        """The informer of a resource; of what there is much of, only what we made."""
        selected = resource in (*_PARTS, SECRETS, JOBS, CRONJOBS)
        return self.cache(resource, label_selector=MANAGED if selected else None)

    def watches(self) -> list[Watch]:
        """Whatever a Dataset's state depends on."""
        ours = [Watch(r, map=dataset_key, label_selector=MANAGED) for r in (*_PARTS, JOBS, SECRETS)]
        return [
            Watch(DATASETS),
            Watch(DATASETS, map=lambda dataset: self.references.related(dataset)),
            *(Watch(resource, map=original_of) for resource in (DATASETS, DATALOADS)),
            *(Watch(backend.resource) for backend in self.resolver.backends),
            *ours,
            *(self._named(b.profile) for b in self.resolver.backends if b.profile is not None),
            *(Watch(resource, map=of_operation) for resource in OPERATIONS),
            Watch(PODS, map=self._of_pod),
            Watch(PERSISTENTVOLUMECLAIMS, map=lambda claim: self._observer.of_claim(claim)),
            Watch(PERSISTENTVOLUMES, map=dataset_key),
            Watch(NODES, map=lambda node: ()),  # see wire
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Up, or down."""
        dataset = self.of(DATASETS).get(key)
        if dataset is None:
            await self._orphan(key)
            return None
        if self.resolver.of_fleet(dataset):
            await self._leave(key, dataset)
            return None
        if is_reference(dataset):
            return await self._refer(key, dataset)
        binding = self.resolver.bind(dataset, key)
        if dataset["metadata"].get("deletionTimestamp") or (binding is not None and binding.ending):
            return await self._down(key, dataset, binding)
        await self._finalizer(DATASETS, dataset, DATASET_FINALIZER)
        if binding is None:
            self._forget(key)
            await patch_status(
                self.client,
                DATASETS,
                dataset,
                status.dataset_status(dataset, None, Observed()),
                optional=OURS_IN_STATUS,
            )
            return None
        return await self._up(key, binding)

    async def _refer(self, key: Key, dataset: Json) -> float | None:
        """A Dataset without a cache of its own."""
        self._forget(key)
        if not dataset["metadata"].get("deletionTimestamp"):
            await self._finalizer(DATASETS, dataset, DATASET_FINALIZER)
            return await self.references.up(key, dataset)
        if not await self.references.down(key, dataset):
            await self._drop_finalizer(DATASETS, dataset, DATASET_FINALIZER)
        return None

    # Up

    async def _up(self, key: Key, binding: Binding) -> float | None:
        await self._adopt(binding)
        if binding.problems:
            await self._write(binding, Observed(problem="; ".join(binding.problems)))
            return None
        try:
            await self.credentials.copy(binding.dataset, key)
        except CredentialsError as error:
            await self._write(binding, self._observer.observe(key, binding, waiting=str(error)))
            return _CREDENTIALS_RETRY
        binding = replace(binding, credentials=await self.secrets.read_by(binding))
        try:
            runtimes = (r for backend in self.resolver.backends for r in self.of(backend.resource))
            if await self._ports.ensure(self.client, binding, runtimes):
                return None  # they come with the runtime's next version
            await self._components(key, binding)
            again, left = await self._leaving.step(binding, key)
            outdated = await self._renewal.step(binding, key)
            unmounted = await self._rebinding.step(binding, key)
            await self._reloading.step(binding.dataset, self._observer.abandoned(key))
            self.executions.follow(key, binding, lambda role: self._observer.pods(key, role))
            seen = self._observer.observe(key, binding)
            if binding.backend.volume(binding.cache).after == "none" or seen.served:
                await self._volume(key, binding)
        except (_StrangerError, NoPortLeftError, Invalid) as error:
            await self._write(binding, self._observer.observe(key, binding, problem=str(error)))
            return _STRANGER_RETRY
        self._measure(key, binding)
        fixed = volumes.fixed(binding, self.of(PERSISTENTVOLUMES).get(Key("", volume_name(key))))
        seen = replace(self._observer.observe(key, binding), leaving=left, fixed=fixed, unmounted=unmounted)
        await self._write(binding, replace(seen, outdated=outdated.text, old_mounts=outdated.mounts))
        await self._remounts.tell(key, binding.dataset, self._observer.pods(key))
        return min(filter(None, (again, outdated.again)), default=None)

    async def _adopt(self, binding: Binding) -> None:
        """The runtime belongs to the Dataset from now on, and neither goes before the cache is down."""
        runtime, dataset = binding.runtime, binding.dataset
        metadata = runtime["metadata"]
        owner, finalizer = owner_reference(dataset), runtime_finalizer(binding.backend.type)
        owners = metadata.get("ownerReferences") or []
        identity = dataset_id(key_of(dataset), dataset["metadata"]["uid"])
        patch: Json = {}
        if not any(each.get("uid") == owner["uid"] for each in owners):
            patch["ownerReferences"] = [*(o for o in owners if o.get("kind") != "Dataset"), owner]
        if (metadata.get("labels") or {}).get("fluid.io/dataset-id") != identity:
            patch["labels"] = {"fluid.io/dataset-id": identity}
        if finalizer not in (metadata.get("finalizers") or []):
            patch["finalizers"] = [*(metadata.get("finalizers") or []), finalizer]
        if patch:
            await self._patch_metadata(binding.backend.resource, runtime, patch)

    async def _components(self, key: Key, binding: Binding) -> None:
        everywhere = self._clients.wanted_by_operations(binding, key)
        wanted = components.objects(binding, everywhere=everywhere)
        names = {(resource, obj["metadata"]["name"]) for resource, obj in wanted}
        # Workers and clients of a cache that has a master find it when they start.
        has_master = any(resource in WORKLOADS and role_of(obj) == "master" for resource, obj in wanted)
        led = not has_master or self._observer.counts(key).get("master", Counts()).ready
        for resource, obj in wanted:
            live = self.of(resource).get(Key(key.namespace, obj["metadata"]["name"]))
            digest = obj["metadata"]["annotations"][HASH_ANNOTATION]
            if live is None and resource in WORKLOADS and role_of(obj) != "master" and not led:
                continue
            if live is None or (live["metadata"].get("annotations") or {}).get(HASH_ANNOTATION) != digest:
                await self.client.apply(obj, field_manager=FIELD_MANAGER, resource=resource)
        for resource in _PARTS:
            for live in self.of(resource):
                ours = dataset_key(live) == [key] and role_of(live) in ROLES
                if ours and (resource, live["metadata"]["name"]) not in names:
                    await self.client.delete(resource, live["metadata"]["name"], key.namespace)

    async def _volume(self, key: Key, binding: Binding) -> None:
        """Creates what is not there; neither object can be changed afterwards."""
        at = Key("", volume_name(key))
        volume, claim = self.of(PERSISTENTVOLUMES).get(at), self.of(PERSISTENTVOLUMECLAIMS).get(key)
        for obj in (volume, claim):
            if obj is not None and volumes.is_stranger(obj, key):
                raise _StrangerError(volumes.stranger_problem(obj))
        if volume is not None and claim is None and (volume["spec"].get("claimRef") or {}).get("uid"):
            # It was bound to a claim that somebody deleted; it cannot be bound to another.
            await self.client.delete(PERSISTENTVOLUMES, at.name, uid=volume["metadata"]["uid"])
            return
        if volume is None:
            await self.client.create(PERSISTENTVOLUMES, volumes.persistent_volume(binding))
        if claim is None:
            await self.client.create(PERSISTENTVOLUMECLAIMS, volumes.claim(binding))

    def _measure(self, key: Key, binding: Binding) -> None:
        if not is_counted(binding.cache):
            return
        inputs = self._observer.inputs(key, binding)
        found = self._observer.restored(key, binding)
        if found is not None and restoring.is_news(binding.dataset):
            if found.waiting:
                return
            if found.counted is not None:
                self.measurements.seed(key, inputs, found.counted)
        self.measurements.ensure(key, inputs, binding, self.credentials)

    async def _write(self, binding: Binding, seen: Observed) -> None:
        said = status.dataset_status(binding.dataset, binding, seen)
        restoring.say(said, self._observer.restored(key_of(binding.dataset), binding))
        if names := self.references.to(key_of(binding.dataset)):
            said["datasetRef"] = [str(name) for name in names]
        await self._bypass.keep(binding, said)
        if await patch_status(self.client, DATASETS, binding.dataset, said, optional=OURS_IN_STATUS):
            await self._remounts.warn(binding.dataset, said)
        wanted = status.runtime_status(binding, seen, said.get("cacheStates") or {}, datetime.now(UTC))
        if await patch_status(
            self.client, binding.backend.resource, binding.runtime, wanted, optional=OURS_IN_STATUS
        ):
            await self._remounts.scaled(binding.runtime, wanted)

    # Down

    async def _down(self, key: Key, dataset: Json, binding: Binding | None) -> float | None:
        """The Dataset goes, or its runtime does and leaves the Dataset unbound."""
        leaving = bool(dataset["metadata"].get("deletionTimestamp"))
        if binding is not None:
            if waiting := await self._teardown.step(binding, key):
                await self._write(binding, self._observer.ending(key, binding, waiting))
                return None
            await self._release(binding)
        self._forget(key)
        if leaving:
            await self._drop_finalizer(DATASETS, dataset, DATASET_FINALIZER)
        else:
            await patch_status(
                self.client,
                DATASETS,
                dataset,
                status.dataset_status(dataset, None, Observed()),
                optional=OURS_IN_STATUS,
            )
        return None

    async def _leave(self, key: Key, dataset: Json) -> None:
        """The hub sends it to clusters, perhaps to this one under another name; what we made before goes."""
        self._forget(key)
        if DATASET_FINALIZER not in (dataset["metadata"].get("finalizers") or []):
            return
        binding = self.resolver.pair(dataset, key)
        if binding is not None:
            if await self._teardown.step(binding, key):
                return
            finalizer = runtime_finalizer(binding.backend.type)
            await self._drop_finalizer(binding.backend.resource, binding.runtime, finalizer)
        await self._drop_finalizer(DATASETS, dataset, DATASET_FINALIZER)

    async def _orphan(self, key: Key) -> None:
        """A runtime without a Dataset: set up it was not, or its Dataset was removed by force."""
        self._forget(key)
        binding = self.resolver.leftover(key)
        if binding is None or not binding.ending:
            return
        if not await self._teardown.step(binding, key):
            await self._release(binding)

    async def _release(self, binding: Binding) -> None:
        if binding.ending or binding.dataset["metadata"].get("deletionTimestamp"):
            finalizer = runtime_finalizer(binding.backend.type)
            await self._drop_finalizer(binding.backend.resource, binding.runtime, finalizer)

    def _forget(self, key: Key) -> None:
        self.measurements.forget(key)
        self.credentials.forget(key)
        self.secrets.forget((DATASETS.kind, key))
        self._remounts.forget(key)
        self.executions.forget(key)
        self._leaving.forget(key)

    # Metadata

    async def _finalizer(self, resource: Resource, obj: Json, finalizer: str) -> None:
        there = obj["metadata"].get("finalizers") or []
        if finalizer not in there:
            await self._patch_metadata(resource, obj, {"finalizers": [*there, finalizer]})

    async def _drop_finalizer(self, resource: Resource, obj: Json, finalizer: str) -> None:
        there = obj["metadata"].get("finalizers") or []
        if finalizer in there:
            with suppress(NotFound):
                left = [each for each in there if each != finalizer]
                await self._patch_metadata(resource, obj, {"finalizers": left})

    async def _patch_metadata(self, resource: Resource, obj: Json, patch: Json) -> None:
        """Only if nobody else changed the object meanwhile, since lists are replaced as a whole."""
        metadata = obj["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"], **patch}}
        await self.client.patch(resource, metadata["name"], body, metadata.get("namespace"))

    def _of_pod(self, pod: Json) -> list[Key]:
        """Pods of ours, and pods that use a claim, which may be a Dataset's or of one that refers to it."""
        used = [Key(pod["metadata"]["namespace"], name) for name in claims_of(pod)]
        datasets = [dataset for key in used if (dataset := self.of(DATASETS).get(key)) is not None]
        named = [reference_of(dataset) for dataset in datasets]
        return [
            *dataset_key(pod),
            *used,
            *(reference.physical for reference in named if reference is not None),
        ]

    def _relabelled(self, old: Json | None, new: Json | None) -> None:
        for key in relabelled(self.of(DATASETS), old, new):
            self.queue.add(key)

    def _named(self, kind: Profile) -> Watch:
        """Of objects that runtimes name."""
        return Watch(kind.resource, map=lambda obj: self.resolver.naming(kind, obj["metadata"]["name"]))


class _StrangerError(Exception):
    """Something has a name that we need."""
