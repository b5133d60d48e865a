"""What the caches' pods report: their logs, followed, kept as the last word of each kind."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import structlog

from addon_framework.api.core import PODS
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError, Client, Key
from addons.cache_runtime.agent.names import dataset_key, role_of

log = structlog.get_logger(__name__)
Parse = Callable[[Key, str], Json | None]  # of a Dataset, a line
_TAIL = "200"  # lines are reports, and the last of each kind counts
_RETRY = 0.5


_COUNTERS = ("hits", "misses", "hitBytes", "missBytes")


class Window:
    """Hits and misses of the last minutes, from counters that only grow and begin anew with their program."""

    def __init__(self, seconds: float = 600) -> None:
        self._seconds = seconds
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    def of(self, report: Json) -> Json:
        """The report with what was counted within the window instead of since ever."""
        moment = float(report.get("time") or 0)
        counted = {name: int(report[name] or 0) for name in _COUNTERS if name in report}
        if self._seen and any(count < self._seen[-1][1].get(name, 0) for name, count in counted.items()):
            self._seen.clear()
        self._seen.append((moment, counted))
        # One older than the window stays, for what was counted since then.
        while len(self._seen) > 1 and self._seen[1][0] <= moment - self._seconds:
            self._seen.popleft()
        first = self._seen[0][1] if len(self._seen) > 1 else {}
        return {**report, **{name: count - first.get(name, 0) for name, count in counted.items()}}


@dataclass
class PodReports:
    """Of one pod. `ended` holds the containers whose log was read to its end after they ended."""

    last: dict[str, Json] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    window: Window = field(default_factory=Window)


class Reports:
    """Follows the logs of every pod that belongs to a Dataset."""

    def __init__(self, client: Client, parse: Parse, changed: Callable[[Json], None]) -> None:
        self._client, self._parse, self._changed = client, parse, changed
        self._pods: dict[str, PodReports] = {}
        self._current: dict[str, Json] = {}
        self._tasks: dict[tuple[str, str, int], asyncio.Task[None]] = {}

    def of(self, pod: Json) -> PodReports:
        """What a pod said so far."""
        return self._pods.get(pod["metadata"]["uid"]) or PodReports()

    def by_node(self, pods: Iterable[Json], name: str) -> dict[str, Json]:
        """The last report of a name from each node, whichever of its pods told it."""
        found: dict[str, Json] = {}
        for pod in pods:
            said, node = self.of(pod).last.get(name), pod["spec"].get("nodeName", "")
            if said is not None and said.get("time", 0) >= found.get(node, {}).get("time", 0):
                found[node] = said
        return found

    def states(self, pods: Iterable[Json]) -> dict[str, Json]:
        """The last state that each node's worker told, or its client where it has no worker."""
        here = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        clients, workers = ([p for p in here if role_of(p) == role] for role in ("client", "worker"))
        return {**self.by_node(clients, "state"), **self.by_node(workers, "state")}

    def is_gone(self, pod: Json) -> bool:
        """Whether a client says that what it has mounted was removed."""
        return bool(self.of(pod).last.get("state", {}).get("gone"))

    def drained(self, pod: Json) -> bool:
        """Whether a pod has said everything it will ever say."""
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        return {status["name"] for status in statuses} <= self.of(pod).ended

    def pod_changed(self, old: Json | None, new: Json | None) -> None:
        """An event of the pods' informer."""
        if new is None:
            assert old is not None
            self._forget(old["metadata"]["uid"])
            return
        if not dataset_key(new):
            return
        uid = new["metadata"]["uid"]
        self._current[uid] = new
        for status in (new.get("status") or {}).get("containerStatuses") or []:
            if {"running", "terminated"} & (status.get("state") or {}).keys():
                self._follow(uid, status["name"], int(status.get("restartCount") or 0))

    def close(self) -> None:
        """Ends all followers."""
        for uid in list(self._current):
            self._forget(uid)

    def _follow(self, uid: str, container: str, restart: int) -> None:
        if (uid, container, restart) not in self._tasks:
            task = asyncio.create_task(self._read(uid, container, restart))
            self._tasks[(uid, container, restart)] = task

    def _forget(self, uid: str) -> None:
        self._current.pop(uid, None)
        self._pods.pop(uid, None)
        for key in [key for key in self._tasks if key[0] == uid]:
            self._tasks.pop(key).cancel()

    async def _read(self, uid: str, container: str, restart: int) -> None:
        """One life of one container, through broken connections."""
        while (pod := self._current.get(uid)) is not None:
            over = self._over(pod, container, restart)
            try:
                await self._stream(pod, container)
            except ApiError as error:
                log.debug("log not read", pod=pod["metadata"]["name"], reason=error.message)
                over = over and error.status in (400, 404)  # its log is gone for good
            if over:
                if self._is_last(uid, container, restart):
                    self._pods.setdefault(uid, PodReports()).ended.add(container)
                self._changed(pod)
                return
            await asyncio.sleep(_RETRY)

    async def _stream(self, pod: Json, container: str) -> None:
        metadata = pod["metadata"]
        path = PODS.path(metadata["namespace"], metadata["name"], "log")
        params = {"container": container, "follow": "true", "tailLines": _TAIL}
        key = dataset_key(pod)[0]
        # A cache may have nothing to say for days.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async for line in self._client.stream("GET", path, params=params, timeout=timeout):
            report = self._parse(key, line.decode(errors="replace"))
            if report is not None:
                self._take(metadata["uid"], pod, report)

    def _take(self, uid: str, pod: Json, report: Json) -> None:
        said = self._pods.setdefault(uid, PodReports()).last
        kind = str(report["report"])
        if kind == "start" and (failed := said.pop("failed", None)) is not None:
            said["trouble"] = failed  # of the attempt before: it stands until something moves
        if kind == "state" and "hits" in report:
            report = self._pods[uid].window.of(report)
        if said.get(kind) != report:
            said[kind] = report
            self._changed(pod)

    def _over(self, pod: Json, container: str, restart: int) -> bool:
        status = self._status(pod, container)
        return int(status.get("restartCount") or 0) > restart or "terminated" in (status.get("state") or {})

    def _is_last(self, uid: str, container: str, restart: int) -> bool:
        status = self._status(self._current.get(uid) or {}, container)
        return int(status.get("restartCount") or 0) == restart and "terminated" in (status.get("state") or {})

    @staticmethod
    def _status(pod: Json, container: str) -> dict[str, Any]:
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        return next((status for status in statuses if status["name"] == container), {})
