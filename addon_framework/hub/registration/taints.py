"""The two taints the hub keeps itself, unreachable and unavailable, from the condition Available."""

from __future__ import annotations

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.api.names import CONDITION_AVAILABLE, UNAVAILABLE_TAINT, UNREACHABLE_TAINT
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import ApiError, Controller, Key, Watch

_OURS = (UNAVAILABLE_TAINT, UNREACHABLE_TAINT)


def wanted_taints(cluster: Json, now: str) -> list[Json]:
    """The cluster's taints as they should be; one that stays keeps its timeAdded."""
    taints = (cluster.get("spec") or {}).get("taints") or []
    available = get_condition(cluster, CONDITION_AVAILABLE)
    status = available["status"] if available else "Unknown"
    key = {"True": "", "False": UNAVAILABLE_TAINT}.get(status, UNREACHABLE_TAINT)
    kept = [t for t in taints if t["key"] not in _OURS or (t["key"] == key and t["effect"] == "NoSelect")]
    if key and not any(t["key"] == key for t in kept):
        kept.append({"key": key, "effect": "NoSelect", "timeAdded": now})
    return kept


class TaintController(Controller):
    """ManagedCluster condition Available -> spec.taints."""

    name = "registration-taint"
    workers = 4  # thousands may come at once

    def watches(self) -> list[Watch]:
        """Clusters only."""
        return [Watch(ManagedCluster.RESOURCE)]

    async def reconcile(self, key: Key) -> float | None:
        """Write the list when it differs, against the very version it was read from."""
        cluster = self.cache(ManagedCluster.RESOURCE).get(key)
        if cluster is None or cluster["metadata"].get("deletionTimestamp"):
            return None
        taints = wanted_taints(cluster, now_rfc3339())
        before = (cluster.get("spec") or {}).get("taints") or []
        if taints != before:
            metadata = cluster["metadata"]
            body: Json = {
                "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
                "spec": {"taints": taints},
            }
            try:
                await self.client.patch(ManagedCluster.RESOURCE, key.name, body)
            except ApiError as error:
                if error.status != 400:
                    raise
                # OCM's webhook tells the time itself, and lets nobody else.
                fresh = [{**t, "timeAdded": None} if t not in before else t for t in taints]
                body["spec"]["taints"] = fresh
                await self.client.patch(ManagedCluster.RESOURCE, key.name, body)
        return None
