"""What the agent tells Prometheus: Fluid's names where it has them, and what autoscaling needs.

Gauges are read from the statuses when somebody asks; histograms count what has ended since the agent began.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.status import BOUND

_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)
_ENDS = ("Complete", "Failed")
# Metric -> what it is, and the field of status.numbers.
_NUMBERS = {
    "dataset_ufs_total_size": ("Bytes at the source", "sourceBytes"),
    "dataset_ufs_file_num": ("Files at the source", "sourceFiles"),
    "dataset_cached_bytes": ("Bytes in the cache, on the node that has the least", "cachedBytes"),
    "dataset_cache_capacity_bytes": ("Bytes that the cache may hold on a node", "capacityBytes"),
    "dataset_cache_hit_percent": ("Reads that the cache answered in the last ten minutes", "hitPercent"),
    "dataset_cache_read_bytes_per_second": ("The cache as measured", "cacheBytesPerSecond"),
    "dataset_source_read_bytes_per_second": ("The source as measured", "sourceBytesPerSecond"),
}


class Metrics:
    """Of one agent, in the registry of its manager."""

    def __init__(
        self, registry: CollectorRegistry, datasets: AnyInformer, operations: Iterable[AnyInformer]
    ) -> None:
        self._registry = registry
        self._registry.register(_Statuses(datasets))
        self._bound = Histogram(
            "dataset_bind_seconds",
            "From a Dataset's creation until it could be mounted",
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._ended = Histogram(
            "dataset_operation_seconds",
            "How long operations took, by kind and phase",
            ["kind", "phase"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._origin = Counter(
            "dataset_origin_bytes",
            "Bytes that loads have read from the source",
            ["dataset", "namespace"],
            registry=self._registry,
        )
        datasets.on_event(self._dataset)
        for informer in operations:
            informer.on_event(self._operation)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)

    def _dataset(self, old: Json | None, new: Json | None) -> None:
        """The first time only: a Dataset whose pods came back has been bound for long."""
        if new is None and old is not None:
            with contextlib.suppress(KeyError):  # nothing was loaded into it
                self._origin.remove(_title(old), old["metadata"]["namespace"])
        if old is None or new is None or _phase(new) != BOUND or _phase(old) == BOUND:
            return
        if not any(c.get("type") == "RuntimeScheduled" for c in _conditions(old)):
            self._bound.observe(_since(new["metadata"].get("creationTimestamp")))

    def _operation(self, old: Json | None, new: Json | None) -> None:
        if old is None or new is None or _phase(new) not in _ENDS or _phase(old) in _ENDS:
            return
        infos = (new.get("status") or {}).get("infos") or {}
        began, ended = float(infos.get("startTime") or 0), float(infos.get("finishTime") or 0)
        if began and ended:
            self._ended.labels(new.get("kind", ""), _phase(new)).observe(max(0.0, ended - began))
        if origin := int(infos.get("originBytes") or 0):
            target = new["spec"]["dataset"]
            namespace = target.get("namespace") or new["metadata"]["namespace"]
            self._origin.labels(f"{namespace}/{target['name']}", namespace).inc(origin)


class _Statuses(Collector):
    """The Datasets as they are at the moment."""

    def __init__(self, datasets: AnyInformer) -> None:
        self._datasets = datasets

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """`dataset` is namespace/name, as Fluid has it; `fluid_runtime` and `namespace` are for the HPA."""
        datasets = sorted(self._datasets, key=lambda d: (d["metadata"]["namespace"], d["metadata"]["name"]))
        for name, (text, field) in _NUMBERS.items():
            family = GaugeMetricFamily(name, text, labels=["dataset"])
            for dataset in datasets:
                if (value := _numbers(dataset).get(field)) is not None:
                    family.add_metric([_title(dataset)], value)
            yield family
        ready = GaugeMetricFamily(
            "dataset_ready", "1: it can be mounted, and all of its pods work", labels=["dataset"]
        )
        used = GaugeMetricFamily(
            "capacity_used_rate",
            "Percent of the cache's capacity that is used",
            labels=["dataset", "namespace", "fluid_runtime"],
        )
        for dataset in datasets:
            broken = [c for c in _conditions(dataset) if (c["type"], c["status"]) == ("NotReady", "True")]
            ready.add_metric([_title(dataset)], int(_phase(dataset) == BOUND and not broken))
            numbers, metadata = _numbers(dataset), dataset["metadata"]
            if numbers.get("capacityBytes") and "cachedBytes" in numbers:
                percent = 100 * numbers["cachedBytes"] / numbers["capacityBytes"]
                used.add_metric([_title(dataset), metadata["namespace"], metadata["name"]], percent)
        yield ready
        yield used


async def serve_metrics(metrics: Metrics, host: str, port: int) -> None:
    """GET /metrics, until cancelled. Raises OSError."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _phase(obj: Json) -> str:
    return str((obj.get("status") or {}).get("phase", ""))


def _conditions(obj: Json) -> list[Json]:
    return (obj.get("status") or {}).get("conditions") or []


def _numbers(dataset: Json) -> Json:
    return (dataset.get("status") or {}).get("numbers") or {}


def _title(dataset: Json) -> str:
    return f"{dataset['metadata']['namespace']}/{dataset['metadata']['name']}"


def _since(created: str | None) -> float:
    if not created:
        return 0.0
    return max(0.0, (parse_time(now_rfc3339()) - parse_time(created)).total_seconds())
