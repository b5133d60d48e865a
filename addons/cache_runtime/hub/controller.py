"""Dataset on the hub -> one ManifestWork per cluster of its Placement -> status."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime

import structlog

from addon_framework.api.cluster import ManagedCluster, Placement, PlacementDecision
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import NAMESPACES, ROLEBINDINGS, ROLES, SECRETS
from addon_framework.api.meta import Json, Resource
from addon_framework.api.work import ManifestWork
from addon_framework.hub.acceptance import acceptance_changed, is_accepted
from addon_framework.hub.addons import lookup
from addon_framework.hub.addons.works import same_work
from addon_framework.kube import ApiError, Controller, Forbidden, Key, NotFound, Watch, key_of, patch_status
from addon_framework.kube.ensure import ensure, remove, set_finalizers
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.names import DATALOADS, DATASETS
from addons.cache_runtime.hub import peers
from addons.cache_runtime.hub.holding import ADDONS, AGENT, agent_changed, leaves
from addons.cache_runtime.hub.known import Known, Sent, digest
from addons.cache_runtime.hub.migration import Place
from addons.cache_runtime.hub.names import (
    FINALIZER,
    LOCAL_CLUSTER_LABEL,
    OWNER_NAME_LABEL,
    RUNTIMES,
    dataset_of,
    is_here,
    migrated,
    owner_of,
    placement_of,
    work_name,
)
from addons.cache_runtime.hub.operations import MIGRATES, Operations, cached
from addons.cache_runtime.hub.rivals import AGAIN, TAKEN, rival
from addons.cache_runtime.hub.status import dataset_status, leaving
from addons.cache_runtime.hub.works import copied_key, credentials, manifest_work, secrets_of

log = structlog.get_logger(__name__)

MANAGER = "fleet-datasets"
WORKS, PLACEMENTS, DECISIONS = ManifestWork.RESOURCE, Placement.RESOURCE, PlacementDecision.RESOURCE
CREDENTIALS = (SECRETS, ROLES, ROLEBINDINGS)
_LONGEST = 5.0  # seconds between two looks at a status
_OURS_IN_STATUS = ("observedGeneration", "clusters")  # a hub with upstream's definitions drops them
_PLAIN = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"  # many others may be there


class NotYetError(Exception):
    """A Dataset cannot be sent as it is; what clusters have stays."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class FleetDatasetController(Controller):
    """Makes one Dataset that names a Placement true on the clusters chosen."""

    name = "fleet-datasets"
    workers = 4

    def __init__(self) -> None:
        self._known: dict[Key, Known] = {}
        self._hub_id = ""

    async def start(self) -> None:
        """A cluster that claims to be this one is this one."""
        try:
            self._hub_id = (await self.client.get(NAMESPACES, "kube-system"))["metadata"]["uid"]
        except (NotFound, Forbidden):
            log.info("which cluster is the hub is known by its label only", label=LOCAL_CLUSTER_LABEL)

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
                Watch(resource, map=self._touched, label_selector=OWNER_NAME_LABEL)
                for resource in (WORKS, *CREDENTIALS)
            ),
            Watch(SECRETS, map=self._readers, field_selector=_PLAIN),
            Watch(ManagedCluster.RESOURCE, map=self._sent_to, predicate=self._cluster_changed),
            Watch(ADDONS, map=self._served, predicate=agent_changed),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One Dataset."""
        dataset: Json | None = self.cache(DATASETS).get(key)
        known = self._look(key)
        if dataset is None:
            await self._remove(key, keep=())
            self._known.pop(key, None)
            return None
        finalizers = dataset["metadata"].get("finalizers") or []
        if dataset["metadata"].get("deletionTimestamp") or not placement_of(dataset):
            if FINALIZER not in finalizers:
                return None  # it stays on the hub, and is somebody else's
            known.lacking = frozenset()
            left = await self._remove(key, keep=())
            await self._write(dataset, known, [], why=("Leaving", leaving(left)))
            if not left:
                dataset = self.cache(DATASETS).get(key) or dataset
                kept = [name for name in finalizers if name != FINALIZER]
                await set_finalizers(self.client, DATASETS, dataset, kept)
            return None
        if FINALIZER not in finalizers:  # the event of this write brings us back
            await set_finalizers(self.client, DATASETS, dataset, [*finalizers, FINALIZER])
            return None
        return await self._distribute(key, dataset, known)

    def _look(self, key: Key) -> Known:
        """At the clusters that had an event, all of them the first time."""
        if key not in self._known:
            owned = (self._keys(resource, key) for resource in (WORKS, *CREDENTIALS))
            self._known[key] = Known({found.namespace for keys in owned for found in keys})
        known = self._known[key]
        if known.operations != (names := self._operations(key).names()):
            known.operations = names
            known.touched |= known.said.keys()
        touched, known.touched = known.touched, set()
        known.look((cluster, self._work(key, cluster)) for cluster in touched)
        return known

    async def _distribute(self, key: Key, dataset: Json, known: Known) -> float | None:
        why: tuple[str, str] | None = None
        failures: list[ApiError] = []
        place = self._place(key, dataset, known, known.present(), None)
        try:
            if not place.clusters and (taken := await rival(self.client, DATASETS, dataset)):
                raise NotYetError(TAKEN, taken)
            self._values(key, secrets_of(dataset))  # nothing is written where one is missing
            clusters, why = self._clusters(key, dataset, known)
            place = self._place(key, dataset, known, clusters, self._runtime(key))
            failures, with_values = await self._send_all(key, place, known)
            await self._remove(key, keep=clusters, credentials=with_values)
        except NotYetError as error:
            why = error.reason, str(error)
        wait, left = await self._report(key, place, known, why), await self._expire(key)
        if failures:
            raise failures[0]
        look = AGAIN if why is not None and why[0] == TAKEN else None
        return min(filter(None, (wait, left, look)), default=None)

    def _place(
        self, key: Key, dataset: Json, known: Known, clusters: Sequence[str], runtime: Json | None
    ) -> Place:
        named, taken = self.cache(ManagedCluster.RESOURCE), known.taken()
        sharing = (named.get(Key("", cluster)) for cluster in clusters if cluster not in taken)
        reached = peers.reached(sharing, key, self._hub_id)
        return Place(dataset, runtime, clusters, reached, cached(known), taken)

    async def _send_all(self, key: Key, place: Place, known: Known) -> tuple[list[ApiError], set[str]]:
        """To each what it has not got yet: what failed, and who has credentials.

        One cluster's trouble is not the others'.
        """
        dataset, runtime, operations = place.dataset, place.runtime, self._operations(key)
        named = self.cache(ManagedCluster.RESOURCE)
        alike = (manifest_work(dataset, runtime, operations.loads, ""), place.reached)
        plain = digest(alike, self._values(key, secrets_of(dataset)))
        sent_to = operations.sent(place)
        failures, with_values = [], set()
        for cluster in place.clusters:
            wanted, (moves, mine) = plain, sent_to.get(cluster, ([], []))
            if moves or mine:
                wanted = digest(plain, self._values(key, secrets_of({}, mine)), moves, mine)
            if (sent := known.sent.get(cluster)) is not None and sent.digest == wanted:
                with_values |= {cluster} if sent.credentials else set()
                continue
            here = is_here(known_as := named.get(Key("", cluster)), self._hub_id)
            near, loads = peers.others(place.reached, cluster), [*operations.loads, *moves]
            work = manifest_work(dataset, runtime, loads, cluster, mine, here=here, others=near)
            # One that was rejected may still hold a certificate: nothing may be left for it to read.
            values = self._values(key, secrets_of(dataset, mine)) if is_accepted(known_as) else {}
            with_values |= {cluster} if values else set()
            try:
                await self._send(key, work)
                if values:
                    await self._deliver(dataset, values, cluster)
            except ApiError as error:
                failures.append(error)
                known.sent.pop(cluster, None)
                continue
            known.sent[cluster] = Sent(wanted, bool(values))
        return failures, with_values

    async def _report(
        self, key: Key, place: Place, known: Known, why: tuple[str, str] | None
    ) -> float | None:
        """Statuses, of all clusters at once, for a tenth of the time; seconds until it may be done again."""
        clock = asyncio.get_running_loop().time
        if (wait := known.again - clock()) > 0:
            return wait
        began = clock()
        await self._write(place.dataset, known, place.clusters, why=why)
        for resource, op, status in self._operations(key).statuses(known, place):
            await patch_status(self.client, resource, op, status)
        known.again = clock() + min(9 * (clock() - began), _LONGEST)
        return None

    async def _expire(self, key: Key) -> float | None:
        """Deletes operations whose time is over; seconds until that of the next is."""
        soon: list[float] = []
        others = functools.partial(itertools.chain, self.cache(DATALOADS), self.cache(MIGRATES))
        for resource, op, left in self._operations(key).ended(others, datetime.now(UTC)):
            if left > 0:
                soon.append(left)
            else:
                await remove(self.client, resource, op)
        return min(soon, default=None)

    def _clusters(self, key: Key, dataset: Json, known: Known) -> tuple[list[str], tuple[str, str] | None]:
        """Where it goes, and what is wrong with the choice. Without a decision it stays where it is.

        Not to clusters without the agent: what they would get nobody could take away again.
        """
        name, present = placement_of(dataset), known.present()
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
            if not (why := str(said.get("message", ""))):
                return present, ("Undecided", f"Placement {name} has not been decided on yet")
            known.lacking = frozenset()
            return [], ("NoCluster", f"Placement {name} chose no cluster: {why}")
        addons = self.cache(ADDONS)
        agents = {name: addons.get(Key(name, AGENT)) for name in chosen}
        known.lacking = {name for name, agent in agents.items() if agent is None or leaves(agent)}
        kept = {name for name in known.lacking.intersection(present) if not leaves(agents[name])}
        return sorted({*chosen} - known.lacking | kept), None

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

    def _operations(self, key: Key) -> Operations:
        loads, migrates = self._of(DATALOADS, dataset_of, key), self._of(MIGRATES, migrated, key)
        return Operations(key, loads, migrates, functools.partial(self._is_whole, key))

    def _of(self, resource: Resource, of: Callable[[Json], Key], key: Key) -> list[Json]:
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
            live = self._owned(resource).get(Key(cluster, obj["metadata"]["name"]))
            if resource is SECRETS and live is not None and live.get("data") != obj["data"]:
                live = None  # a value that the Dataset names no more is a difference, too
            await ensure(self.client, live, obj, field_manager=MANAGER, resource=resource)

    async def _remove(
        self, key: Key, *, keep: Collection[str], credentials: Collection[str] = ()
    ) -> list[str]:
        """From other clusters than those to keep: first the work, then its credentials; those not clean."""
        left, keep = set(), set(keep)
        for at in self._keys(WORKS, key):
            if at.namespace in keep or (work := self._owned(WORKS).get(at)) is None:
                continue
            if await remove(self.client, WORKS, work):
                left.add(at.namespace)
        for resource in CREDENTIALS:
            for at in self._keys(resource, key):
                if at.namespace in credentials or at.namespace in left:
                    continue
                if (obj := self._owned(resource).get(at)) is not None:
                    await remove(self.client, resource, obj)
        return sorted(left)

    async def _write(
        self, dataset: Json, known: Known, clusters: Sequence[str], *, why: tuple[str, str] | None
    ) -> None:
        reports = [said.dataset for said in known.of(clusters)]
        status = dataset_status(dataset, known.entries(clusters), reports, why=why)
        await patch_status(self.client, DATASETS, dataset, status, optional=_OURS_IN_STATUS)

    def _work(self, key: Key, cluster: str) -> Json | None:
        found: Json | None = self._owned(WORKS).get(Key(cluster, work_name(key)))
        return found

    def _owned(self, resource: Resource) -> AnyInformer:
        """What is in cluster namespaces and belongs to Datasets."""
        return self.cache(resource, label_selector=OWNER_NAME_LABEL)

    def _keys(self, resource: Resource, key: Key) -> list[Key]:
        """What belongs to one."""
        cache = self._owned(resource)
        cache.add_index("owner", lambda obj: [str(owner) for owner in owner_of(obj)])
        return cache.keys_by_index("owner", str(key))

    def _touched(self, obj: Json) -> list[Key]:
        """Whose it is; the cluster is looked at again."""
        return self._touch(owner_of(obj), obj["metadata"]["namespace"])

    def _touch(self, keys: list[Key], cluster: str) -> list[Key]:
        for key in keys:
            if key in self._known:
                self._known[key].touched.add(cluster)
        return keys

    def _cluster_changed(self, old: Json | None, new: Json | None) -> bool:
        return acceptance_changed(old, new) or peers.moved(old, new, self._hub_id)

    def _sent_to(self, cluster: Json) -> Iterable[Key]:
        """The Datasets that a cluster has."""
        return self._on(cluster["metadata"]["name"])

    def _served(self, addon: Json) -> Iterable[Key]:
        """The Datasets that a cluster has, and those that it would have with an agent."""
        cluster = addon["metadata"]["namespace"]
        return [*self._on(cluster), *(key for key, known in self._known.items() if cluster in known.lacking)]

    def _on(self, cluster: str) -> Iterable[Key]:
        works = self._owned(WORKS).in_namespace(cluster)
        return self._touch([key for work in works for key in owner_of(work)], cluster)

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
