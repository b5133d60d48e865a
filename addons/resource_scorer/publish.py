"""An AddOnPlacementScore of the cluster: made, owned, written when it says something else or grows old."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import AddOnPlacementScore
from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.kube import AlreadyExists, Client, covers, patch_status

log = structlog.get_logger(__name__)
SCORES = AddOnPlacementScore.RESOURCE


class Publisher:
    """Writes the scores of one cluster on the hub."""

    def __init__(
        self,
        hub: Client,
        cluster: str,
        *,
        addon_name: str = "resource-scorer",
        owner_uid: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._hub, self.cluster, self._clock = hub, cluster, clock
        self._metadata: Json = {"namespace": cluster, "labels": {ADDON_NAME_LABEL: addon_name}}
        if owner_uid:  # so that the scores go when the add-on does
            owner = ManagedClusterAddOn.RESOURCE
            reference = {"apiVersion": owner.api_version, "kind": owner.kind}
            self._metadata["ownerReferences"] = [{**reference, "name": addon_name, "uid": owner_uid}]

    async def create(self, name: str) -> None:
        """Without status: a create drops that."""
        metadata = {**self._metadata, "name": name}
        try:
            made = {"apiVersion": SCORES.api_version, "kind": SCORES.kind, "metadata": metadata}
            await self._hub.create(SCORES, made)
        except AlreadyExists:
            pass

    async def publish(self, live: Json, scores: Mapping[str, int], valid_seconds: float) -> float:
        """Write the scores if they are others or half their validity is over; seconds until it will be."""
        await self._claim(live)
        name, status = live["metadata"]["name"], live.get("status") or {}
        published = {entry["name"]: entry["value"] for entry in status.get("scores") or []}
        half = valid_seconds / 2
        left = self._seconds_left(status.get("validUntil"))
        if published == scores and half < left <= 2 * half + 1:
            return left - half
        until = now_rfc3339(self._clock() + timedelta(seconds=valid_seconds))
        listed = [{"name": name, "value": value} for name, value in scores.items()]
        await patch_status(self._hub, SCORES, live, {**status, "scores": listed, "validUntil": until})
        if published != scores:
            log.info("scores published", cluster=self.cluster, resource=name, scores=dict(scores))
        return half

    def is_ours(self, live: Json) -> bool:
        """Whether this add-on has made it."""
        return covers(live["metadata"], {"labels": self._metadata["labels"]})

    async def _claim(self, live: Json) -> None:
        """Ours also when it is left from an installation before."""
        wanted: Json = {k: v for k, v in self._metadata.items() if k in ("labels", "ownerReferences")}
        if not covers(live["metadata"], wanted):
            body = {"metadata": {**wanted, "uid": live["metadata"]["uid"]}}
            await self._hub.patch(SCORES, live["metadata"]["name"], body, self.cluster)

    def _seconds_left(self, valid_until: str | None) -> float:
        if not valid_until:
            return 0
        return (parse_time(valid_until) - self._clock()).total_seconds()
