"""Taking a cache down in order, so that nothing stays on a node: users, loads, claim, pods, files, labels.

Each call does what can be done now and says what is being waited for. Everything it goes by is in the
cluster, so it can be killed anywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from addon_framework.api.core import (
    CONFIGMAPS,
    CRONJOBS,
    DAEMONSETS,
    JOBS,
    NODES,
    PODS,
    STATEFULSETS,
)
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Key
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.cleaning import Cleaner
from addons.cache_runtime.agent.names import (
    FORCE_ANNOTATION,
    cache_node_label,
    client_node_label,
    dataset_key,
    is_forced,
    pods_using,
    role_of,
)
from addons.cache_runtime.agent.nodes import NodeLabels, labelled
from addons.cache_runtime.agent.references import References
from addons.cache_runtime.agent.releasing import release

log = structlog.get_logger(__name__)
_ORDER = ("client", "worker", "master")  # a client's unmount must not wait for a worker that is gone
_OPERATIONS = ("load", "migrate", "backup", "process", "rebind")


class Teardown:
    """Steps over the informers' caches."""

    def __init__(
        self,
        client: Client,
        cache: Callable[[Resource], AnyInformer],
        cleaner: Cleaner,
        references: References,
    ) -> None:
        self._client, self._cache, self._cleaner = client, cache, cleaner
        self._references = references

    async def step(self, binding: Binding, key: Key) -> str:
        """Goes as far as possible. "" when nothing is left; else what it waits for."""
        leaving = binding.dataset["metadata"].get("deletionTimestamp")
        if leaving and (names := self._references.to(key)):
            return f"Datasets {', '.join(map(str, names))} refer to it; it goes when they do"
        for cron in [obj for obj in self._cache(CRONJOBS) if dataset_key(obj) == [key]]:
            await self._client.remove(CRONJOBS, cron)
        if (users := self.users(key)) and not is_forced(binding.dataset):
            forced = f"at once with annotation {FORCE_ANNOTATION}=true, which breaks them"
            return f"in use by pods {', '.join(users)}; it goes when they do, {forced}"
        for job in [obj for obj in self._cache(JOBS) if dataset_key(obj) == [key]]:
            if role_of(job) in _OPERATIONS:
                await self._client.remove(JOBS, job)
        if working := [pod for role in _OPERATIONS for pod in self._pods(key, role)]:
            return _ending("operations", working)
        held = await release(self._client, self._cache, key)
        for role in _ORDER:
            if there := await self._component(key, role):
                return _ending(f"{role} pods", there)
        if waiting := await self._clean(binding, key):
            return waiting
        for config in [obj for obj in self._cache(CONFIGMAPS) if dataset_key(obj) == [key]]:
            await self._client.remove(CONFIGMAPS, config)
        await NodeLabels(self._client, self._cache).remove(binding)
        return held

    def users(self, key: Key, node: str = "") -> list[str]:
        """Pods that mount the claim and have not ended, of all nodes or of one."""
        return [*pods_using(self._cache(PODS), key, node), *self._references.users(key, node)]

    async def _component(self, key: Key, role: str) -> list[Json]:
        """Its pods that are still there."""
        for resource in (DAEMONSETS, STATEFULSETS):
            for obj in self._cache(resource):
                if dataset_key(obj) == [key] and role_of(obj) == role:
                    await self._client.remove(resource, obj)
        return self._pods(key, role)

    async def _clean(self, binding: Binding, key: Key) -> str:
        """A job on every node that has or had a part of the cache."""
        nodes = labelled(self._cache(NODES), self._node_labels(binding, key))
        waiting = [node for node in nodes if not await self._cleaner.clean(binding, node)]
        if waiting:
            return f"waiting for nodes {', '.join(waiting)} to be cleaned"
        for job in self._cache(JOBS):
            if dataset_key(job) == [key] and role_of(job) == "clean":
                await self._client.remove(JOBS, job)
        return ""

    def _pods(self, key: Key, role: str) -> list[Json]:
        return [pod for pod in self._cache(PODS) if dataset_key(pod) == [key] and role_of(pod) == role]

    def _node_labels(self, binding: Binding, key: Key) -> list[str]:
        uid = binding.dataset["metadata"].get("uid", "")
        return [cache_node_label(key, uid), client_node_label(key, uid)]


def _ending(what: str, pods: list[Json]) -> str:
    """A node that is away keeps its pods until it is back or its Node is deleted; so it is named."""
    named = (f"{p['metadata']['name']} on node {p['spec'].get('nodeName') or '(none)'}" for p in pods)
    return f"waiting for {what} to end: {', '.join(sorted(named))}"
