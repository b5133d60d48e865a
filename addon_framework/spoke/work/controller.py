"""ManifestWork -> objects on this cluster, pruned of what left it, and its status on the hub."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Hashable, Iterable, Sequence

import structlog

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import CRDS, NAMESPACES
from addon_framework.api.jsonpath import PathError
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import WORK_FINALIZER
from addon_framework.api.work import ManifestWork
from addon_framework.kube import (
    ApiError,
    Client,
    Controller,
    Forbidden,
    Invalid,
    Key,
    NotFound,
    Unauthorized,
    WaitTimeoutError,
    Watch,
    wait_for,
)
from addon_framework.kube.ensure import set_finalizers, write_status
from addon_framework.spoke.work import bookkeeping, ownership
from addon_framework.spoke.work.apply import Applier, Wish, is_final
from addon_framework.spoke.work.deletion import WorkDeletion
from addon_framework.spoke.work.executor import Executors
from addon_framework.spoke.work.objects import SpokeObjects
from addon_framework.spoke.work.status import (
    Outcome,
    complete_before,
    is_over,
    refuse_repeated,
    refused_status,
    too_large,
    work_status,
)
from addon_framework.spoke.work.targets import (
    READ_ONLY,
    Target,
    defined_kinds,
    is_orphaned,
    options_for,
    rank,
)

log = structlog.get_logger(__name__)
WORK = ManifestWork.RESOURCE
ESTABLISH_TIMEOUT = 10.0
SERVED_AFTER = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # a CRD's endpoints come a moment after Established
RESYNC = 240.0  # seconds until all is looked at again without any event: some kinds cannot be watched


class WorkController(Controller):
    """Applies works in their order, concurrently within a rank; follows the objects by watching them."""

    name = "work"
    workers = 8

    def __init__(
        self, objects: SpokeObjects, cluster: str, hub_hash: str, agent: str, *, resync: float = RESYNC
    ) -> None:
        self._objects, self._cluster, self._hub_hash, self._agent = objects, cluster, hub_hash, agent
        self._resync = resync
        self._executors = Executors(objects.client)
        self._spoke: Client = objects.client
        self._applier = Applier(objects)
        self._deletion = WorkDeletion(objects)
        self._failed: set[Key] = set()
        self._reported: dict[Key, str] = {}  # the version that our last status was written over
        objects.listen(self._object_changed)

    def watches(self) -> list[Watch]:
        """Works on the hub; here our books, and what a refused manifest may have been waiting for."""
        return [
            Watch(WORK, namespace=self._cluster),
            Watch(bookkeeping.RESOURCE, map=self._of_applied, client=self._spoke),
            Watch(CRDS, map=self._all_failed, predicate=_was_established, client=self._spoke),
            Watch(NAMESPACES, map=self._all_failed, predicate=_came, client=self._spoke),
        ]

    async def work(self) -> None:
        """As every controller; connections and watches end with it."""
        try:
            await super().work()
        finally:
            await self._applier.close()

    async def reconcile(self, key: Key) -> float | None:
        """One work."""
        work: Json | None = self.cache(WORK, namespace=self._cluster).get(key)
        if work is None:
            self._forget(key)
            return None
        applied = await self._applied(work)
        if work["metadata"].get("deletionTimestamp"):
            self._forget(key, applied)
            await self._deletion.advance(self.client, work, applied)
            return None
        finalizers = work["metadata"].get("finalizers") or []
        if WORK_FINALIZER not in finalizers:  # before there is anything that it has to clean up
            await set_finalizers(self.client, WORK, work, [*finalizers, WORK_FINALIZER])
            return None
        if applied is None:
            name = bookkeeping.applied_name(self._hub_hash, key.name)
            applied = await bookkeeping.create(self._spoke, name, work, self._hub_hash, self._agent)
        if applied["metadata"].get("deletionTimestamp"):
            return None  # of an earlier work of this name; its end calls us
        return await self._make(key, work, applied)

    async def _make(self, key: Key, work: Json, applied: Json) -> float | None:
        if problem := too_large(work):  # OCM's webhook refuses it; here is nobody else to say so
            await write_status(self.client, WORK, work, refused_status(work, problem))
            return None
        outcomes = await self._resolve(work)
        over = is_over(work)
        if not over:
            applied = await self._intend(work, applied, outcomes)
        errors = await self._apply(key, work, applied, outcomes)
        if not over:
            errors += await self._settle(key, work, applied, outcomes)
        if self._reported.get(key) == work["metadata"]["resourceVersion"]:
            return None  # we have written since: the event of that calls us again
        status = work_status(work, outcomes)
        if await write_status(self.client, WORK, work, status):
            self._reported[key] = work["metadata"]["resourceVersion"]
            condition = get_condition({"status": status}, "Applied") or {}
            log.debug(
                "work", work=str(key), applied=condition.get("status"), message=condition.get("message")
            )
        if errors:
            self._failed.add(key)
        else:
            self._failed.discard(key)
        passing = [error for error in errors if not is_final(error)]
        if passing:
            raise ApiError(0, "NotApplied", passing[0].message)  # again, with back-off
        return self._resync * random.uniform(0.75, 1.25)

    async def _resolve(self, work: Json) -> list[Outcome]:
        """Which object each manifest is. Kinds that the work itself defines need not be served yet."""
        spec = work["spec"]
        manifests: list[Json] = (spec.get("workload") or {}).get("manifests") or []
        defined = defined_kinds(manifests)
        configs = spec.get("manifestConfigs") or []
        outcomes = [Outcome(ordinal, manifest) for ordinal, manifest in enumerate(manifests)]
        kinds = {_kind(manifest) for manifest in manifests}
        missing: dict[tuple[str, str], str] = {}
        resources: dict[tuple[str, str], Resource] = {
            kind: defined[kind][0] for kind in kinds if kind in defined
        }

        async def discover(kind: tuple[str, str]) -> None:
            try:
                resources[kind] = await self._spoke.resource_for(*kind)
            except NotFound as error:
                missing[kind] = error.message

        await asyncio.gather(*(discover(kind) for kind in kinds - resources.keys()))
        for outcome in outcomes:
            kind = _kind(outcome.manifest)
            if kind in missing:
                outcome.error = missing[kind]
                continue
            metadata, resource = outcome.manifest.get("metadata") or {}, resources[kind]
            if not metadata.get("name"):
                outcome.error = f"spec.workload.manifests[{outcome.ordinal}].metadata.name is missing"
                continue
            namespace = (metadata.get("namespace") or "default") if resource.namespaced else ""
            outcome.target = Target(resource, namespace, metadata["name"])
            outcome.options = options_for(configs, outcome.target)
        refuse_repeated(outcomes)
        return outcomes

    async def _intend(self, work: Json, applied: Json, outcomes: Sequence[Outcome]) -> Json:
        """Write down what will be there before it is: a kill must not leave what nobody knows of."""
        known = {bookkeeping.place(entry): entry for entry in bookkeeping.entries(applied)}
        for outcome in outcomes:
            if outcome.target is not None and self._is_owned(work, outcome):
                entry = bookkeeping.entry_of(outcome.target, None)
                known.setdefault(bookkeeping.place(entry), entry)
        return await bookkeeping.record(self._spoke, applied, known)

    async def _apply(
        self, key: Key, work: Json, applied: Json, outcomes: Sequence[Outcome]
    ) -> list[ApiError]:
        """Rank by rank, each rank at once. One that fails does not keep the others."""
        defined = defined_kinds((work["spec"].get("workload") or {}).get("manifests") or [])
        errors: list[ApiError] = [
            NotFound(404, "NotFound", o.error) for o in outcomes if o.target is None and o.error
        ]
        crd_of = {id(o): defined[k][1] for o in outcomes if (k := _kind(o.manifest)) in defined}
        # What left the work is watched until it is gone; instances are not before their CRD is there.
        watching = self._objects.watched(key) | {
            o.target for o in outcomes if o.target and id(o) not in crd_of
        }
        for level in sorted({rank(o.manifest) for o in outcomes}):
            batch = [o for o in outcomes if rank(o.manifest) == level and o.target is not None]
            fresh = await self._established({crd_of[id(o)] for o in batch if id(o) in crd_of})
            watching |= {o.target for o in batch if o.target is not None}
            self._objects.watch(key, watching)
            results = await asyncio.gather(*(self._apply_one(work, applied, o, fresh) for o in batch))
            errors += [error for error in results if error is not None]
        return errors

    async def _apply_one(self, work: Json, applied: Json, outcome: Outcome, fresh: bool) -> ApiError | None:
        target = outcome.target
        assert target is not None
        if outcome.error or is_over(work) or complete_before(work, outcome.meta):
            outcome.live = await self._objects.live(target)
            return Invalid(422, "Invalid", outcome.error) if outcome.error else None
        owned = self._is_owned(work, outcome)
        try:
            user = await self._executors.check(work["spec"].get("executor"), target, outcome.options, owned)
        except (Forbidden, Invalid) as error:
            outcome.error, outcome.refused = error.message, True
            outcome.live = await self._objects.live(target)
            return error
        wish = Wish(
            target,
            outcome.manifest,
            outcome.options,
            applied["metadata"]["uid"],
            ownership.reference_to(applied) if owned else None,
            _was_applied(work),
            user,
        )
        for delay in (*(SERVED_AFTER if fresh else ()), None):
            try:
                outcome.live = await self._applier.apply(wish)
                return None
            except PathError as error:
                outcome.error, outcome.reason = str(error), "AppliedManifestSSAIgnoreFieldError"
                outcome.live = await self._objects.live(target)
                return Invalid(422, "Invalid", str(error))
            except ApiError as error:
                if isinstance(error, NotFound) and delay is not None:
                    await asyncio.sleep(delay)
                    continue
                if error.status == 0 or isinstance(error, Unauthorized):
                    raise  # no answer of the cluster: nothing is known of the manifest
                outcome.error = error.message
                outcome.live = await self._objects.live(target)
                return error
        return None

    async def _settle(
        self, key: Key, work: Json, applied: Json, outcomes: Sequence[Outcome]
    ) -> list[ApiError]:
        """Prune what left the work, and write down what is there now."""
        wanted: dict[bookkeeping.Place, Json] = {}
        listed: set[bookkeeping.Place] = set()
        unknown = any(outcome.target is None for outcome in outcomes)
        for outcome in outcomes:
            if outcome.target is None:
                continue
            # What the cluster would not give us is somebody else's, whom the work's end must cost nothing.
            ours = ownership.is_owned(outcome.live, applied["metadata"]["uid"])
            entry = bookkeeping.entry_of(outcome.target, outcome.live if ours else None)
            listed.add(bookkeeping.place(entry))
            if self._is_owned(work, outcome):
                wanted[bookkeeping.place(entry)] = entry
        old = {bookkeeping.place(entry): entry for entry in bookkeeping.entries(applied)}
        # While the kind of a manifest is unknown, an old object of any such kind may be the one it means.
        gone = [] if unknown else [entry for where, entry in old.items() if where not in listed]
        left, errors = await bookkeeping.remove_all(self._objects, applied, gone)
        wanted |= {bookkeeping.place(entry): entry for entry in left}
        if unknown:
            wanted = old | wanted
        targets = {o.target for o in outcomes if o.target is not None}
        self._objects.watch(key, targets | set(map(bookkeeping.target_of, left)))
        self._applier.forget(applied["metadata"]["uid"], frozenset(targets))
        await bookkeeping.record(self._spoke, applied, wanted)
        return errors

    async def _established(self, crds: Iterable[str]) -> bool:
        """Instances wait for their CRDs; whether there was one that had to be waited for."""
        cache = self.cache(CRDS, client=self._spoke)
        waiting = [crd for crd in crds if not is_true(cache.get(Key("", crd)) or {}, "Established")]

        async def wait(crd: str) -> None:
            try:
                await wait_for(
                    self._spoke,
                    CRDS,
                    crd,
                    until=lambda obj: obj is not None and is_true(obj, "Established"),
                    timeout=ESTABLISH_TIMEOUT,
                )
            except WaitTimeoutError as error:
                log.warning(
                    "CRD not established", crd=crd, reason=str(error)
                )  # its instances will say so too

        await asyncio.gather(*(wait(crd) for crd in waiting))
        return bool(waiting)

    async def _applied(self, work: Json) -> Json | None:
        """Our book of the work; the cache may not show yet what we wrote a moment ago."""
        name = bookkeeping.applied_name(self._hub_hash, work["metadata"]["name"])
        cached: Json | None = self.cache(bookkeeping.RESOURCE, client=self._spoke).get(Key("", name))
        if cached is not None:
            return cached
        try:
            return await self._spoke.get(bookkeeping.RESOURCE, name)
        except NotFound:
            return None

    def _is_owned(self, work: Json, outcome: Outcome) -> bool:
        assert outcome.target is not None
        if outcome.options.strategy == READ_ONLY:
            return False
        return not is_orphaned(work["spec"].get("deleteOption"), outcome.target)

    def _forget(self, key: Key, applied: Json | None = None) -> None:
        self._failed.discard(key)
        self._reported.pop(key, None)
        self._objects.watch(key, ())
        if applied is not None:
            self._applier.forget(applied["metadata"]["uid"])

    # From events to works

    def _object_changed(self, user: Hashable) -> None:
        if isinstance(user, Key):
            self.queue.add(user)

    def _of_applied(self, applied: Json) -> list[Key]:
        spec = applied.get("spec") or {}
        if spec.get("hubHash") != self._hub_hash:
            return []
        return [Key(self._cluster, spec.get("manifestWorkName", ""))]

    def _all_failed(self, _: Json) -> list[Key]:
        return list(self._failed)


def _was_applied(work: Json) -> bool:
    """Whether this very generation was applied once, maybe by an earlier process."""
    condition = get_condition(work, "Applied")
    return (
        condition is not None
        and condition["status"] == "True"
        and condition.get("observedGeneration") == work["metadata"].get("generation")
    )


def _kind(manifest: Json) -> tuple[str, str]:
    return manifest.get("apiVersion", ""), manifest.get("kind", "")


def _was_established(old: Json | None, new: Json | None) -> bool:
    return (
        new is not None and is_true(new, "Established") and (old is None or not is_true(old, "Established"))
    )


def _came(old: Json | None, new: Json | None) -> bool:
    return old is None
