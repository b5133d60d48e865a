"""Events about Datasets, as `kubectl describe` shows them."""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.kube import Client, Key
from addon_framework.kube.events import EventRecorder
from addons.cache_runtime.agent.names import (
    CACHE_LOST,
    FIELD_MANAGER,
    MOUNTS_LOST,
    OVER_QUOTA,
    SLOWER,
    WAITING_CHANGES,
    role_of,
)
from addons.cache_runtime.agent.reports import Reports

# What a client's pod reports, or a Job's in its place -> Fluid's reason, and whether it is a warning.
_REMOUNTS = {"remounted": ("FuseRecoverSucceed", False), "remountFailed": ("FuseRecoverFailed", True)}


class RemountEvents:
    """Tells once of every mount that was put in a dead one's place."""

    def __init__(self, client: Client, reports: Reports) -> None:
        self._recorder, self._reports = EventRecorder(client, FIELD_MANAGER), reports
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
                where = f"under running pods on node {node}"
                what = "Fuse" if role_of(pod) == "client" else "Cache"
                message = (
                    f"{what} recover {', '.join(said.get('points') or [])} succeed: mounted again {where}"
                )
                if warning:
                    message = f"{what} recover failed: not mounted again {where}: {said.get('message', '')}"
                await self._recorder.record(dataset, reason, message, warning=warning, name=name)
                told[at] = name

    async def warn(self, dataset: Json, status: Json) -> None:
        """Once each time that a cache is slower than its source, or something is lost, or a change waits."""
        for kind in (SLOWER, WAITING_CHANGES, CACHE_LOST, MOUNTS_LOST, OVER_QUOTA):
            before = get_condition((dataset.get("status") or {}).get("conditions") or [], kind) or {}
            found = get_condition(status["conditions"], kind) or {}
            if found.get("status") == "True" and before.get("status") != "True":
                await self._recorder.record(dataset, kind, found["message"], warning=True)

    async def scaled(self, runtime: Json, status: Json) -> None:
        """Once each time that there are more or fewer workers, or that their files have to stay."""
        for kind in ("WorkersScaledOut", "WorkersScaledIn"):
            before = get_condition((runtime.get("status") or {}).get("conditions") or [], kind) or {}
            found = get_condition(status["conditions"], kind) or {}
            news = any(found.get(each) != before.get(each) for each in ("status", "message"))
            if found.get("status") == "True" and news:
                await self._recorder.record(runtime, kind, found["message"])

    def forget(self, key: Key) -> None:
        """A Dataset that is gone."""
        self._told.pop(key, None)
