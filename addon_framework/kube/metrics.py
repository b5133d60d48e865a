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
        self._known: dict[tuple[str, str], tuple[Counter, Histogram, Gauge]] = {}

    def observe(self, controller: str, result: str, seconds: float, depth: int) -> None:
        """Counts one reconciliation."""
        key = controller, result
        if key not in self._known:  # the library's look-up costs as much as the counting
            self._known[key] = (
                self._total.labels(controller, result),
                self._seconds.labels(controller),
                self._depth.labels(controller),
            )
        total, histogram, gauge = self._known[key]
        total.inc()
        histogram.observe(seconds)
        gauge.set(depth)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)
