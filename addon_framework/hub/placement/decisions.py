"""The present decisions of all placements: read from the cache, ahead of it by our own writes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from addon_framework.api.meta import Json
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.hub.placement.groups import Slice
from addon_framework.kube import Key


class _Entry(NamedTuple):
    placement: Key
    clusters: tuple[str, ...]
    obj: Json


class DecisionView:
    """Decisions per placement and per cluster, kept incrementally.

    A scheduler that read a cache older than its own last write would forget what it chose, and Steady would
    let the decision wander. So writes are put in here at once, and older events do not undo them.
    """

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._by_placement: dict[Key, set[Key]] = defaultdict(set)
        self._counts: Counter[str] = Counter()
        self._changes: Counter[Key] = Counter()
        self._all_changes = 0

    def on_event(self, old: Json | None, new: Json | None) -> None:
        """Take an informer's event."""
        if new is not None:
            self.put(new)
        elif old is not None:
            self.drop(Key(old["metadata"]["namespace"], old["metadata"]["name"]))

    def put(self, decision: Json) -> None:
        """Take an object as the server returned it, unless a newer one is here."""
        metadata = decision["metadata"]
        key, version = Key(metadata["namespace"], metadata["name"]), metadata["resourceVersion"]
        present = self._entries.get(key)
        if present is not None and _older(version, present.obj["metadata"]["resourceVersion"]):
            return
        placement = Key(key.namespace, (metadata.get("labels") or {}).get(PLACEMENT_LABEL, ""))
        entry = _Entry(placement, clusters_of(decision), decision)
        if present is not None and present[:2] == entry[:2]:
            self._entries[key] = entry
            return
        self.drop(key)
        self._entries[key] = entry
        self._by_placement[placement].add(key)
        self._counts.update(entry.clusters)
        self._changed(placement)

    def clusters(self, placement: Key) -> frozenset[str]:
        """The clusters a placement has chosen."""
        keys = self._by_placement.get(placement, set())
        return frozenset(cluster for key in keys for cluster in self._entries[key].clusters)

    def objects(self, placement: Key) -> dict[str, Json]:
        """The PlacementDecisions of a placement by name, as the server last returned them."""
        return {key.name: self._entries[key].obj for key in self._by_placement.get(placement, set())}

    def elsewhere(self, placement: Key) -> dict[str, int]:
        """How many decisions of other placements name each cluster."""
        counts = dict(self._counts)
        for key in self._by_placement.get(placement, set()):
            for cluster in self._entries[key].clusters:
                counts[cluster] -= 1
        return {cluster: count for cluster, count in counts.items() if count > 0}

    def revision_elsewhere(self, placement: Key) -> int:
        """A number that grows whenever a decision of another placement changes."""
        return self._all_changes - self._changes[placement]

    def _changed(self, placement: Key) -> None:
        self._changes[placement] += 1
        self._all_changes += 1

    def drop(self, key: Key) -> None:
        """Forget an object that is gone."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._by_placement[entry.placement].discard(key)
        if not self._by_placement[entry.placement]:
            del self._by_placement[entry.placement]
        self._changed(entry.placement)
        self._counts.subtract(entry.clusters)
        for cluster in entry.clusters:
            if not self._counts[cluster]:
                del self._counts[cluster]


def clusters_of(decision: Json) -> tuple[str, ...]:
    """The cluster names of one PlacementDecision."""
    decisions = (decision.get("status") or {}).get("decisions") or []
    return tuple(entry["clusterName"] for entry in decisions)


def write_order(slices: Sequence[Slice], present: dict[str, tuple[str, ...]]) -> list[Slice]:
    """Order the writes so that a cluster that moves between PlacementDecisions is added before it is removed.

    Whoever unions the decisions then never sees it missing in between. Where clusters change places, so that
    none of the decisions can be the first, the order has one more, not among `slices`, that holds them
    meanwhile; it is to be deleted in the end like any other that is not wanted.
    """
    wanted = {part.name: set(part.clusters) for part in slices}
    selected = set().union(*wanted.values()) if wanted else set()
    state = {name: set(clusters) for name, clusters in present.items()}
    held = Counter(cluster for clusters in state.values() for cluster in clusters)

    def gives_up(part: Slice) -> set[str]:
        """Clusters that stay chosen, and that nobody else holds."""
        going = state.get(part.name, set()) - wanted[part.name]
        return {cluster for cluster in going if cluster in selected and held[cluster] == 1}

    def hold(name: str, clusters: set[str]) -> None:
        held.subtract(state.get(name, ()))
        held.update(clusters)
        state[name] = clusters

    left, ordered = list(slices), []
    while left:
        part = next((p for p in left if not gives_up(p)), left[0])
        if waiting := gives_up(part):
            names = wanted.keys() | state.keys()
            bridge = Slice(_next_name(names), part.group_index, part.group_name, tuple(sorted(waiting)))
            ordered.append(bridge)
            hold(bridge.name, waiting)
        left.remove(part)
        ordered.append(part)
        hold(part.name, wanted[part.name])
    return ordered


def _next_name(names: Iterable[str]) -> str:
    """The name of one more decision after these, as OCM numbers them."""
    numbered = [name.rpartition("-") for name in names]
    last = max(int(number) for _, _, number in numbered if number.isdigit())
    prefix, dash, _ = numbered[0]
    return f"{prefix}{dash}{last + 1}"


def _older(version: str, than: str) -> bool:
    if version.isdigit() and than.isdigit():
        return int(version) < int(than)
    return False
