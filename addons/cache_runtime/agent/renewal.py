"""Clients made from what the Dataset, its runtime, its profile or their Secrets were before.

One that nobody uses on its node is replaced at once, as is one that does not work: that has ended, or has not
answered for a while (on a busy node a moment need not mean anything), or whose data somebody removed. The
others are left: a pod that reads through a client would find its open files broken. So it is said which pods
those are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from math import inf

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import PODS
from addon_framework.api.meta import Json, Resource
from addon_framework.api.time import parse_time
from addon_framework.kube import Client, Key
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.admission.names import RENEW_ROLE
from addons.cache_runtime.agent import components
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.making import MADE_FROM_ANNOTATION, MOUNTS, changed_since
from addons.cache_runtime.agent.names import HASH_ANNOTATION, pods_mounting, pods_of, role_of
from addons.cache_runtime.agent.references import References
from addons.cache_runtime.agent.rights import Rights

_PATIENCE = 30.0  # seconds for a client that runs and does not answer
_OPERATIONS = ("load", "migrate", "backup", "process")  # they may work through the client


@dataclass(frozen=True)
class Outdated:
    """What has changed for which clients, and who uses them; `mounts`: the mounts are among it.

    `again`: seconds until one of them may turn out not to work.
    """

    text: str = ""
    mounts: bool = False
    again: float | None = None


class Renewal:
    """Over the informers' caches."""

    def __init__(
        self,
        client: Client,
        cache: Callable[[Resource], AnyInformer],
        references: References,
        rights: Rights,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        is_gone: Callable[[Json], bool] = lambda client: False,
    ) -> None:
        self._client, self._cache, self._references, self._rights = client, cache, references, rights
        self._clock, self._is_gone = clock, is_gone

    async def step(self, binding: Binding, key: Key) -> Outdated:
        """Replaces what can be replaced, but never all that work at once."""
        ours = pods_of(self._cache(PODS), key)
        clients = [p for p in ours if role_of(p) == "client" and not p["metadata"].get("deletionTimestamp")]
        if not clients:
            return Outdated()
        newest = components.client_digest(binding)
        gone = {pod["metadata"]["name"] for pod in clients if self._is_gone(pod)}
        old = [
            pod
            for pod in clients
            if pod["metadata"]["name"] in gone or _annotation(pod, HASH_ANNOTATION) != newest
        ]
        used = {pod["metadata"]["name"]: self._users(key, ours, pod) for pod in old}
        left = {pod["metadata"]["name"]: _patience(pod, self._clock()) for pod in old}
        left |= dict.fromkeys(gone, 0.0)
        free = [pod for pod in old if not used[name := pod["metadata"]["name"]] or left[name] <= 0]
        stay = [pod for pod in old if pod not in free]
        working = [pod for pod in free if is_true(pod, "Ready") and pod["metadata"]["name"] not in gone]
        if len(working) > 1 and not any(is_true(pod, "Ready") for pod in clients if pod not in free):
            free.remove(working[-1])
        for pod in free:
            await self._rights.using(RENEW_ROLE, binding, partial(self._client.remove, PODS, pod))
        wait = min((left[pod["metadata"]["name"]] for pod in stay), default=inf)
        return replace(_said(binding, stay, used), again=wait if wait < inf else None)

    def _users(self, key: Key, ours: Sequence[Json], client: Json) -> list[str]:
        node = client["spec"].get("nodeName")
        if not node:
            return []
        working = [
            pod["metadata"]["name"]
            for pod in ours
            if role_of(pod) in _OPERATIONS
            and pod["spec"].get("nodeName") == node
            and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        ]
        others = (
            f"{each.namespace}/{name}"
            for each in self._references.to(key)
            for name in pods_mounting(self._cache(PODS), each, node)
        )
        return sorted({*working, *pods_mounting(self._cache(PODS), key, node), *others})


def _patience(pod: Json, now: datetime) -> float:
    """Seconds for which a client is taken to work; 0 or less: it does not."""
    status, name = pod.get("status") or {}, pod["spec"]["containers"][0]["name"]
    said: Json = next((c for c in status.get("containerStatuses") or [] if c.get("name") == name), {})
    if said.get("ready") or is_true(pod, "Ready"):
        return inf
    since = (get_condition(status.get("conditions") or [], "Ready") or {}).get("lastTransitionTime")
    if "running" not in (said.get("state") or {}) or not since:
        return 0.0
    return _PATIENCE - (now - parse_time(since)).total_seconds()


def _said(binding: Binding, pods: Sequence[Json], used: dict[str, list[str]]) -> Outdated:
    if not pods:
        return Outdated()
    fields = sorted(
        {f for pod in pods for f in changed_since(_annotation(pod, MADE_FROM_ANNOTATION), binding)}
    )
    where = "; ".join(
        f"on node {pod['spec']['nodeName']} {pod['metadata']['name']}, which pods "
        f"{', '.join(used[pod['metadata']['name']])} use"
        for pod in sorted(pods, key=lambda pod: str(pod["spec"]["nodeName"]))
    )
    what = f"{', '.join(fields)} changed" if fields else "something has changed"
    text = (
        f"{what}; it takes effect when these clients restart, as they do when nobody uses them any more, or "
        f"when you delete them, which breaks files that are open: {where}"
    )
    return Outdated(text, MOUNTS in fields)


def _annotation(pod: Json, name: str) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(name, ""))
