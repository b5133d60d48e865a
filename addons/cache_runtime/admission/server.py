"""Serves the webhooks and tells the API server where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from addon_framework.api.core import CLUSTERROLES
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client
from addon_framework.kube.webhook import WebhookServer
from addons.cache_runtime.admission.names import CONFIGURATION, MUTATING, PORT, ROLE, SERVICE, VALIDATING
from addons.cache_runtime.admission.review import SIDECAR_LABEL, Reviewer
from addons.cache_runtime.agent.names import AFFINITY_LABEL, DATASETS, FIELD_MANAGER, OPERATIONS
from runtimes.interface import Backend

log = structlog.get_logger(__name__)
_MUTATE, _VALIDATE = "/mutate", "/validate"
# Pods that want to be where the data is can do without; pods that bring it along cannot.
_PODS = {AFFINITY_LABEL: "Ignore", SIDECAR_LABEL: "Fail"}


@dataclass(frozen=True)
class Address:
    """Where the webhooks listen, and how the API server finds them: a Service's reference, or a URL."""

    host: str
    name: str  # of the certificate
    service: Mapping[str, str] | None = None
    port: int = PORT

    @classmethod
    def of_pod(cls, ip: str, namespace: str) -> Address:
        """Behind the add-on's Service."""
        return cls(ip, f"{SERVICE}.{namespace}.svc", {"name": SERVICE, "namespace": namespace})

    def client_config(self, path: str, bundle: str) -> Json:
        """As a webhook has it."""
        if self.service is not None:
            return {"service": {**self.service, "path": path, "port": 443}, "caBundle": bundle}
        return {"url": f"https://{self.name}:{self.port}{path}", "caBundle": bundle}


async def serve(client: Client, reviewer: Reviewer, backends: Sequence[Backend], address: Address) -> None:
    """Listens, then has the API server ask, until cancelled. Raises OSError."""
    answers = {_MUTATE: reviewer.mutate, _VALIDATE: reviewer.validate}
    server = WebhookServer(answers, name=address.name, host=address.host, port=address.port)
    await server.start()
    try:
        await _configure(client, server, backends, address)
        log.info("webhooks serve", address=f"{address.host}:{address.port}")
        await asyncio.Event().wait()
    finally:
        await server.stop()


async def _configure(
    client: Client, server: WebhookServer, backends: Sequence[Backend], address: Address
) -> None:
    """Both configurations go when the add-on's ClusterRole does."""
    role = await client.get(CLUSTERROLES, ROLE)
    owner = {
        "apiVersion": CLUSTERROLES.api_version,
        "kind": CLUSTERROLES.kind,
        "name": ROLE,
        "uid": role["metadata"]["uid"],
    }
    resources = [DATASETS, *OPERATIONS, *(backend.resource for backend in backends)]
    for resource, webhooks in (
        (MUTATING, _mutating(address.client_config(_MUTATE, server.bundle))),
        (VALIDATING, _validating(address.client_config(_VALIDATE, server.bundle), resources)),
    ):
        configuration = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": CONFIGURATION, "ownerReferences": [owner]},
            "webhooks": webhooks,
        }
        await client.apply(configuration, field_manager=FIELD_MANAGER, resource=resource)


def _mutating(config: Json) -> list[Json]:
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    return [
        {
            "name": f"{label.split('.')[1]}.pods.data.boundaryless.io",
            "clientConfig": config,
            "objectSelector": {"matchLabels": {label: "true"}},
            "rules": [{**pods, "scope": "Namespaced"}],
            "failurePolicy": policy,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 10,
            "reinvocationPolicy": "IfNeeded",
        }
        for label, policy in _PODS.items()
    ]


def _validating(config: Json, resources: Sequence[Resource]) -> list[Json]:
    rules = [
        {
            "apiGroups": [resource.group],
            "apiVersions": [resource.version],
            "resources": [resource.plural],
            "operations": ["CREATE", "UPDATE"],
            "scope": "Namespaced",
        }
        for resource in resources
    ]
    return [
        {
            "name": "datasets.data.boundaryless.io",
            "clientConfig": config,
            "rules": rules,
            # While the agent is away its status says later what it would have said at once.
            "failurePolicy": "Ignore",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 10,
        }
    ]
