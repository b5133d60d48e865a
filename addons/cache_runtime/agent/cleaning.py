"""Jobs that leave nothing of a cache on a node."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import JOBS
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import AlreadyExists, Client, Key, NotFound
from addon_framework.kube.events import EventRecorder
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import FIELD_MANAGER, NO_MESH, NODE_LABEL, labels, short_hash

log = structlog.get_logger(__name__)
_GRACE, _ATTEMPTS = 60, 3  # Fluid's cleanCachePolicy defaults


class Cleaner:
    """In the add-on's namespace: the Dataset's may be on its way out, where nothing can be created."""

    def __init__(
        self, client: Client, cache: Callable[[Resource], AnyInformer], install_namespace: str
    ) -> None:
        self._client, self._cache, self._namespace = client, cache, install_namespace
        self._recorder = EventRecorder(client, FIELD_MANAGER)

    async def clean(self, binding: Binding, node: str, why: str = "") -> bool:
        """Whether the node's job has ended, for this reason. One that failed has, and stays for a while."""
        name = self._name(binding, node, why)
        job = self._cache(JOBS).get(Key(self._namespace, name))
        if job is None:
            try:
                await self._client.create(JOBS, job_for(binding, node, name, self._namespace))
            except AlreadyExists:
                pass  # our copy was behind
            return False
        if (state := _finished(job)) == "Failed":
            log.warning("cache not removed from node", dataset=binding.cache.title, node=node, job=name)
            message = _left_behind(job, node)
            event = f"{binding.cache.name}.{name}"
            await self._recorder.record(binding.runtime, "CacheNotRemoved", message, warning=True, name=event)
        return bool(state)

    def succeeded(self, binding: Binding, node: str, why: str = "") -> bool:
        """Whether it has, with nothing left behind."""
        job = self._cache(JOBS).get(Key(self._namespace, self._name(binding, node, why)))
        return job is not None and _finished(job) == "Complete"

    async def forget(self, binding: Binding, node: str, why: str = "") -> None:
        """The job goes, whether it has ended or not."""
        name = self._name(binding, node, why)
        if self._cache(JOBS).get(Key(self._namespace, name)) is not None:
            try:
                await self._client.delete(JOBS, name, self._namespace)
            except NotFound:
                pass

    def _name(self, binding: Binding, node: str, why: str) -> str:
        cache, uid = binding.cache, binding.runtime["metadata"]["uid"]
        return f"clean-{short_hash(cache.namespace, cache.name, uid, node, *([why] if why else []))}"


def job_for(binding: Binding, node: str, name: str, namespace: str) -> Json:
    """Cleans a node, as long and as often as the runtime's cleanCachePolicy says."""
    spec = binding.cache.spec
    policy = (spec.get("management") or spec).get("cleanCachePolicy") or {}
    grace, attempts = (policy.get(name) for name in ("gracePeriodSeconds", "maxRetryAttempts"))
    again = _ATTEMPTS if attempts is None else int(attempts)
    seconds = (_GRACE if grace is None else int(grace)) * max(again, 1)
    key = Key(binding.cache.namespace, binding.cache.name)
    own = labels(key, "clean", **{NODE_LABEL: node})
    pod = binding.backend.clean(binding.cache).pod
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": own},
        "spec": {
            "backoffLimit": again,
            "activeDeadlineSeconds": max(seconds, 1),  # 0 is no time at all to Kubernetes
            "ttlSecondsAfterFinished": 600,
            "template": {
                "metadata": {"labels": {**NO_MESH, **own}},
                "spec": {**pod, "nodeName": node, "restartPolicy": "Never"},
            },
        },
    }


def _left_behind(job: Json, node: str) -> str:
    """What somebody has to remove by hand, and why."""
    containers = job["spec"]["template"]["spec"]["containers"]
    paths = [arg.partition("=")[2] for each in containers for arg in each.get("args") or []]
    said = get_condition((job.get("status") or {}).get("conditions") or [], "Failed") or {}
    why = f"{said.get('reason', '')} {said.get('message', '')}".strip()
    return (
        f"node {node} was not cleaned ({why}); unmount and remove by hand what is left of {', '.join(paths)}"
    )


def _finished(job: Json) -> str:
    """Complete or Failed; "" while it runs."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"])
    return ""
