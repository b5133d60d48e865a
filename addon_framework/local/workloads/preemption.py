"""Which pods have to go so that one of a higher priority finds room.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#preemption
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from addon_framework.api.meta import Json

Fits = Callable[[Json, list[Json]], bool]  # a node, and the pods that would be on it


class Sacrifice(NamedTuple):
    """A node, and the pods that leave it."""

    node: Json
    victims: list[Json]


def cheapest(
    pod: Json, nodes: Iterable[Json], pods_on: Callable[[Json], list[Json]], fits: Fits
) -> Sacrifice | None:
    """The node whose victims are of the lowest priority, and the fewest; None where none would help."""
    found = []
    for node in nodes:
        there = sorted(pods_on(node), key=priority, reverse=True)
        kept = [each for each in there if priority(each) >= priority(pod)]
        lower = [each for each in there if priority(each) < priority(pod)]
        if not lower or not fits(node, kept):
            continue
        victims = []
        for each in lower:  # those of the highest priority are spared first
            if fits(node, [*kept, each]):
                kept.append(each)
            else:
                victims.append(each)
        found.append(Sacrifice(node, victims))
    return min(found, key=lambda s: (max(map(priority, s.victims), default=0), len(s.victims)), default=None)


def may_preempt(pod: Json) -> bool:
    """Whether it wants to."""
    return bool(pod["spec"].get("preemptionPolicy", "PreemptLowerPriority") != "Never")


def priority(pod: Json) -> int:
    """As the API server has it from the pod's class."""
    return int(pod["spec"].get("priority") or 0)
