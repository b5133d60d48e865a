"""A Dataset's DataLoads and DataMigrates: what of them goes to which cluster, and their statuses. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from addon_framework.api.data import DataMigrate
from addon_framework.api.meta import Json, Resource
from addon_framework.api.time import parse_time
from addon_framework.kube import Key, key_of
from addons.cache_runtime.agent.names import DATALOADS
from addons.cache_runtime.agent.operations import runafter
from addons.cache_runtime.hub import migration
from addons.cache_runtime.hub.known import Known
from addons.cache_runtime.hub.migration import NeverError, Place
from addons.cache_runtime.hub.names import CLUSTER_ANNOTATION, cluster_of, source_of
from addons.cache_runtime.hub.status import operation_status, refused_status

MIGRATES = DataMigrate.RESOURCE
LOAD, MIGRATE = "DataLoad", "DataMigrate"
_ENDED = ("Complete", "Failed")
_LOOK = 5.0  # seconds until it is looked again whether anything is still to run after an operation
Name = tuple[str, str]  # kind and name


@dataclass(frozen=True)
class Operations:
    """Of the hub. `whole` is whether the Secrets of a DataMigrate are there."""

    key: Key
    loads: Sequence[Json]
    migrates: Sequence[Json]
    whole: Callable[[Json], bool]

    def names(self) -> dict[Name, Name]:
        """Each, and what it is on a cluster."""
        found = {_name(LOAD, load): _name(LOAD, load) for load in self.loads}
        for op in self.migrates:
            there = (LOAD, migration.load_name(op)) if source_of(op) else _name(MIGRATE, op)
            found[_name(MIGRATE, op)] = there
        return found

    def sent(self, place: Place) -> dict[str, tuple[list[Json], list[Json]]]:
        """By cluster: DataLoads beside those that all have, and DataMigrates."""
        found: dict[str, tuple[list[Json], list[Json]]] = {}
        for op in self.migrates:
            try:
                waits = self._waits(op, place)
            except NeverError:
                continue
            if waits or (source_of(op) and migration.is_over(op)):
                continue
            loads, migrates = found.setdefault(cluster_of(op), ([], []))
            if source := source_of(op):
                loads.append(migration.load(op, place.reached[source]))
            else:
                migrates.append(op)
        return found

    def statuses(self, known: Known, place: Place) -> Iterator[tuple[Resource, Json, Json]]:
        """The whole status of each."""
        for load in self.loads:
            reports = [said.operations[_name(LOAD, load)] for said in known.of(place.clusters)]
            yield DATALOADS, load, operation_status(LOAD, load, reports, len(place.clusters))
        for op in self.migrates:
            if not (source_of(op) and migration.is_over(op)):
                yield MIGRATES, op, self._status(op, known, place)

    def ended(
        self, others: Callable[[], Iterable[Json]], now: datetime
    ) -> Iterator[tuple[Resource, Json, float]]:
        """Those that are to be deleted some time after they ended, and how many seconds that is from now.

        None that one of `others`, all DataLoads and DataMigrates of the hub, is still to run after.
        """
        for resource, ops in ((DATALOADS, self.loads), (MIGRATES, self.migrates)):
            for op in ops:
                spec, status = op.get("spec") or {}, op.get("status") or {}
                seconds, said = spec.get("ttlSecondsAfterFinished"), status.get("conditions") or []
                once = (spec.get("policy") or "Once") == "Once" and status.get("phase") in _ENDED
                if seconds is None or not once or not said:
                    continue
                since = now - parse_time(said[0]["lastTransitionTime"])
                left = float(seconds) - since.total_seconds()
                if left <= 0 and _awaited(resource.kind, op, others()):
                    left = _LOOK
                yield resource, op, left

    def _status(self, op: Json, known: Known, place: Place) -> Json:
        try:
            why = self._waits(op, place)
        except NeverError as error:
            return refused_status(op, str(error))
        at = [] if why else [cluster_of(op)]
        reports = [said.operations[_name(MIGRATE, op)] for said in known.of(at)]
        notes = migration.notes(op) if source_of(op) else ""
        return operation_status(MIGRATE, op, reports, len(reports), why=why, notes=notes)

    def _waits(self, op: Json, place: Place) -> str:
        """What keeps a DataMigrate from being sent; "" for nothing. Raises NeverError."""
        if not (cluster := cluster_of(op)):
            return f"annotation {CLUSTER_ANNOTATION} must say which cluster runs it"
        for at in (cluster, source_of(op)):
            if at in place.taken:
                text = f"cluster {at} has a Dataset {self.key} of its own; rename or delete one of them"
                raise NeverError(text)
        if source_of(op):
            return migration.hindrance(op, self.key, place)
        if cluster not in place.clusters:
            return f"Dataset {self.key.name} is not on cluster {cluster}"
        return "" if self.whole(op) else "a Secret or a key that it names is missing"


def _awaited(kind: str, op: Json, others: Iterable[Json]) -> bool:
    """Whether one that has not begun is to run after it."""
    return any(
        runafter.predecessor(each) == (kind, key_of(op))
        and (each.get("status") or {}).get("phase") in (None, "", "Pending")
        for each in others
    )


def _name(kind: str, op: Json) -> Name:
    return kind, str(op["metadata"]["name"])


def cached(known: Known) -> Mapping[str, int]:
    """Bytes of the Dataset, of clusters that say so."""
    found = {cluster: said.dataset.get("cachedBytes") for cluster, said in known.said.items()}
    return {cluster: size for cluster, size in found.items() if isinstance(size, int)}
