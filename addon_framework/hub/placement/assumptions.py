"""What decisions have taken of a cluster's capacity, until its next score says so itself.

A score follows the pods: between a decision and the first pod that shows, seconds to minutes pass, and every
other placement that reads the same score would choose the same best cluster. So what is decided is assumed,
as the scheduler of a cluster assumes a pod where it will bind it: for others the score is some points less,
from the decision on, until the score is next written.

Which scores tell of capacity their names say: those of OCM's scorer and of ours end in "Available". A price
does not fall when it is chosen. What a decision takes nobody knows; one GPU of the upstream scorer's range of
twenty is ten points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from addon_framework.api.meta import Json
from addon_framework.hub.placement.prioritizers import Coordinate, coordinates_of
from addon_framework.kube import Key

POINTS = 10
LASTS = timedelta(minutes=5)  # a scorer that says nothing for so long will not say it any more
_CAPACITY = "Available"

Place = tuple[str, str, str]  # cluster, resource name, score name


def capacity_read(placement: Json) -> frozenset[Coordinate]:
    """The scores of capacity that a placement ranks by, if it has to choose at all."""
    spec = placement.get("spec") or {}
    if spec.get("numberOfClusters") is None:
        return frozenset()
    return frozenset(c for c in coordinates_of(spec) if c.score_name.endswith(_CAPACITY))


class Assumptions:
    """The decisions of a hub that its scores do not show yet. All of it can be lost at any time."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], dict[tuple[Key, str], datetime]] = {}

    def decide(
        self,
        placement: Key,
        reads: Iterable[Coordinate],
        before: frozenset[str],
        after: frozenset[str],
        now: datetime,
    ) -> None:
        """A placement has decided: what is new is assumed, what it left is free again."""
        for coordinate in reads:
            taker = placement, coordinate.score_name
            for cluster in after - before:
                self._taken.setdefault((cluster, coordinate.resource_name), {})[taker] = now
        self._drop(placement, keep=after)

    def confirm(self, cluster: str, resource: str) -> None:
        """A score was written: from now on it says itself what is free."""
        self._taken.pop((cluster, resource), None)

    def forget(self, placement: Key) -> None:
        """The placement is gone."""
        self._drop(placement, keep=frozenset())

    def seen_by(
        self, placement: Key, reads: Iterable[Coordinate], current: frozenset[str], now: datetime
    ) -> Mapping[Place, int]:
        """How many points less each score is for a placement.

        Never for what it took itself, nor where it is already: its own part is in use there, and a decision
        of somebody else must not make it move.
        """
        found: dict[Place, int] = {}
        names = {(c.resource_name, c.score_name) for c in reads} if self._taken else ()
        for (cluster, resource), takers in self._taken.items() if names else ():
            if cluster in current:
                continue
            for (taker, name), since in takers.items():
                if taker != placement and (resource, name) in names and now - since < LASTS:
                    place = cluster, resource, name
                    found[place] = found.get(place, 0) + POINTS
        return found

    def _drop(self, placement: Key, keep: frozenset[str]) -> None:
        for place, takers in list(self._taken.items()):
            if place[0] not in keep:
                for taker in [taker for taker in takers if taker[0] == placement]:
                    del takers[taker]
                if not takers:
                    del self._taken[place]
