"""PodDisruptionBudgets: how many pods may be evicted now.

https://kubernetes.io/docs/tasks/run-application/configure-pdb/. The API server refuses an eviction by what is
written here.
"""

from __future__ import annotations

from datetime import UTC, datetime

from addon_framework.api.conditions import set_condition
from addon_framework.api.core import DEPLOYMENTS, PODDISRUPTIONBUDGETS, PODS, REPLICASETS, STATEFULSETS
from addon_framework.api.meta import Json
from addon_framework.api.selectors import selects
from addon_framework.api.time import parse_time
from addon_framework.kube import Controller, Key, Watch, key_of, patch_status
from addon_framework.local.events import Recorder
from addon_framework.local.workloads.deployments import of_percent
from addon_framework.local.workloads.pods import controller_of, is_active, is_ready

_PATIENCE = 120.0  # seconds in which an eviction that was allowed is expected to be seen
_SCALES = {each.kind: each for each in (DEPLOYMENTS, REPLICASETS, STATEFULSETS)}


class _NoScaleError(Exception):
    """A pod whose controller has no number of replicas, where one is needed."""


class DisruptionController(Controller):
    """Counts healthy pods."""

    name = "disruption"

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def watches(self) -> list[Watch]:
        """Budgets, the pods they are about, and who says how many there should be."""
        sizes = [Watch(each, map=lambda _: []) for each in _SCALES.values()]
        return [Watch(PODDISRUPTIONBUDGETS), Watch(PODS, map=self._budgets_of), *sizes]

    async def reconcile(self, key: Key) -> float | None:
        """One budget."""
        budget = self.cache(PODDISRUPTIONBUDGETS).get(key)
        if budget is None:
            return None
        status = budget.get("status") or {}
        pods = [pod for pod in self.cache(PODS).in_namespace(key.namespace) if _selects(budget, pod)]
        pods = [pod for pod in pods if is_active(pod)]
        evicted = self._expected_to_go(status, pods)
        healthy = sum(is_ready(pod) and pod["metadata"]["name"] not in evicted for pod in pods)
        conditions = [dict(c) for c in status.get("conditions") or ()]
        generation = int(budget["metadata"].get("generation", 1))
        try:
            expected, desired = self._wanted(budget, pods)
        except _NoScaleError as error:
            self._recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", str(error))
            why = "SyncFailed", str(error)
            set_condition(conditions, "DisruptionAllowed", False, *why, generation=generation)
            new = {**status, "disruptionsAllowed": 0, "observedGeneration": generation}
            new["conditions"] = conditions
            await patch_status(self.client, PODDISRUPTIONBUDGETS, budget, new, exact=True)
            return None
        allowed = max(0, healthy - desired) if expected else 0
        reason = "SufficientPods" if allowed else "InsufficientPods"
        set_condition(conditions, "DisruptionAllowed", allowed > 0, reason, "", generation=generation)
        new = {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "observedGeneration": generation,
            "conditions": conditions,
        }
        if evicted:
            new["disruptedPods"] = evicted
        await patch_status(self.client, PODDISRUPTIONBUDGETS, budget, new, exact=True)
        return _PATIENCE if evicted else None

    def _expected_to_go(self, status: Json, pods: list[Json]) -> dict[str, str]:
        """Pods whose eviction was allowed and that are still there; not for ever."""
        there, now = {pod["metadata"]["name"] for pod in pods}, datetime.now(UTC)
        return {
            name: since
            for name, since in (status.get("disruptedPods") or {}).items()
            if name in there and (now - parse_time(since)).total_seconds() < _PATIENCE
        }

    def _wanted(self, budget: Json, pods: list[Json]) -> tuple[int, int]:
        """How many pods there should be, and how many of them healthy."""
        spec = budget["spec"]
        if (most := spec.get("maxUnavailable")) is not None:
            expected = self._scale(pods)
            return expected, max(0, expected - of_percent(most, expected, up=True))
        least = spec.get("minAvailable", 1)
        if isinstance(least, int):
            return len(pods), least
        expected = self._scale(pods)
        return expected, of_percent(least, expected, up=True)

    def _scale(self, pods: list[Json]) -> int:
        """The replicas that the pods' controllers ask for; a Deployment's counts, not its ReplicaSets'."""
        found: dict[str, int] = {}
        for pod in pods:
            obj = pod
            while (owner := controller_of(obj)) and owner["kind"] in _SCALES:
                key = Key(pod["metadata"]["namespace"], owner["name"])
                above = self.cache(_SCALES[owner["kind"]]).get(key)
                if above is None:
                    break
                obj = above
            if obj is pod:
                where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                raise _NoScaleError(f"found no controllers for pod {where!r}")
            found[obj["metadata"]["uid"]] = int(obj["spec"].get("replicas", 1))
        return sum(found.values())

    def _budgets_of(self, pod: Json) -> list[Key]:
        budgets = self.cache(PODDISRUPTIONBUDGETS).in_namespace(pod["metadata"]["namespace"])
        return [key_of(each) for each in budgets if _selects(each, pod)]


def _selects(budget: Json, pod: Json) -> bool:
    return selects(budget["spec"].get("selector"), pod["metadata"].get("labels") or {})
