"""Clients made from what the Dataset, its runtime, its profile or their Secrets were before.

One that nobody uses on its node is replaced at once, as is one that does not work. The others are left: a pod
that reads through a client would find its open files broken. So it is said which pods those are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from addon_framework.api.conditions import is_true
from addon_framework.api.core import PODS
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Key, NotFound
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.admission.names import RENEW_ROLE
from addons.cache_runtime.agent import components
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.making import MADE_FROM_ANNOTATION, MOUNTS, changed_since
from addons.cache_runtime.agent.names import HASH_ANNOTATION, pods_mounting, pods_of, role_of
from addons.cache_runtime.agent.references import References
from addons.cache_runtime.agent.rights import Rights

_OPERATIONS = ("load", "migrate", "backup", "process")  # they may work through the client


@dataclass(frozen=True)
class Outdated:
    """What has changed for which clients, and who uses them; `mounts`: the mounts are among it."""

    text: str = ""
    mounts: bool = False


class Renewal:
    """Over the informers' caches."""

    def __init__(
        self, client: Client, cache: Callable[[Resource], AnyInformer], references: References, rights: Rights
    ) -> None:
        self._client, self._cache, self._references, self._rights = client, cache, references, rights

    async def step(self, binding: Binding, key: Key) -> Outdated:
        """Replaces what can be replaced, but never all that work at once."""
        ours = pods_of(self._cache(PODS), key)
        clients = [p for p in ours if role_of(p) == "client" and not p["metadata"].get("deletionTimestamp")]
        if not clients:
            return Outdated()
        newest = components.client_digest(binding)
        old = [pod for pod in clients if _annotation(pod, HASH_ANNOTATION) != newest]
        used = {pod["metadata"]["name"]: self._users(key, ours, pod) for pod in old}
        free = [pod for pod in old if not used[pod["metadata"]["name"]] or not is_true(pod, "Ready")]
        stay = [pod for pod in old if pod not in free]
        working = [pod for pod in free if is_true(pod, "Ready")]
        if len(working) > 1 and not any(is_true(pod, "Ready") for pod in clients if pod not in free):
            free.remove(working[-1])
        for pod in free:
            await self._rights.using(RENEW_ROLE, binding, partial(self._delete, pod))
        return _said(binding, stay, used)

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

    async def _delete(self, pod: Json) -> None:
        metadata = pod["metadata"]
        try:
            await self._client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except NotFound:
            pass


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
