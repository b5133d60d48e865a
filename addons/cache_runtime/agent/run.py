"""The agent: two controllers over one manager."""

from __future__ import annotations

from collections.abc import Sequence

from addon_framework.api.core import PODS
from addon_framework.api.meta import Json
from addon_framework.kube import Key, Manager
from addon_framework.plugins import AgentContext
from addon_framework.plugins.manifests import DEFAULT_IMAGE
from addons.cache_runtime.agent.backends import Resolver, served_backends
from addons.cache_runtime.agent.credentials import Credentials
from addons.cache_runtime.agent.dataload import DataLoadController
from addons.cache_runtime.agent.dataset import DatasetController
from addons.cache_runtime.agent.names import DATASETS, FIELD_MANAGER, dataset_key
from addons.cache_runtime.agent.reports import Reports
from runtimes.interface import Backend


async def run_agent(
    context: AgentContext, *, image: str = DEFAULT_IMAGE, backends: Sequence[Backend] | None = None
) -> None:
    """Runs until cancelled."""
    if backends is None:
        backends = await served_backends(context.spoke)
    manager = Manager(context.spoke, name=FIELD_MANAGER)
    resolver = Resolver(backends, image, lambda resource: datasets.of(resource))
    datasets = DatasetController(resolver, install_namespace=context.install_namespace)
    loads = DataLoadController(resolver, datasets)
    manager.add(datasets)
    manager.add(loads)

    def changed(key: Key) -> None:
        datasets.queue.add(key)
        for load in loads.loads_for(key):
            loads.queue.add(load)

    def parse(key: Key, line: str) -> Json | None:
        dataset = datasets.of(DATASETS).get(key)
        binding = resolver.bind(dataset, key) if dataset is not None else None
        return binding.backend.report(line) if binding is not None else None

    def reported(pod: Json) -> None:
        for key in dataset_key(pod):
            changed(key)

    reports = Reports(context.spoke, parse, reported)
    credentials = Credentials(context.spoke, context.hub, context.cluster_name, datasets.copies(), changed)
    datasets.wire(credentials, reports)
    manager.informer(PODS).on_event(reports.pod_changed)
    try:
        await manager.run()
    finally:
        credentials.close()
        datasets.measurements.close()
        reports.close()
