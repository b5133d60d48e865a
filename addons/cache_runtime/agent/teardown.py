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
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    STATEFULSETS,
)
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import AlreadyExists, Client, Key, NotFound
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import (
    FORCE_ANNOTATION,
    NODE_LABEL,
    cache_node_label,
    client_node_label,
    dataset_key,
    is_forced,
    labels,
    pods_using,
    role_of,
    short_hash,
    volume_name,
)
from addons.cache_runtime.agent.nodes import NodeLabels, labelled
from addons.cache_runtime.agent.references import References
from addons.cache_runtime.agent.volumes import is_stranger

log = structlog.get_logger(__name__)
_ORDER = ("client", "worker", "master")  # a client's unmount must not wait for a worker that is gone
_OPERATIONS = ("load", "migrate", "backup", "process")
_GRACE, _ATTEMPTS = 60, 3  # Fluid's cleanCachePolicy defaults


class Teardown:
    """Steps over the informers' caches."""

    def __init__(
        self,
        client: Client,
        cache: Callable[[Resource], AnyInformer],
        install_namespace: str,
        references: References,
    ) -> None:
        self._client, self._cache, self._namespace = client, cache, install_namespace
        self._references = references

    async def step(self, binding: Binding, key: Key) -> str:
        """Goes as far as possible. "" when nothing is left; else what it waits for."""
        leaving = binding.dataset["metadata"].get("deletionTimestamp")
        if leaving and (names := self._references.to(key)):
            return f"Datasets {', '.join(map(str, names))} refer to it; it goes when they do"
        for cron in [obj for obj in self._cache(CRONJOBS) if dataset_key(obj) == [key]]:
            await self._delete(CRONJOBS, cron)
        if (users := self.users(key)) and not is_forced(binding.dataset):
            forced = f"at once with annotation {FORCE_ANNOTATION}=true, which breaks them"
            return f"in use by pods {', '.join(users)}; it goes when they do, {forced}"
        for job in [obj for obj in self._cache(JOBS) if dataset_key(obj) == [key]]:
            if role_of(job) in _OPERATIONS:
                await self._delete(JOBS, job)
        if any(self._pods(key, role) for role in _OPERATIONS):
            return "waiting for operations to end"
        await self._volume(key)
        for role in _ORDER:
            if await self._component(key, role):
                return f"waiting for {role} pods to end"
        if waiting := await self._clean(binding, key):
            return waiting
        for config in [obj for obj in self._cache(CONFIGMAPS) if dataset_key(obj) == [key]]:
            await self._delete(CONFIGMAPS, config)
        await NodeLabels(self._client, self._cache).remove(binding)
        return ""

    def users(self, key: Key) -> list[str]:
        """Pods that mount the claim and have not ended."""
        return [*pods_using(self._cache(PODS), key), *self._references.users(key)]

    async def _volume(self, key: Key) -> None:
        for resource, at in (
            (PERSISTENTVOLUMECLAIMS, key),
            (PERSISTENTVOLUMES, Key("", volume_name(key))),
        ):
            obj = self._cache(resource).get(at)
            if obj is not None and not is_stranger(obj, key):
                await self._delete(resource, obj)

    async def _component(self, key: Key, role: str) -> bool:
        """Whether pods of the role are still there."""
        for resource in (DAEMONSETS, STATEFULSETS):
            for obj in self._cache(resource):
                if dataset_key(obj) == [key] and role_of(obj) == role:
                    await self._delete(resource, obj)
        return bool(self._pods(key, role))

    async def _clean(self, binding: Binding, key: Key) -> str:
        """A job on every node that has or had a part of the cache."""
        waiting = []
        for node in labelled(self._cache(NODES), self._node_labels(binding, key)):
            name = f"clean-{short_hash(key.namespace, key.name, binding.runtime['metadata']['uid'], node)}"
            job = self._cache(JOBS).get(Key(self._namespace, name))
            if job is None:
                await self._create(self._job(binding, key, node, name))
                waiting.append(node)
            elif not (state := _finished(job)):
                waiting.append(node)
            elif state == "Failed":
                log.warning("cache not removed from node", dataset=str(key), node=node, job=name)
        if waiting:
            return f"waiting for {', '.join(waiting)} to be cleaned"
        for job in self._cache(JOBS):
            if dataset_key(job) == [key] and role_of(job) == "clean":
                await self._delete(JOBS, job)
        return ""

    def _job(self, binding: Binding, key: Key, node: str, name: str) -> Json:
        """In the add-on's namespace: the Dataset's may be on its way out, where nothing can be created."""
        spec = binding.cache.spec
        policy = (spec.get("management") or spec).get("cleanCachePolicy") or {}
        attempts = int(policy.get("maxRetryAttempts") or _ATTEMPTS)
        own = labels(key, "clean", **{NODE_LABEL: node})
        pod = binding.backend.clean(binding.cache).pod
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": self._namespace, "labels": own},
            "spec": {
                "backoffLimit": attempts,
                "activeDeadlineSeconds": int(policy.get("gracePeriodSeconds") or _GRACE) * attempts,
                "ttlSecondsAfterFinished": 600,
                "template": {
                    "metadata": {"labels": own},
                    "spec": {**pod, "nodeName": node, "restartPolicy": "Never"},
                },
            },
        }

    def _pods(self, key: Key, role: str) -> list[Json]:
        return [pod for pod in self._cache(PODS) if dataset_key(pod) == [key] and role_of(pod) == role]

    def _node_labels(self, binding: Binding, key: Key) -> list[str]:
        uid = binding.dataset["metadata"].get("uid", "")
        return [cache_node_label(key, uid), client_node_label(key, uid)]

    async def _create(self, job: Json) -> None:
        try:
            await self._client.create(JOBS, job)
        except AlreadyExists:
            pass  # our copy was behind

    async def _delete(self, resource: Resource, obj: Json) -> None:
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            return
        try:
            await self._client.delete(
                resource, metadata["name"], metadata.get("namespace"), uid=metadata["uid"]
            )
        except NotFound:
            pass


def _finished(job: Json) -> str:
    """Complete or Failed; "" while it runs."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"])
    return ""
