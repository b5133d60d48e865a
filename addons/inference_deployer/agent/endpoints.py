"""Keeps the status of every InferenceEndpoint on this cluster."""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.core import DAEMONSETS, DEPLOYMENTS, PODS, SERVICES
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Controller, Key, Watch, patch_status
from addons.inference_deployer.agent.enginehosts import HOSTS, wanted_hosts
from addons.inference_deployer.agent.status import Parts, endpoint_status
from addons.inference_deployer.engines.host import HOST_APP
from addons.inference_deployer.kinds import DATALOADS, DATASETS, ENDPOINT_LABEL, INFERENCEENDPOINTS

PARTS = (DEPLOYMENTS, PODS, SERVICES, DATASETS, DATALOADS)


class EndpointController(Controller):
    """InferenceEndpoint status from Deployment, Pods, Service, Dataset and DataLoad; writes nothing else."""

    name = "inference-endpoint"
    workers = 4

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace  # of the engine hosts

    def watches(self) -> list[Watch]:
        """Endpoints, all that carries an endpoint's label, and engine hosts."""
        parts = [Watch(resource, map=_endpoint_of, label_selector=ENDPOINT_LABEL) for resource in PARTS]
        hosts = Watch(DAEMONSETS, map=self._askers, namespace=self._namespace, label_selector=HOSTS)
        return [Watch(INFERENCEENDPOINTS), *parts, hosts]

    async def reconcile(self, key: Key) -> float | None:
        """One endpoint."""
        endpoint = self.cache(INFERENCEENDPOINTS).get(key)
        if endpoint is None or endpoint["metadata"].get("deletionTimestamp"):
            return None
        spec = endpoint["spec"]
        parts = Parts(
            deployment=self._part(DEPLOYMENTS, key, spec.get("deployment")),
            service=self._part(SERVICES, key, spec.get("service")),
            dataset=self._part(DATASETS, key, spec.get("dataset")),
            load=self._part(DATALOADS, key, spec.get("dataLoad")),
            host=self._host(key, spec.get("deployment")),
            pods=self._pods(key),
        )
        await patch_status(self.client, INFERENCEENDPOINTS, endpoint, endpoint_status(endpoint, parts))
        return None

    def _part(self, resource: Resource, key: Key, name: str | None) -> Json | None:
        if not name:
            return None
        found: Json | None = self.cache(resource, label_selector=ENDPOINT_LABEL).get(Key(key.namespace, name))
        return found

    def _host(self, key: Key, deployment: str | None) -> Json | None:
        hosts = self.cache(DAEMONSETS, namespace=self._namespace, label_selector=HOSTS)
        for wanted in wanted_hosts(self._part(DEPLOYMENTS, key, deployment) or {}):
            found: Json | None = hosts.get(Key(self._namespace, f"{HOST_APP}-{wanted.name}"))
            return found
        return None

    def _askers(self, host: Json) -> Iterable[Key]:
        """The endpoints whose engines ask a host."""
        name = host["metadata"]["name"].removeprefix(f"{HOST_APP}-")
        for deployment in self.cache(DEPLOYMENTS, label_selector=ENDPOINT_LABEL):
            if Key("", name) in wanted_hosts(deployment):
                yield from _endpoint_of(deployment)

    def _pods(self, key: Key) -> list[Json]:
        cache = self.cache(PODS, label_selector=ENDPOINT_LABEL)
        cache.add_index("endpoint", lambda pod: [str(owner) for owner in _endpoint_of(pod)])
        return cache.by_index("endpoint", str(key))


def _endpoint_of(obj: Json) -> Iterable[Key]:
    return [Key(obj["metadata"]["namespace"], obj["metadata"]["labels"][ENDPOINT_LABEL])]
