"""Which clusters get a change now: All, Progressive, ProgressivePerGroup. Pure; for works and add-ons.

The strategy is that of ClusterManagementAddOn and ManifestWorkReplicaSet:
https://open-cluster-management.io/docs/concepts/work-distribution/manifestworkreplicaset/
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

from addon_framework.api.meta import Json

ALL, PROGRESSIVE, PER_GROUP = "All", "Progressive", "ProgressivePerGroup"
_MEMBERS = {ALL: "all", PROGRESSIVE: "progressive", PER_GROUP: "progressivePerGroup"}
_UNITS = {"h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds"}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")


class StrategyError(ValueError):
    """A rollout strategy that cannot be followed; the message names the field."""


class State(Enum):
    """How a cluster fares with the change it was given."""

    TO_APPLY = "ToApply"  # it has been sent, and nothing has come back yet
    PROGRESSING = "Progressing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TIMED_OUT = "TimeOut"


class Progress(NamedTuple):
    """A cluster's state, and since when it is in it."""

    state: State
    since: datetime | None = None


@dataclass(frozen=True)
class Group:
    """A decision group of a placement; one name may stand for several, told apart by index."""

    name: str
    index: int
    clusters: frozenset[str]


@dataclass(frozen=True)
class Strategy:
    """A rollout strategy, read. `deadline` None is for ever; `concurrency` None is everybody."""

    type: str = ALL
    min_success: timedelta = timedelta()
    deadline: timedelta | None = None
    max_failures: int | str = 0
    concurrency: int | str | None = None
    mandatory: tuple[Json, ...] = ()


@dataclass
class Plan:
    """What to do now. `wanted` are to have the change; of them, `fresh` have not been given it so far."""

    wanted: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    timed_out: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    breached: bool = False
    recheck: timedelta | None = None


def parse_strategy(raw: Mapping[str, Any]) -> Strategy:
    """As it is on the wire; missing parts have OCM's defaults. Raises StrategyError."""
    kind = raw.get("type") or ALL
    member = _MEMBERS.get(kind)
    if member is None:
        raise StrategyError(f"rolloutStrategy.type {kind!r} is none of {', '.join(_MEMBERS)}")
    options = raw.get(member) or {}
    concurrency = options.get("maxConcurrency")
    if concurrency is not None:
        size(concurrency, 1, 1, f"{member}.maxConcurrency")
    failures = options.get("maxFailures")
    size(failures or 0, 1, 0, f"{member}.maxFailures")
    groups = tuple(options.get("mandatoryDecisionGroups") or ())
    return Strategy(
        kind,
        duration(options.get("minSuccessTime") or 0, f"{member}.minSuccessTime"),
        _deadline(options.get("progressDeadline"), f"{member}.progressDeadline"),
        0 if kind == ALL else failures or 0,
        concurrency if kind == PROGRESSIVE else None,
        () if kind == ALL else groups,
    )


def plan(
    strategy: Strategy, groups: Sequence[Group], progress: Mapping[str, Progress], now: datetime
) -> Plan:
    """The next step. `progress` has those that were given the very change; others have not been, or not yet.

    Nothing is taken back: who was given the change once keeps it, whatever the strategy says now.
    """
    chosen = frozenset[str]().union(*(group.clusters for group in groups))
    step = _Step(strategy, {c: p for c, p in progress.items() if c in chosen}, now)
    step.plan.removed = sorted(progress.keys() - chosen)
    ordered = sorted(groups, key=lambda group: group.index)
    if strategy.type == ALL:
        step.all_at_once(chosen)
    else:
        mandatory = [g for name in strategy.mandatory for g in ordered if _is_named(g, name)]
        rest = [group for group in ordered if group not in mandatory]
        if step.by_group(mandatory, 0):
            if strategy.type == PER_GROUP:
                step.by_group(rest, strategy.max_failures)
            else:
                step.by_cluster(frozenset[str]().union(*(group.clusters for group in rest)), len(chosen))
    return step.plan


class _Step:
    """One run of the algorithm: judges who was given the change, and picks who is next."""

    def __init__(self, strategy: Strategy, progress: Mapping[str, Progress], now: datetime) -> None:
        self._strategy, self._now = strategy, now
        self.plan = Plan(wanted=sorted(progress))
        self._given: dict[str, State] = {}
        self._busy: set[str] = set()
        for cluster in sorted(progress):
            self._judge(cluster, progress[cluster])

    def all_at_once(self, chosen: Iterable[str]) -> None:
        self._give(chosen)

    def by_group(self, groups: Iterable[Group], max_failures: int | str) -> bool:
        """One group after the other; whether all of them are through."""
        for group in groups:
            self._give(group.clusters)
            failures = self._failures(group.clusters)
            if failures > size(max_failures, len(group.clusters), 0):
                self.plan.breached = True
                return False
            if any(c in self._busy and self._given[c] is not State.FAILED for c in group.clusters):
                return False
        return True

    def by_cluster(self, clusters: frozenset[str], total: int) -> None:
        """A window over all of them in the order of their names."""
        limit = self._strategy.concurrency
        window = len(clusters) if limit is None else size(limit, len(clusters), len(clusters))
        if self._failures(clusters) > size(self._strategy.max_failures, total, 0):
            self.plan.breached = True
            return
        free = max(0, window - len(self._busy & clusters))
        self._give([c for c in sorted(clusters) if c not in self._given][:free])

    def _give(self, clusters: Iterable[str]) -> None:
        fresh = sorted(c for c in clusters if c not in self._given)
        self.plan.fresh += fresh
        self.plan.wanted = sorted([*self.plan.wanted, *fresh])
        for cluster in fresh:
            self._given[cluster] = State.TO_APPLY
            self._busy.add(cluster)

    def _judge(self, cluster: str, progress: Progress) -> None:
        """A cluster keeps its place in the window until it has soaked, or its time is over."""
        state, since = progress.state, progress.since or self._now
        patience: timedelta | None = None
        if state is State.SUCCEEDED:
            patience = self._strategy.min_success
        elif state in (State.PROGRESSING, State.FAILED):
            patience = self._strategy.deadline
        left = None if patience is None else since + patience - self._now
        over = state is State.TIMED_OUT or (left is not None and left <= timedelta())
        if over and state is not State.SUCCEEDED:
            state = State.TIMED_OUT
            self.plan.timed_out.append(cluster)
        self._given[cluster] = state
        if not over:
            self._busy.add(cluster)
            if left is not None:
                self.plan.recheck = left if self.plan.recheck is None else min(self.plan.recheck, left)

    def _failures(self, clusters: Iterable[str]) -> int:
        failed = (State.FAILED, State.TIMED_OUT)
        return sum(self._given.get(cluster) in failed for cluster in clusters)


def size(limit: int | str, total: int, default: int, where: str = "limit") -> int:
    """A number or a percentage (rounded up) of `total`; the default where it is not from 1 to `total`.

    That a limit above the total means the default is OCM's rule. Raises StrategyError.
    """
    if isinstance(limit, bool) or not isinstance(limit, int | str):
        raise StrategyError(f"{where} {limit!r} is neither a number nor a percentage")
    if isinstance(limit, str):
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?%", limit):
            raise StrategyError(f"{where} {limit!r} is neither a number nor a percentage such as 25%")
        limit = math.ceil(float(limit[:-1]) * total / 100)
    return limit if 0 < limit <= total else default


def duration(value: object, where: str) -> timedelta:
    """Go's spelling, such as 1h30m; a bare number is nanoseconds. Raises StrategyError."""
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return timedelta(microseconds=value / 1000)
        text = str(value)
        if text == "0":
            return timedelta()
        if _DURATION.fullmatch(text):
            return sum(
                (timedelta(**{_UNITS[unit]: float(number)}) for number, unit in _PART.findall(text)),
                start=timedelta(),
            )
    except OverflowError:
        pass
    raise StrategyError(f"{where} {value!r} is no duration such as 30s, 5m or 1h")


def _deadline(value: object, where: str) -> timedelta | None:
    return None if value in (None, "", "None") else duration(value, where)


def _is_named(group: Group, reference: Json) -> bool:
    """By name, which may be that of several; else by index."""
    if name := reference.get("groupName"):
        return bool(group.name == name)
    return bool(group.index == (reference.get("groupIndex") or 0))
