"""Spread constraints: which of the ranked clusters to take so that they lie evenly over topologies. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from addon_framework.api.meta import Json
from addon_framework.hub.selectors import claims_of, labels_of


@dataclass
class _Constraint:
    """One of spec.spreadPolicy.spreadConstraints, and how many clusters are taken of each topology."""

    where: str
    key: str
    by_claim: bool
    max_skew: int
    required: bool
    taken: Counter[str] = field(default_factory=Counter)

    def topology(self, cluster: Json) -> str | None:
        """The cluster's topology; None when it has none."""
        return (claims_of(cluster) if self.by_claim else labels_of(cluster)).get(self.key)

    def broken_by(self, topology: str | None) -> bool:
        """Whether one more of this topology is too many. A cluster without one cannot be spread."""
        if topology is None:
            return True
        return self.taken[topology] + 1 - min(self.taken.values()) > self.max_skew

    def __str__(self) -> str:
        return f"{self.where}: no more clusters of this {self.key} while others have fewer"


def constraints_of(spec: Json) -> list[Json]:
    """The placement's spread constraints, the most important first."""
    return (spec.get("spreadPolicy") or {}).get("spreadConstraints") or []


def spread(
    spec: Json, ranked: Sequence[str], clusters: Mapping[str, Json], wanted: int | None
) -> tuple[list[str], dict[str, str]]:
    """Take up to `wanted` clusters, best first; also why others may not be taken.

    Each time the best cluster is taken of those that break no DoNotSchedule constraint and the fewest
    ScheduleAnyway ones, where an earlier constraint counts more than all later ones together.
    """
    constraints = [_constraint(raw, index) for index, raw in enumerate(constraints_of(spec))]
    queues: dict[tuple[str | None, ...], deque[tuple[int, str]]] = {}
    for rank, name in enumerate(ranked):
        topologies = tuple(constraint.topology(clusters[name]) for constraint in constraints)
        queues.setdefault(topologies, deque()).append((rank, name))
        for constraint, topology in zip(constraints, topologies, strict=True):
            if topology is not None:
                constraint.taken[topology] += 0  # every topology counts for the minimum, even with none taken
    selected: list[str] = []
    blocked: dict[str, str] = {}
    while queues and (wanted is None or len(selected) < wanted):
        blocked = {}
        best: tuple[tuple[bool, ...], int, tuple[str | None, ...]] | None = None
        for topologies, queue in queues.items():
            pairs = list(zip(constraints, topologies, strict=True))
            hard = next((c for c, t in pairs if c.required and c.broken_by(t)), None)
            if hard is not None:
                blocked |= dict.fromkeys((name for _, name in queue), str(hard))
                continue
            soft = tuple(c.broken_by(t) for c, t in pairs if not c.required)
            best = min(best or (soft, queue[0][0], topologies), (soft, queue[0][0], topologies), key=_order)
        if best is None:
            break
        topologies = best[2]
        selected.append(queues[topologies].popleft()[1])
        if not queues[topologies]:
            del queues[topologies]
        for constraint, topology in zip(constraints, topologies, strict=True):
            if topology is not None:
                constraint.taken[topology] += 1
    return selected, blocked


def _order(choice: tuple[tuple[bool, ...], int, object]) -> tuple[tuple[bool, ...], int]:
    return choice[0], choice[1]


def _constraint(raw: Json, index: int) -> _Constraint:
    return _Constraint(
        where=f"spec.spreadPolicy.spreadConstraints[{index}]",
        key=raw.get("topologyKey", ""),
        by_claim=raw.get("topologyKeyType") == "Claim",
        max_skew=raw.get("maxSkew") or 1,
        required=raw.get("whenUnsatisfiable") == "DoNotSchedule",
    )
