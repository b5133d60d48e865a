"""ManifestWorkReplicaSet -> a ManifestWork on every cluster of its placements, as fast as it says."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime

import structlog

from addon_framework.api.cluster import Placement, PlacementDecision
from addon_framework.api.meta import Json
from addon_framework.api.names import (
    DECISION_GROUP_INDEX_LABEL,
    DECISION_GROUP_NAME_LABEL,
    PLACEMENT_LABEL,
    WORK_GROUP,
)
from addon_framework.api.work import ManifestWork, ManifestWorkReplicaSet
from addon_framework.hub.work import status as report
from addon_framework.hub.work.children import (
    OWNER_LABEL,
    PLACEMENT_NAME_LABEL,
    Template,
    label_value,
    owner_value,
)
from addon_framework.hub.work.progress import Dates
from addon_framework.hub.work.rollout import Group, StrategyError, parse_strategy, plan
from addon_framework.hub.work.status import Part, status_of
from addon_framework.kube import (
    AlreadyExists,
    ApiError,
    Conflict,
    Controller,
    Key,
    NotFound,
    Watch,
    came_or_went,
    key_of,
)
from addon_framework.kube.ensure import remove, set_finalizers, write_status

log = structlog.get_logger(__name__)
RESOURCE = ManifestWorkReplicaSet.RESOURCE
WORK = ManifestWork.RESOURCE
FINALIZER = f"{WORK_GROUP}/manifest-work-cleanup"


class ReplicaSetController(Controller):
    """Creates, updates and deletes the works of a replica set, and sums up what they report."""

    name = "work-replicaset"
    workers = 4

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._dates: defaultdict[Key, Dates] = defaultdict(Dates)

    def watches(self) -> list[Watch]:
        """Replica sets, their works, and what their placements decide."""
        return [
            Watch(RESOURCE),
            Watch(WORK, map=self._of_work),
            Watch(Placement.RESOURCE, map=lambda p: self._of_placement(key_of(p)), predicate=came_or_went),
            Watch(PlacementDecision.RESOURCE, map=self._of_decision),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One replica set."""
        replica_set: Json | None = self.cache(RESOURCE).get(key)
        if replica_set is None:
            self._dates.pop(key, None)
            return None
        finalizers = replica_set["metadata"].get("finalizers") or []
        if replica_set["metadata"].get("deletionTimestamp"):
            if FINALIZER in finalizers:
                await self._finalize(key, replica_set)
            return None
        if FINALIZER not in finalizers:  # before there is anything that it has to clean up
            await set_finalizers(self.client, RESOURCE, replica_set, [*finalizers, FINALIZER])
            return None
        template = Template(replica_set)
        if problem := template.problem():
            await write_status(self.client, RESOURCE, replica_set, report.refused(replica_set, problem))
            return None
        works = self._works(key)
        by_cluster = {work["metadata"]["namespace"]: work for work in works}
        parts = self._parts(replica_set, template, by_cluster)
        errors = await self._deploy(template, parts, works)
        shown = [work for work in works if not _is_leaving(work, parts)]
        lasting = [str(error) for error in errors if not isinstance(error, Conflict | AlreadyExists)]
        await write_status(self.client, RESOURCE, replica_set, status_of(replica_set, parts, shown, lasting))
        if errors:
            raise errors[0]
        rechecks = [part.plan.recheck.total_seconds() for part in parts if part.plan.recheck is not None]
        return min(rechecks) + 0.01 if rechecks else None

    def _parts(self, replica_set: Json, template: Template, works: Mapping[str, Json]) -> list[Part]:
        """Each placement with its plan; a cluster that several have chosen is that of the first."""
        parts: list[Part] = []
        taken: set[str] = set()
        namespace, now = replica_set["metadata"]["namespace"], self._now()
        dates = self._dates[Key(namespace, replica_set["metadata"]["name"])]
        progress = dates.dated(works.values(), template.is_current, now)
        for ref in replica_set["spec"].get("placementRefs") or []:
            part = Part(ref["name"])
            parts.append(part)
            groups = self._groups(Key(namespace, ref["name"]))
            if groups is None:
                part.problem = report.NOT_FOUND, f"placement {ref['name']} does not exist or has not decided"
                continue
            part.groups = len(groups)
            left = [Group(g.name, g.index, g.clusters - taken) for g in groups]
            part.clusters = frozenset[str]().union(*(group.clusters for group in left))
            taken |= part.clusters
            part.progress = {c: p for c, p in progress.items() if c in part.clusters}
            try:
                strategy = parse_strategy(ref.get("rolloutStrategy") or {})
                part.plan = plan(strategy, left, part.progress, now)
            except StrategyError as error:
                part.problem = report.NOT_AS_EXPECTED, f"placementRefs {ref['name']}: {error}"
                part.plan.wanted = sorted(part.progress)
        return parts

    async def _deploy(self, template: Template, parts: list[Part], works: list[Json]) -> list[ApiError]:
        """All writes at once; the errors of those that failed, each saying which cluster."""
        placement = {cluster: part.placement for part in parts for cluster in part.clusters}
        fresh = {cluster for part in parts for cluster in part.plan.fresh}
        kept: set[str] = set()
        steps = []
        for work in works:
            cluster = work["metadata"]["namespace"]
            if _is_leaving(work, parts) or cluster in kept:
                steps.append(_attempt(cluster, remove(self.client, WORK, work)))
                continue
            kept.add(cluster)
            if cluster not in placement or work["metadata"].get("deletionTimestamp"):
                continue
            wanted = template.updated(work, placement[cluster], spec=cluster in fresh)
            if wanted is not None:
                steps.append(_attempt(cluster, self.client.update(WORK, wanted)))
        for cluster in sorted(fresh - kept):
            work = template.work(cluster, placement[cluster])
            steps.append(_attempt(cluster, self.client.create(WORK, work)))
        results = await asyncio.gather(*steps)
        if steps:
            log.debug("replica set", writes=len(steps), fresh=len(fresh))
        return [error for error in results if error is not None]

    async def _finalize(self, key: Key, replica_set: Json) -> None:
        """Delete the works; in the foreground the replica set waits until they are gone."""
        # Asked of the server: the cache may not show a work that was made a moment ago.
        selector = f"{OWNER_LABEL}={owner_value(key)}"
        works = (await self.client.list(WORK, label_selector=selector))["items"]
        await asyncio.gather(*(remove(self.client, WORK, work) for work in works))
        policy = (replica_set.get("spec") or {}).get("cascadeDeletionPolicy") or "Background"
        if policy == "Foreground" and works:
            await write_status(self.client, RESOURCE, replica_set, report.deleting(replica_set, works))
            return  # their end calls us again
        kept = [f for f in replica_set["metadata"]["finalizers"] if f != FINALIZER]
        try:
            await set_finalizers(self.client, RESOURCE, replica_set, kept)
        except NotFound:
            pass  # the cache is behind
        log.info("replica set gone", replica_set=str(key), works=len(works), policy=policy)

    # What the caches know

    def _works(self, key: Key) -> list[Json]:
        cache = self.cache(WORK)
        cache.add_index("owner", _owner_label)
        found: list[Json] = cache.by_index("owner", owner_value(key))
        return sorted(found, key=lambda work: (work["metadata"]["namespace"], work["metadata"]["name"]))

    def _groups(self, placement: Key) -> list[Group] | None:
        """The decision groups; None while the placement is not there, or has not decided."""
        cache = self.cache(PlacementDecision.RESOURCE)
        cache.add_index("placement", lambda decision: [str(_placement_of(decision))])
        decisions = cache.by_index("placement", str(placement))
        if not decisions or self.cache(Placement.RESOURCE).get(placement) is None:
            return None
        groups: dict[tuple[int, str], set[str]] = {}
        for decision in decisions:
            labels = decision["metadata"].get("labels") or {}
            index = labels.get(DECISION_GROUP_INDEX_LABEL, "0")
            group = int(index) if index.isdigit() else 0, labels.get(DECISION_GROUP_NAME_LABEL, "")
            chosen = (decision.get("status") or {}).get("decisions") or []
            groups.setdefault(group, set()).update(c["clusterName"] for c in chosen)
        return [Group(name, index, frozenset(chosen)) for (index, name), chosen in sorted(groups.items())]

    # From events to replica sets

    def _of_work(self, work: Json) -> Iterable[Key]:
        return [key for owner in _owner_label(work) for key in self._indexed("owner", owner)]

    def _of_placement(self, placement: Key) -> Iterable[Key]:
        return self._indexed("placement", str(placement))

    def _of_decision(self, decision: Json) -> Iterable[Key]:
        return self._of_placement(_placement_of(decision))

    def _indexed(self, index: str, value: str) -> list[Key]:
        cache = self.cache(RESOURCE)
        cache.add_index("owner", lambda obj: [owner_value(key_of(obj))])
        cache.add_index("placement", _placements)
        return [key_of(obj) for obj in cache.by_index(index, value)]


async def _attempt(cluster: str, step: Awaitable[object]) -> ApiError | None:
    """The error of a write, saying which cluster it is about."""
    try:
        await step
    except ApiError as error:
        return type(error)(error.status, error.reason, f"{cluster}: {error.message}", error.details)
    return None


def _is_leaving(work: Json, parts: Iterable[Part]) -> bool:
    """No placement wants its cluster; one that nothing is known of may, if it has before."""
    unknown = {label_value(p.placement) for p in parts if p.problem and p.problem[0] == report.NOT_FOUND}
    if any(work["metadata"]["namespace"] in part.clusters for part in parts):
        return False
    return (work["metadata"].get("labels") or {}).get(PLACEMENT_NAME_LABEL) not in unknown


def _placements(replica_set: Json) -> list[str]:
    namespace = replica_set["metadata"]["namespace"]
    return [str(Key(namespace, ref["name"])) for ref in replica_set["spec"].get("placementRefs") or []]


def _placement_of(decision: Json) -> Key:
    metadata = decision["metadata"]
    return Key(metadata["namespace"], (metadata.get("labels") or {}).get(PLACEMENT_LABEL, ""))


def _owner_label(work: Json) -> list[str]:
    owner = (work["metadata"].get("labels") or {}).get(OWNER_LABEL)
    return [owner] if owner else []
