"""What the scheduler takes and what it gives; the result doubles as the explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from addon_framework.api.meta import Json


def less(points: int) -> str:
    """What is assumed of a score, in words."""
    return f"{points} points less for decisions that its score does not show yet"


class Misconfigured(ValueError):
    """The placement's spec cannot be evaluated. `plugin` is the part that found out."""

    def __init__(self, plugin: str, message: str) -> None:
        super().__init__(message)
        self.plugin = plugin


@dataclass(frozen=True)
class Fleet:
    """Everything about the hub that a decision may depend on, at one moment."""

    clusters: Sequence[Json]  # members of the placement's eligible sets, none of them being deleted
    current: frozenset[str] = frozenset()  # clusters in the placement's present decisions
    elsewhere: Mapping[str, int] = field(default_factory=dict)  # decisions of other placements, per cluster
    scores: Mapping[tuple[str, str], Json] = field(default_factory=dict)  # (cluster, resource name) -> score
    plugin_scores: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by AddOn resource name
    assumed: Mapping[tuple[str, str, str], int] = field(default_factory=dict)  # points that scores are less
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    strict: bool = False  # decide exactly as OCM's controller: nothing that its API names and its code lacks


@dataclass
class FilterResult:
    """One filter: who is left, and why the others are not."""

    name: str
    kept: list[str] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)


@dataclass
class PrioritizerResult:
    """One prioritizer: its weight and each cluster's score, from -100 to 100."""

    name: str
    weight: int
    scores: dict[str, int] = field(default_factory=dict)


@dataclass
class Group:
    """A decision group: clusters that roll out together."""

    name: str
    clusters: list[str]


@dataclass
class Schedule:
    """The decision and the whole way to it."""

    selected: list[str] = field(default_factory=list)  # best first
    groups: list[Group] = field(default_factory=list)
    filters: list[FilterResult] = field(default_factory=list)
    prioritizers: list[PrioritizerResult] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    avoided: dict[str, str] = field(default_factory=dict)  # last in the order, whatever they score; why
    unspread: dict[str, str] = field(default_factory=dict)  # would break a spread constraint; which
    assumed: dict[str, int] = field(default_factory=dict)  # points less for what others have just decided
    feasible: int = 0
    unscheduled: int = 0
    requeue_after: float | None = None  # seconds until time alone may change the decision
    warnings: list[str] = field(default_factory=list)
    tells: bool = True  # whether messages say more than OCM's
    by_score: bool = False  # decisions are in order of scores, and carry them
    misconfigured: Misconfigured | None = None

    def explain(self) -> list[Json]:
        """One row per cluster: the filter that rejected it, or its scores, total and rank."""
        rank = {name: index + 1 for index, name in enumerate(self.selected)}
        rows: dict[str, Json] = {}
        for step in self.filters:
            for name, reason in step.rejected.items():
                rows[name] = {"cluster": name, "selected": False, "filter": step.name, "reason": reason}
        for name in self.ranked():
            rows[name] = {
                "cluster": name,
                "selected": name in rank,
                "rank": rank.get(name),
                "total": self.totals[name],
                "scores": {p.name: {"weight": p.weight, "score": p.scores[name]} for p in self.prioritizers},
                "reason": "" if name in rank else self._why_not(name),
                "assumed": self.assumed.get(name, 0),
            }
        return list(rows.values())

    def snapshot(self) -> Schedule:
        """As it is now, whatever scores it takes in later."""
        scored = [replace(p, scores=dict(p.scores)) for p in self.prioritizers]
        return replace(
            self,
            selected=list(self.selected),
            prioritizers=scored,
            totals=dict(self.totals),
            unspread=dict(self.unspread),
        )

    def ranked(self) -> list[str]:
        """The feasible clusters, best first."""
        return sorted(self.totals, key=lambda name: (name in self.avoided, -self.totals[name], name))

    def note(self, name: str, chosen: bool) -> str:
        """What is special about a feasible cluster: more than that others score higher."""
        why = "" if chosen else self.unspread.get(name) or self.avoided.get(name) or ""
        assumed = less(points) if (points := self.assumed.get(name)) else ""
        return "; ".join(part for part in (why, assumed) if part)

    def why(self, name: str) -> str:
        """Why one cluster is chosen, or is not, in a few words."""
        for step in self.filters:
            if name in step.rejected:
                return f"{step.name}: {step.rejected[name]}"
        if self.misconfigured is not None:
            return str(self.misconfigured)
        if name not in self.totals:
            return "in none of the placement's cluster sets"
        scored = self.scored(name)
        return scored if name in self.selected else f"{self._why_not(name)}, {scored}"

    def scored(self, name: str) -> str:
        """How a feasible cluster scored."""
        scores = ", ".join(f"{p.name} {p.scores[name]} x{p.weight}" for p in self.prioritizers)
        return f"total {self.totals[name]}" + (f": {scores}" if scores else "")

    def _why_not(self, name: str) -> str:
        why = self.unspread.get(name) or self.avoided.get(name) or "other clusters score higher"
        return f"{why} ({less(points)})" if (points := self.assumed.get(name)) else why
