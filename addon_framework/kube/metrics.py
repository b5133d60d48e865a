"""What a manager tells Prometheus about its controllers (names as controller-runtime's)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """One registry per manager; nothing global."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._total = Counter(
            "controller_runtime_reconcile_total",
            "Reconciliations by controller and result",
            ["controller", "result"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Seconds a reconciliation took",
            ["controller"],
            registry=self.registry,
        )
        self._depth = Gauge("workqueue_depth", "Keys that wait", ["name"], registry=self.registry)

    def observe(self, controller: str, result: str, seconds: float, depth: int) -> None:
        """Counts one reconciliation."""
        self._total.labels(controller, result).inc()
        self._seconds.labels(controller).observe(seconds)
        self._depth.labels(controller).set(depth)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)
