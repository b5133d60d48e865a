"""The agent on a spoke: watches nodes and pods, publishes an AddOnPlacementScore on the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import AddOnPlacementScore
from addon_framework.api.core import NODES, PODS
from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.kube import AlreadyExists, Client, Controller, Key, Watch, covers, key_of, patch_status
from addons.resource_scorer.ledger import Ledger
from addons.resource_scorer.scores import Settings
from addons.resource_scorer.views import Node, Pod

log = structlog.get_logger(__name__)
SCORES = AddOnPlacementScore.RESOURCE
SCORE_NAME = "resource-usage-score"
HOLDING = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"  # pods that hold resources


class ScoreController(Controller):
    """Nodes and pods of the spoke -> one AddOnPlacementScore on the hub. Its own client is the hub's."""

    name = "resource-scorer"

    def __init__(
        self,
        spoke: Client,
        cluster: str,
        settings: Settings,
        *,
        addon_name: str = "resource-scorer",
        owner_uid: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.spoke, self.cluster, self.settings = spoke, cluster, settings
        self._metadata: Json = {
            "name": SCORE_NAME,
            "namespace": cluster,
            "labels": {ADDON_NAME_LABEL: addon_name},
        }
        if owner_uid:  # so that the scores go when the add-on does
            owner = ManagedClusterAddOn.RESOURCE
            reference = {"apiVersion": owner.api_version, "kind": owner.kind}
            self._metadata["ownerReferences"] = [{**reference, "name": addon_name, "uid": owner_uid}]
        self._clock = clock
        self._key = Key(cluster, SCORE_NAME)
        self._ledger = Ledger({name: family.resources for name, family in settings.families.items()})

    def watches(self) -> list[Watch]:
        """Nodes and pods make no keys by themselves: the ledger says which events matter."""
        return [
            Watch(SCORES, **self._own),
            Watch(NODES, client=self.spoke, model=Node, map=_no_keys),
            Watch(PODS, client=self.spoke, model=Pod, field_selector=HOLDING, map=_no_keys),
        ]

    async def start(self) -> None:
        """Takes in what is there and from then on what changes."""
        nodes = self.cache(NODES, client=self.spoke, model=Node)
        nodes.on_event(lambda old, new: self._take(self._ledger.set_node, key_of(old or new).name, new))
        pods = self.cache(PODS, client=self.spoke, model=Pod, field_selector=HOLDING)
        pods.on_event(lambda old, new: self._take(self._ledger.set_pod, key_of(old or new), new))
        self.queue.add(self._key)

    async def reconcile(self, key: Key) -> float | None:
        """Publishes when a score changed or its validity is half over; otherwise waits until it is."""
        live = self.cache(SCORES, **self._own).get(key)
        if live is None:
            await self._create()
            return None  # the watch tells when it is there
        await self._claim(live)
        status = live.get("status") or {}
        scores = self.settings.scores(self._ledger.free())
        published = {entry["name"]: entry["value"] for entry in status.get("scores") or []}
        half = self.settings.valid_seconds / 2
        left = self._seconds_left(status.get("validUntil"))
        if published == scores and half < left <= 2 * half + 1:
            return left - half
        until = now_rfc3339(self._clock() + timedelta(seconds=self.settings.valid_seconds))
        listed = [{"name": name, "value": value} for name, value in scores.items()]
        await patch_status(self.client, SCORES, live, {**status, "scores": listed, "validUntil": until})
        if published != scores:
            log.info("scores published", cluster=self.cluster, **scores)
        return half

    @property
    def _own(self) -> dict[str, Any]:
        return {"namespace": self.cluster, "field_selector": f"metadata.name={SCORE_NAME}"}

    def _take(self, into: Callable[[Any, Any], bool], name: Any, obj: Any) -> None:
        if into(name, obj):
            self.queue.add(self._key)

    async def _create(self) -> None:
        """Without status: a create drops that."""
        obj = {"apiVersion": SCORES.api_version, "kind": SCORES.kind, "metadata": self._metadata}
        try:
            await self.client.create(SCORES, obj)
        except AlreadyExists:
            pass

    async def _claim(self, live: Json) -> None:
        """Ours also when it is left from an installation before."""
        wanted: Json = {k: v for k, v in self._metadata.items() if k in ("labels", "ownerReferences")}
        if not covers(live["metadata"], wanted):
            body = {"metadata": {**wanted, "uid": live["metadata"]["uid"]}}
            await self.client.patch(SCORES, SCORE_NAME, body, self.cluster)

    def _seconds_left(self, valid_until: str | None) -> float:
        if not valid_until:
            return 0
        return (parse_time(valid_until) - self._clock()).total_seconds()


def _no_keys(_: Any) -> Iterable[Key]:
    return ()
