"""Events about Datasets and operations, as `kubectl describe` shows them."""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.core import EVENTS
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import AlreadyExists, Client, Key
from addons.cache_runtime.agent.names import FIELD_MANAGER
from addons.cache_runtime.agent.reports import Reports

# What a client's pod reports -> Fluid's reason, and whether it is a warning.
_REMOUNTS = {"remounted": ("FuseRecoverSucceed", False), "remountFailed": ("FuseRecoverFailed", True)}


def event(about: Json, reason: str, message: str, warning: bool, *, name: str = "") -> Json:
    """With a name of its own unless one is given."""
    metadata, now = about["metadata"], now_rfc3339()
    named = {"name": name} if name else {"generateName": f"{metadata['name']}-"}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {**named, "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message[:1024],
        "source": {"component": FIELD_MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


class RemountEvents:
    """Tells once of every mount that was put in a dead one's place."""

    def __init__(self, client: Client, reports: Reports) -> None:
        self._client, self._reports = client, reports
        self._told: dict[Key, dict[tuple[str, str], str]] = {}  # the last event's name by pod and kind

    async def tell(self, key: Key, dataset: Json, pods: Iterable[Json]) -> None:
        """What the pods report and was not told yet. A restarted agent finds its events there."""
        told = self._told.setdefault(key, {})
        for pod in pods:
            for kind, (reason, warning) in _REMOUNTS.items():
                said = self._reports.of(pod).last.get(kind)
                at = (pod["metadata"]["uid"], kind)
                name = f"{pod['metadata']['name']}.{said['time']:.6f}" if said else ""
                if not said or told.get(at) == name:
                    continue
                node = pod["spec"].get("nodeName", "")
                message = (
                    f"mounted again under running pods on node {node}: {', '.join(said.get('points') or [])}"
                )
                if warning:
                    message = (
                        f"not mounted again under running pods on node {node}: {said.get('message', '')}"
                    )
                try:
                    await self._client.create(EVENTS, event(dataset, reason, message, warning, name=name))
                except AlreadyExists:
                    pass
                told[at] = name

    def forget(self, key: Key) -> None:
        """A Dataset that is gone."""
        self._told.pop(key, None)
