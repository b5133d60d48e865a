"""Keeps the status of every InferenceEndpoint on this cluster."""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.core import DEPLOYMENTS, PODS, SERVICES
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Controller, Key, Watch, patch_status
from addons.inference_deployer.agent.status import Parts, endpoint_status
from addons.inference_deployer.kinds import DATALOADS, DATASETS, ENDPOINT_LABEL, INFERENCEENDPOINTS

PARTS = (DEPLOYMENTS, PODS, SERVICES, DATASETS, DATALOADS)


class EndpointController(Controller):
    """InferenceEndpoint status from Deployment, Pods, Service, Dataset and DataLoad; writes nothing else."""

    name = "inference-endpoint"
    workers = 4

    def watches(self) -> list[Watch]:
        """Endpoints, and all that carries an endpoint's label."""
        parts = [Watch(resource, map=_endpoint_of, label_selector=ENDPOINT_LABEL) for resource in PARTS]
        return [Watch(INFERENCEENDPOINTS), *parts]

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
            pods=self._pods(key),
        )
        await patch_status(self.client, INFERENCEENDPOINTS, endpoint, endpoint_status(endpoint, parts))
        return None

    def _part(self, resource: Resource, key: Key, name: str | None) -> Json | None:
        if not name:
            return None
        found: Json | None = self.cache(resource, label_selector=ENDPOINT_LABEL).get(Key(key.namespace, name))
        return found

    def _pods(self, key: Key) -> list[Json]:
        cache = self.cache(PODS, label_selector=ENDPOINT_LABEL)
        cache.add_index("endpoint", lambda pod: [str(owner) for owner in _endpoint_of(pod)])
        return cache.by_index("endpoint", str(key))


def _endpoint_of(obj: Json) -> Iterable[Key]:
    return [Key(obj["metadata"]["namespace"], obj["metadata"]["labels"][ENDPOINT_LABEL])]
