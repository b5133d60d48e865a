"""Decision groups, and how they are cut into PlacementDecisions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from addon_framework.api.meta import Json
from addon_framework.hub.placement.model import Group, Misconfigured
from addon_framework.hub.selectors import SelectorError, claims_of, labels_of, matches

MAX_DECISIONS = 100  # per PlacementDecision


class BadGroups(Misconfigured):
    """A decision group that cannot be evaluated; `groups` are those before it."""

    def __init__(self, message: str, groups: list[Group]) -> None:
        super().__init__("", message)
        self.groups = groups


@dataclass(frozen=True)
class Slice:
    """What one PlacementDecision holds."""

    name: str
    group_index: int
    group_name: str
    clusters: tuple[str, ...]


def group(
    spec: Json, selected: Sequence[str], clusters: Mapping[str, Json], *, by_score: bool = False
) -> list[Group]:
    """Divide the selected clusters into groups; always at least one, maybe empty.

    Within a group they are in order of their names, or as they were selected. Raises BadGroups.
    """
    order = list(selected) if by_score else sorted(selected)
    strategy = (spec.get("decisionStrategy") or {}).get("groupStrategy") or {}
    size = _group_size(strategy.get("clustersPerDecisionGroup"), len(selected))
    left = set(selected)
    groups: list[Group] = []
    for index, wanted in enumerate(strategy.get("decisionGroups") or []):
        where = f"spec.decisionStrategy.groupStrategy.decisionGroups[{index}].groupClusterSelector"
        selector = wanted.get("groupClusterSelector") or {}
        try:
            _selects(selector, {"metadata": {}}, where)  # raises for what can never be evaluated
            matched = [name for name in order if name in left and _selects(selector, clusters[name], where)]
        except SelectorError as error:
            raise BadGroups(str(error), groups) from error
        left.difference_update(matched)
        groups += _chunks(wanted.get("groupName", ""), matched, size)
    groups += _chunks("", [name for name in order if name in left], size)
    return groups or [Group("", [])]


def slices(placement: str, groups: Sequence[Group]) -> list[Slice]:
    """Cut groups into PlacementDecisions of at most 100 clusters, numbered from 1 over all groups."""
    result: list[Slice] = []
    for index, part in enumerate(groups):
        for start in range(0, max(len(part.clusters), 1), MAX_DECISIONS):
            name = f"{placement}-decision-{len(result) + 1}"
            chunk = tuple(part.clusters[start : start + MAX_DECISIONS])
            result.append(Slice(name, index, part.name, chunk))
    return result


def _selects(selector: Json, cluster: Json, where: str) -> bool:
    by_labels = matches(selector.get("labelSelector"), labels_of(cluster), f"{where}.labelSelector")
    by_claims = matches(selector.get("claimSelector"), claims_of(cluster), f"{where}.claimSelector")
    return by_labels and by_claims


def _group_size(setting: int | str | None, total: int) -> int:
    if setting is None:
        return total
    if isinstance(setting, str):
        try:
            if not setting.endswith("%"):
                raise ValueError
            size = math.ceil(float(setting[:-1]) / 100 * total)
        except ValueError:
            where = "spec.decisionStrategy.groupStrategy.clustersPerDecisionGroup"
            raise BadGroups(f'{where}: "{setting}" is neither a number nor a percentage', []) from None
    else:
        size = setting
    return total if size <= 0 or size > total else size


def _chunks(name: str, clusters: list[str], size: int) -> list[Group]:
    step = max(size, 1)
    return [Group(name, clusters[start : start + step]) for start in range(0, len(clusters), step)]
