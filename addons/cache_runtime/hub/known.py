"""What the controller has seen of a Dataset's clusters, so that a change of one of them is work for one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.names import short_hash
from addons.cache_runtime.hub.feedback import feedback, own, refusal
from addons.cache_runtime.hub.names import name_there
from addons.cache_runtime.hub.status import cluster_status, without_agent

_DENIED = "denied the request"  # in an API server's words, by one of its webhooks


def digest(*parts: object) -> str:
    """Of what is sent."""
    return short_hash(json.dumps(parts, sort_keys=True))


class Sent(NamedTuple):
    """What a cluster has: a hash of that, and whether there are credentials in it."""

    digest: str
    credentials: bool


@dataclass(frozen=True)
class Said:
    """What a cluster's work says: the entry of status.clusters, and of each operation by kind and name.

    `own` says why none of it is the fleet's.
    """

    own: str
    entry: Json
    dataset: Json
    operations: dict[tuple[str, str], Json]
    leaving: Json | None  # the entry, where the work is being deleted


@dataclass
class Known:
    """Of one Dataset, by cluster. `touched` had an event since they were looked at; `lacking` have no agent.

    `operations` are the hub's, with what they are on clusters.
    """

    touched: set[str]
    sent: dict[str, Sent] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    operations: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    lacking: Set[str] = frozenset()
    again: float = 0.0  # when the status may be written next

    def look(self, works: Iterable[tuple[str, Json | None]]) -> None:
        """These works, or that there are none, as they are now."""
        for cluster, work in works:
            self.sent.pop(cluster, None)
            if work is None:
                self.said.pop(cluster, None)
            else:
                self.said[cluster] = self._said(cluster, work)

    def present(self) -> list[str]:
        """The clusters that have a work which is to stay."""
        return sorted(cluster for cluster, said in self.said.items() if said.leaving is None)

    def entries(self, clusters: Sequence[str]) -> list[Json]:
        """Of the clusters, of those that still have to let go, and of those that lack an agent."""
        found = [
            said.entry if (said := self.said.get(cluster)) is not None else cluster_status(cluster, None, [])
            for cluster in clusters
        ]
        staying = set(clusters)
        found += [s.leaving for c, s in self.said.items() if c not in staying and s.leaving is not None]
        found += [cluster_status(c, None, []) for c in self.lacking - {entry["name"] for entry in found}]
        found = [without_agent(each) if each["name"] in self.lacking else each for each in found]
        return sorted(found, key=lambda entry: str(entry["name"]))

    def of(self, clusters: Iterable[str]) -> list[Said]:
        """What those say of which there is a work."""
        return [self.said[cluster] for cluster in clusters if cluster in self.said]

    def taken(self) -> set[str]:
        """Clusters where nothing is the fleet's."""
        return {cluster for cluster, said in self.said.items() if said.own}

    def _said(self, cluster: str, work: Json) -> Said:
        loads = sorted(name for kind, name in self.operations if kind == "DataLoad")
        leaving = None
        if work["metadata"].get("deletionTimestamp"):
            leaving = cluster_status(cluster, work, loads, leaving=True)
        return Said(
            own(work),
            cluster_status(cluster, work, loads),
            feedback(work, "Dataset"),
            {
                op: _of_operation(cluster, work, kind, name_there(work, name))
                for op, (kind, name) in self.operations.items()
            },
            leaving,
        )


def _of_operation(cluster: str, work: Json, kind: str, name: str) -> Json:
    """What it says, or why it cannot: the cluster may have refused it, or its Dataset."""
    said = {"phase": "Failed"} if (taken := own(work)) else feedback(work, kind, name)
    if why := taken or refusal(work, kind, name):
        given_up = {"phase": "Failed"} if _DENIED in why and not said else {}  # it is tried again, though
        return {**given_up, **said, "message": f"cluster {cluster} does not take it: {why}"}
    return said
