"""A schedule in words and as the status of a PlacementExplanation. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from addon_framework.api.meta import Json
from addon_framework.hub.placement.model import FilterResult, Schedule

MAX_TEXT = 2000
MAX_RANKED = 10_000  # rows of a PlacementExplanation; an object must stay below the 1.5 MB that etcd takes
_NAMED = 3  # clusters that a sentence names


def summary(result: Schedule) -> str:
    """The decision in one line: who was kept out by what, and what ranked the others.

    It says nothing of the scores, so that it changes only when the decision or a rejection does.
    """
    if result.misconfigured is not None:
        return f"nothing is chosen: {result.misconfigured}"[:MAX_TEXT]
    rejected = sum(len(step.rejected) for step in result.filters)
    parts = [f"{len(result.selected)} chosen of {result.feasible} feasible and {rejected} rejected clusters"]
    for step in result.filters:
        if step.rejected:
            reasons = [f"{reason}: {_some(names)}" for reason, names in _by_reason(step)]
            parts.append(f"{step.name} rejected {len(step.rejected)} ({', '.join(reasons)})")
    if result.unspread:
        parts.append(f"spread constraints left out {len(result.unspread)}")
    if result.prioritizers:
        parts.append("ranked by " + ", ".join(f"{p.name} x{p.weight}" for p in result.prioritizers))
    return "; ".join(parts)[:MAX_TEXT]


def moved(result: Schedule, added: Sequence[str], removed: Sequence[str]) -> str:
    """Why clusters came into a decision, and why others left it."""
    said = []
    for word, names in (("in", added), ("out", removed)):
        if names:
            reasons = [f"{name} ({result.why(name)})" for name in names[:_NAMED]]
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            said.append(f"{word}: {', '.join(reasons)}{more}")
    return "; ".join(said)


def explanation_status(result: Schedule, cluster_sets: Sequence[str], generation: int, decided: str) -> Json:
    """The whole way to a decision."""
    return {
        "decided": decided,
        "generation": generation,
        "summary": summary(result),
        "clusterSets": list(cluster_sets),
        "filters": [
            {
                "name": step.name,
                "passed": len(step.kept),
                "rejected": [{"reason": why, "clusters": names} for why, names in _by_reason(step)],
            }
            for step in result.filters
        ],
        "prioritizers": [{"name": p.name, "weight": p.weight} for p in result.prioritizers],
        "ranking": _ranking(result),
        "warnings": list(result.warnings),
    }


def essence(status: Json) -> tuple[object, ...]:
    """What of an explanation is worth a write: all but the time, and the scores while they decide nothing."""
    chosen = {row["cluster"] for row in status.get("ranking") or [] if row.get("chosen")}
    fields = ("summary", "clusterSets", "filters", "prioritizers", "warnings")
    return chosen, *(status.get(field) or [] for field in fields)


def _ranking(result: Schedule) -> list[Json]:
    """A row for each cluster that passed the filters, the best first; what is usual is left out."""
    chosen = set(result.selected)
    columns = [prioritizer.scores for prioritizer in result.prioritizers]
    rows: list[Json] = []
    for name in result.ranked()[:MAX_RANKED]:
        row: Json = {"cluster": name, "total": result.totals[name], "scores": [c[name] for c in columns]}
        if name in chosen:
            row["chosen"] = True
        if note := result.note(name, name in chosen):
            row["note"] = note
        rows.append(row)
    return rows


def _by_reason(step: FilterResult) -> list[tuple[str, list[str]]]:
    """The reasons of a filter with their clusters; the one that kept most out comes first."""
    found: dict[str, list[str]] = {}
    for name, reason in sorted(step.rejected.items()):
        found.setdefault(reason, []).append(name)
    return sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return " ".join(listed[:_NAMED]) + more
