"""Serves the webhooks and tells the API server where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from addon_framework.api.core import CLUSTERROLES
from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.kube import Client, Key, until_reached
from addon_framework.kube.informer import AnyInformer
from addon_framework.kube.webhook import WebhookServer
from addons.cache_runtime.admission.directories import claims, expression
from addons.cache_runtime.admission.names import CONFIGURATION, MUTATING, PORT, ROLE, SERVICE, VALIDATING
from addons.cache_runtime.admission.review import SIDECAR_LABEL, Reviewer
from addons.cache_runtime.agent.names import AFFINITY_LABEL, DATASETS, FIELD_MANAGER, OPERATIONS
from addons.cache_runtime.agent.references import References
from runtimes.interface import Backend

log = structlog.get_logger(__name__)
_MUTATE, _ENTER, _VALIDATE = "/mutate", "/enter", "/validate"
_PATIENCE = 300.0  # seconds that the API server may be away
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


async def serve(
    client: Client,
    reviewer: Reviewer,
    backends: Sequence[Backend],
    address: Address,
    datasets: AnyInformer,
    references: References,
) -> None:
    """Listens, then has the API server ask, until cancelled. Raises OSError."""
    answers = {_MUTATE: reviewer.mutate, _ENTER: reviewer.enter, _VALIDATE: reviewer.validate}
    server = WebhookServer(answers, name=address.name, host=address.host, port=address.port)
    configuration = Configuration(client, server, address)
    changed = asyncio.Event()

    def seen(old: Json | None, new: Json | None) -> None:
        if claims(each for each in (old, new) if each is not None):
            changed.set()

    datasets.on_event(seen)
    await server.start()
    try:
        await datasets.synced()  # or directories that were entered before would not be for a while
        profiles = {b.profile.resource for b in backends if b.profile is not None}
        runtimes = [backend.resource for backend in backends]
        await configuration.validate([DATASETS, *OPERATIONS, *runtimes, *sorted(profiles, key=str)])
        log.info("webhooks serve", address=f"{address.host}:{address.port}")
        while True:
            changed.clear()
            entered = claims(datasets)
            await until_reached(lambda: configuration.mutate(entered), timeout=_PATIENCE)  # noqa: B023
            references.enter(entered)
            await changed.wait()
    finally:
        await server.stop()


class Configuration:
    """What the API server asks. Both objects go when the add-on's ClusterRole does."""

    def __init__(self, client: Client, server: WebhookServer, address: Address) -> None:
        self._client, self._server, self._address = client, server, address

    async def validate(self, resources: Sequence[Resource]) -> None:
        """About objects of these kinds."""
        await self._apply(VALIDATING, _validating(self._at(_VALIDATE), resources))

    async def mutate(self, entered: frozenset[Key]) -> None:
        """About pods with our labels, and those that mount one of the claims."""
        hooks = _mutating(self._at(_MUTATE))
        if entered:
            hooks.append(_entering(self._at(_ENTER), entered))
        await self._apply(MUTATING, hooks)

    def _at(self, path: str) -> Json:
        return self._address.client_config(path, self._server.bundle)

    async def _apply(self, resource: Resource, webhooks: list[Json]) -> None:
        role = await self._client.get(CLUSTERROLES, ROLE)
        configuration = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": CONFIGURATION, "ownerReferences": [owner_reference(role, CLUSTERROLES)]},
            "webhooks": webhooks,
        }
        await self._client.apply(configuration, field_manager=FIELD_MANAGER, resource=resource)


def _mutating(config: Json) -> list[Json]:
    return [
        {
            **_of_pods(f"{label.split('.')[1]}.pods.data.boundaryless.io", config, policy),
            "objectSelector": {"matchLabels": {label: "true"}},
            "reinvocationPolicy": "IfNeeded",
        }
        for label, policy in _PODS.items()
    ]


def _entering(config: Json, entered: frozenset[Key]) -> Json:
    """Once for each pod, and last, since it adds to what the others have made."""
    return {
        **_of_pods("directories.pods.data.boundaryless.io", config, "Fail"),
        "matchConditions": [{"name": "mounts-a-directory", "expression": expression(entered)}],
        "reinvocationPolicy": "Never",
    }


def _of_pods(name: str, config: Json, policy: str) -> Json:
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    return {
        "name": name,
        "clientConfig": config,
        "rules": [{**pods, "scope": "Namespaced"}],
        "failurePolicy": policy,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 10,
    }


def _validating(config: Json, resources: Sequence[Resource]) -> list[Json]:
    rules = [
        {
            "apiGroups": [resource.group],
            "apiVersions": [resource.version],
            "resources": [resource.plural],
            "operations": ["CREATE", "UPDATE"],
            "scope": "Namespaced" if resource.namespaced else "Cluster",
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
