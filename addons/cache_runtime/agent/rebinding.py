"""Pods that mount a cache's directory which somebody removed since: they see nothing of the one made anew.

Workers say when theirs was made. What started before has another one, so a Job on that node puts the new one
in its place (runtimes.node.rebind); pods that it cannot reach have to restart. Everything this goes by is in
the cluster: a Job is named for the directory, and stays while there are pods that it was for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import JOBS, PODS
from addon_framework.api.meta import Json, Resource
from addon_framework.api.time import parse_time
from addon_framework.kube import AlreadyExists, Client, Key
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import (
    NO_MESH,
    NODE_LABEL,
    dataset_key,
    labels,
    pods_mounting,
    pods_of,
    role_of,
    short_hash,
)
from addons.cache_runtime.agent.references import References
from addons.cache_runtime.agent.reports import Reports
from runtimes.node.command import rebind_pod

_ROLE = "rebind"
_SECONDS = 3600  # what a subPath names may have to be loaded first


class Rebinding:
    """Over the informers' caches; Jobs are in the add-on's namespace, where privileged pods are."""

    def __init__(
        self,
        client: Client,
        cache: Callable[[Resource], AnyInformer],
        references: References,
        reports: Reports,
        install_namespace: str,
    ) -> None:
        self._client, self._cache, self._references = client, cache, references
        self._reports, self._namespace = reports, install_namespace

    async def step(self, binding: Binding, key: Key) -> str:
        """Which pods see nothing of the cache, and what becomes of them; "" for none."""
        texts, wanted = [], set()
        states = self._reports.states(pods_of(self._cache(PODS), key))
        for node, said in sorted(states.items()):
            users = [] if "made" not in said else list(self._users(key, node, float(said["made"])))
            if not users:
                continue
            name = f"rebind-{short_hash(binding.dataset['metadata']['uid'], node, str(said['made']))}"
            wanted.add(name)
            job = self._cache(JOBS).get(Key(self._namespace, name))
            if job is None:
                job = await self._create(binding, key, node, name)
            if text := self._told(job):
                texts.append(f"on node {node} pods {', '.join(sorted(users))} {text}")
        for job in self._cache(JOBS).in_namespace(self._namespace):
            mine = dataset_key(job) == [key] and role_of(job) == _ROLE
            if mine and job["metadata"]["name"] not in wanted:
                await self._client.remove(JOBS, job)
        return "; ".join(texts)

    def _users(self, key: Key, node: str, made: float) -> Iterable[str]:
        """Pods on a node with containers that are older than the directory."""
        for claim in (key, *self._references.to(key)):
            for name in pods_mounting(self._cache(PODS), claim, node):
                pod = self._cache(PODS).get(Key(claim.namespace, name))
                if pod is not None and any(began + 1 <= made for began in _began(pod)):
                    yield name if claim.namespace == key.namespace else f"{claim.namespace}/{name}"

    async def _create(self, binding: Binding, key: Key, node: str, name: str) -> Json:
        own = labels(key, _ROLE, **{NODE_LABEL: node})
        pod = rebind_pod(binding.cache.image, binding.backend.volume(binding.cache).path)
        job: Json = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": self._namespace, "labels": own},
            "spec": {
                "activeDeadlineSeconds": _SECONDS,
                "template": {
                    "metadata": {"labels": {**NO_MESH, **own}},
                    "spec": {**pod, "nodeName": node, "restartPolicy": "Never"},
                },
            },
        }
        try:
            await self._client.create(JOBS, job)
        except AlreadyExists:
            pass  # our copy was behind
        return job

    def _told(self, job: Json) -> str:
        """What becomes of the pods that it is for; "" once they have the cache."""
        at = f"{job['metadata']['namespace']}/{job['metadata']['name']}"
        if is_true(job, "Complete"):
            return ""
        if is_true(job, "Failed"):
            said = get_condition(job, "Failed") or {}
            why = f"{said.get('reason', '')} {said.get('message', '')}".strip()
            return f"have the removed directory until they restart: Job {at} showed them no other ({why})"
        return f"had the directory that was removed; Job {at} shows them the one made anew"


def _began(pod: Json) -> list[float]:
    """When its containers did that run; the kubelet leaves parts of seconds out."""
    said = (pod.get("status") or {}).get("containerStatuses") or []
    running = [(each.get("state") or {}).get("running") or {} for each in said]
    return [parse_time(each["startedAt"]).timestamp() for each in running if each.get("startedAt")]
