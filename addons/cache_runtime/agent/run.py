"""The agent: a controller of Datasets, and one of each kind of operation, over one manager."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from addon_framework.api.core import PODS, SECRETS
from addon_framework.api.meta import Json
from addon_framework.kube import Key, Manager, until_reached
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
from addons.cache_runtime.agent.operations.turns import Name
from addons.cache_runtime.agent.reports import Reports
from addons.cache_runtime.agent.scores import publish_scores
from runtimes.interface import Backend

PATIENCE = 60.0  # seconds that the API server may be away when the agent starts


async def run_agent(
    context: AgentContext,
    *,
    image: str = DEFAULT_IMAGE,
    backends: Sequence[Backend] | None = None,
    owner_uid: str = "",
    webhooks: Address | None = None,
    metrics: tuple[str, int] | None = None,
) -> None:
    """Runs until cancelled. `owner_uid` is that of the ManagedClusterAddOn, which the scores belong to.

    `metrics` is the host and port that Prometheus asks.
    """
    if backends is None:
        backends = await until_reached(lambda: served_backends(context.spoke), timeout=PATIENCE)
    manager = Manager(context.spoke, name=FIELD_MANAGER)
    resolver = Resolver(backends, image, lambda resource: datasets.of(resource))
    datasets = DatasetController(resolver, install_namespace=context.install_namespace)
    manager.add(datasets)

    def wake(name: Name) -> None:
        operations[name[0]].queue.add(name[1])

    shared = Shared((Load(), Migrate(), Backup(), Process()), resolver, datasets, context.spoke, wake)
    operations = {kind.name: OperationController(kind, shared) for kind in shared.kinds}
    for controller in operations.values():
        manager.add(controller)

    def changed(key: Key) -> None:
        datasets.queue.add(key)
        for controller in operations.values():
            for operation in controller.of_dataset(key):
                controller.queue.add(operation)

    def parse(key: Key, line: str) -> Json | None:
        dataset = datasets.of(DATASETS).get(key)
        binding = resolver.bind(dataset, key) if dataset is not None else None
        return binding.backend.report(line) if binding is not None else None

    def reported(pod: Json) -> None:
        for key in dataset_key(pod):
            changed(key)

    reports = Reports(context.spoke, parse, reported)
    credentials = Credentials(context.spoke, context.hub, context.cluster_name, datasets.of(SECRETS), changed)
    datasets.wire(credentials, reports)
    manager.informer(PODS).on_event(reports.pod_changed)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(manager.run())
            if webhooks is not None:
                reviewer = Reviewer(resolver, datasets.of, shared.kinds, datasets.references)
                group.create_task(serve(context.spoke, reviewer, backends, webhooks))
            if metrics is not None:
                known = [datasets.of(kind.resource) for kind in shared.kinds]
                told = Metrics(manager.metrics.registry, datasets.of(DATASETS), known)
                group.create_task(serve_metrics(told, *metrics))
            if context.hub is not None:
                scored = datasets.of(DATASETS)
                group.create_task(
                    publish_scores(context.hub, scored, context.cluster_name, context.addon_name, owner_uid)
                )
    finally:
        credentials.close()
        shared.close()
        datasets.measurements.close()
        datasets.executions.close()
        reports.close()
