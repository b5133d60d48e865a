"""Whose turn it is to get a changed configuration, by the rollout strategies of an add-on's placements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.hub.addons.configs import Kind, Reference
from addon_framework.hub.addons.lookup import install_placements
from addon_framework.hub.work.rollout import (
    ALL,
    Group,
    Plan,
    Progress,
    State,
    StrategyError,
    parse_strategy,
    plan,
)

WAITING = "WaitingForCanary"  # OCM's reason of Progressing
Change = tuple[tuple[Reference, str], ...]
"""A cluster's configuration objects, with the hashes of what they say."""


@dataclass(frozen=True)
class Part:
    """One placement of an install strategy: its clusters in groups, and what each should have and has."""

    placement: Json
    groups: Sequence[Group]
    wanted: Mapping[str, Change]
    addons: Mapping[str, Json]

    def step(self, now: datetime) -> Plan:
        """The next step of the rollout. Raises StrategyError."""
        progress = {
            cluster: _progress(self.addons[cluster])
            for cluster, change in self.wanted.items()
            if present_change(self.addons[cluster]) == change
        }
        there = [Group(g.name, g.index, g.clusters & self.wanted.keys()) for g in self.groups]
        return plan(parse_strategy(strategy_of(self.placement)), there, progress, now)


@dataclass
class Rollouts:
    """What each cluster may have now, by add-on. Made anew after a restart, from what the clusters have."""

    _granted: dict[str, dict[str, Change]] = field(default_factory=dict)

    def may_have(self, addon: str, cluster: str, change: Change) -> bool:
        """Whether it is this cluster's turn for exactly this change."""
        return self._granted.get(addon, {}).get(cluster) == change

    def decide(self, addon: str, parts: Iterable[Part], now: datetime) -> tuple[list[str], float | None]:
        """Whose turn has come, and in how many seconds to look again."""
        granted: dict[str, Change] = {}
        delays = []
        for part in parts:
            try:
                step = part.step(now)
            except StrategyError:
                continue  # nobody gets anything new; the status of the ClusterManagementAddOn says why
            granted |= {cluster: part.wanted[cluster] for cluster in step.wanted}
            if step.recheck is not None:
                delays.append(step.recheck.total_seconds() + 0.1)
        before = self._granted.get(addon, {})
        self._granted[addon] = granted
        fresh = [cluster for cluster, change in granted.items() if before.get(cluster) != change]
        return sorted(fresh), min(delays, default=None)

    def forget(self, addon: str) -> None:
        """The add-on is gone, or rolls out to all at once."""
        self._granted.pop(addon, None)


def strategy_of(placement: Json) -> Json:
    """As it is written; All when it is not."""
    strategy: Json = placement.get("rolloutStrategy") or {}
    return strategy


def is_progressive(cma: Json) -> bool:
    """Whether some clusters wait for others."""
    return any(strategy_of(p).get("type", ALL) != ALL for p in install_placements(cma))


def governing(placements: Sequence[Json]) -> Json | None:
    """Of the placements that chose a cluster the one whose strategy it follows: the last, as for configs."""
    if placements and strategy_of(placements[-1]).get("type", ALL) != ALL:
        return placements[-1]
    return None


def strategy_problem(placement: Json) -> str:
    """Why the strategy cannot be followed, "" when it can."""
    try:
        parse_strategy(strategy_of(placement))
    except StrategyError as error:
        return str(error)
    return ""


def change_of(wanted: Iterable[Reference], hashes: Mapping[Reference, str]) -> Change:
    """What a cluster should have."""
    return tuple(sorted((reference, hashes[reference]) for reference in wanted if reference in hashes))


def present_change(addon: Json) -> Change:
    """What a cluster has been given."""
    result = []
    for entry in (addon.get("status") or {}).get("configReferences") or []:
        desired = entry.get("desiredConfig") or {}
        kind = Kind(entry.get("group", ""), entry["resource"])
        where = Reference(kind, desired.get("namespace", ""), desired.get("name", ""))
        result.append((where, desired.get("specHash", "")))
    return tuple(sorted(result))


def _progress(addon: Json) -> Progress:
    condition = get_condition(addon, "Progressing")
    if condition is None:
        return Progress(State.TO_APPLY)
    states = {"Completed": State.SUCCEEDED, "Failed": State.FAILED}
    since = condition.get("lastTransitionTime")
    return Progress(states.get(condition["reason"], State.PROGRESSING), parse_time(since) if since else None)
