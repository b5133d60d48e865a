"""The agent: a controller of Datasets, and one of each kind of operation, over one manager."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from addon_framework.api.cluster import Placement
from addon_framework.api.core import PODS, SECRETS
from addon_framework.api.meta import Json
from addon_framework.kube import Client, Key, Manager, NotFound, until_reached
from addon_framework.plugins import AgentContext
from addon_framework.plugins.manifests import DEFAULT_IMAGE
from addons.cache_runtime.admission.review import Reviewer
from addons.cache_runtime.admission.server import Address, serve
from addons.cache_runtime.agent.backends import Resolver, served_backends
from addons.cache_runtime.agent.credentials import Credentials
from addons.cache_runtime.agent.dataset import DatasetController
from addons.cache_runtime.agent.metrics import Metrics, serve_metrics
from addons.cache_runtime.agent.names import DATASETS, FIELD_MANAGER, dataset_key
from addons.cache_runtime.agent.operations.backup import Backup
from addons.cache_runtime.agent.operations.controller import OperationController
from addons.cache_runtime.agent.operations.load import Load
from addons.cache_runtime.agent.operations.migrate import Migrate
from addons.cache_runtime.agent.operations.process import Process
from addons.cache_runtime.agent.operations.shared import Shared
from addons.cache_runtime.agent.reports import Reports
from addons.cache_runtime.agent.scores import publish_scores
from addons.cache_runtime.agent.secrets import Name
from runtimes.interface import Backend
from runtimes.node_directories import NodeDirectories

PATIENCE = 60.0  # seconds that the API server may be away when the agent starts


async def run_agent(
    context: AgentContext,
    *,
    image: str = DEFAULT_IMAGE,
    backends: Sequence[Backend] | None = None,
    owner_uid: str = "",
    webhooks: Address | None = None,
    metrics: tuple[str, int] | None = None,
    directories: NodeDirectories | None = None,
) -> None:
    """Runs until cancelled. `owner_uid` is that of the ManagedClusterAddOn, which the scores belong to.

    `metrics` is the host and port that Prometheus asks, `directories` what objects may name of nodes.
    """
    if backends is None:
        backends = await until_reached(lambda: served_backends(context.spoke), timeout=PATIENCE)
    on_hub = await until_reached(lambda: _is_hub(context.spoke), timeout=PATIENCE)
    agent = _Agent(context, image, backends, directories, on_hub)
    datasets = agent.datasets
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.manager.run())
            if webhooks is not None:
                references, known = datasets.references, datasets.of(DATASETS)
                reviewer = Reviewer(agent.resolver, datasets.of, agent.shared.kinds, references)
                group.create_task(serve(context.spoke, reviewer, backends, webhooks, known, references))
            if metrics is not None:
                operations = [datasets.of(kind.resource) for kind in agent.shared.kinds]
                told = Metrics(agent.manager.metrics.registry, datasets.of(DATASETS), operations)
                group.create_task(serve_metrics(told, *metrics))
            if context.hub is not None:
                scored = datasets.of(DATASETS)
                group.create_task(
                    publish_scores(context.hub, scored, context.cluster_name, context.addon_name, owner_uid)
                )
    finally:
        agent.close()


async def _is_hub(spoke: Client) -> bool:
    """Whether Placements are decided here."""
    resource = Placement.RESOURCE
    try:
        await spoke.resource_for(resource.api_version, resource.kind)
    except NotFound:
        return False
    return True


class _Agent:
    """The controllers, and what they tell each other."""

    def __init__(
        self,
        context: AgentContext,
        image: str,
        backends: Sequence[Backend],
        directories: NodeDirectories | None,
        on_hub: bool,
    ) -> None:
        spoke, hub = context.spoke, context.hub
        self.manager = Manager(spoke, name=FIELD_MANAGER)
        self.resolver = Resolver(
            backends, image, lambda resource: self.datasets.of(resource), directories, on_hub=on_hub
        )
        self.datasets = DatasetController(self.resolver, install_namespace=context.install_namespace)
        kinds = (Load(), Migrate(), Backup(directories), Process())
        self.shared = Shared(kinds, self.resolver, self.datasets, spoke, self._wake)
        self._operations = {kind.name: OperationController(kind, self.shared) for kind in kinds}
        for controller in (self.datasets, *self._operations.values()):
            self.manager.add(controller)
        secrets = self.datasets.of(SECRETS)
        self._credentials = Credentials(spoke, hub, context.cluster_name, secrets, self._changed)
        self._reports = Reports(spoke, self._parse, self._reported)
        self.datasets.wire(self._credentials, self._reports)
        self.manager.informer(PODS).on_event(self._reports.pod_changed)

    def close(self) -> None:
        """Ends what runs beside the controllers."""
        self._credentials.close()
        self.shared.close()
        self.datasets.measurements.close()
        self.datasets.executions.close()
        self.datasets.secrets.close()
        self._reports.close()

    def _wake(self, name: Name) -> None:
        self._operations[name[0]].queue.add(name[1])

    def _changed(self, key: Key) -> None:
        self.datasets.queue.add(key)
        for controller in self._operations.values():
            for operation in controller.of_dataset(key):
                controller.queue.add(operation)

    def _parse(self, key: Key, line: str) -> Json | None:
        dataset = self.datasets.of(DATASETS).get(key)
        binding = self.resolver.bind(dataset, key) if dataset is not None else None
        return binding.backend.report(line) if binding is not None else None

    def _reported(self, pod: Json) -> None:
        for key in dataset_key(pod):
            self._changed(key)
