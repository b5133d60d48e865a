"""DataLoad: one job on every node of the cache, as soon as the source can be read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from addon_framework.api.data import DataLoad
from addon_framework.api.meta import Json, from_dict
from addon_framework.api.time import parse_time
from addon_framework.kube import Key
from addons.cache_runtime.agent.affinities import joined
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import LOAD_FINALIZER, short_hash
from addons.cache_runtime.agent.operations.coverage import Coverage, coverage, hosts_of
from addons.cache_runtime.agent.operations.kinds import (
    Kind,
    Part,
    Plan,
    RefusedError,
    invalid,
    own_namespace,
    title,
)
from runtimes.interface import Task
from runtimes.pods import on_node


class Load(Kind):
    """Warms caches; several may at once."""

    resource = DataLoad.RESOURCE
    role = "load"
    finalizer = LOAD_FINALIZER

    def targets(self, op: Json) -> list[Key]:
        """The Dataset that it names."""
        target = (op.get("spec") or {}).get("dataset") or {}
        return [Key(target.get("namespace") or op["metadata"]["namespace"], target.get("name", ""))]

    def check(self, op: Json) -> None:
        """The namespace, and the paths."""
        own_namespace(op, [("dataset", self.targets(op)[0])])
        for number, target in enumerate((op.get("spec") or {}).get("target") or []):
            field, path = f"spec.target[{number}]", str(target.get("path") or "")
            if not path or ".." in path.split("/"):
                raise invalid(op, f"{field}.path", f"{path!r} must be a path in the Dataset, / for all of it")
            if int(target.get("replicas") or 0) < 0:
                raise invalid(op, f"{field}.replicas", "must not be negative")

    def supports(self, op: Json, bindings: Sequence[Binding]) -> None:
        """A cache, and options that mean something to it."""
        (binding,) = bindings
        load, runtime = from_dict(DataLoad, op), binding.runtime
        if problems := binding.backend.load_problems(binding.cache, load):
            raise RefusedError("DataOperationNotValid", f"{title(op)}: {'; '.join(problems)}")
        if binding.backend.warm(binding.cache, load) is None:
            raise RefusedError(
                "DataOperationNotSupport",
                f"{title(op)}: {runtime.get('kind')} {binding.cache.name} keeps nothing, so it loads nothing",
            )
        nodes = binding.backend.scale(binding.cache)
        for number, target in enumerate(load.spec.target):
            if nodes is not None and target.replicas > nodes:
                raise invalid(
                    op,
                    f"spec.target[{number}].replicas",
                    f"{target.replicas} copies need as many nodes, and {runtime.get('kind')} "
                    f"{binding.cache.name} has spec.replicas {nodes}",
                )

    def plan(self, op: Json, bindings: Sequence[Binding], pods: Sequence[Json], affinity: Json) -> Plan:
        """The backend's task, once per node."""
        (binding,) = bindings
        spec = op.get("spec") or {}
        self.supports(op, bindings)
        task = _task(op, bindings)
        assert task is not None
        hosts = hosts_of(task, pods)
        if not hosts:
            return Plan(waiting="waiting for the cache's pods to be on nodes that this may use")
        name = op["metadata"]["name"]
        if task.once:
            hosts = [""]
        pod: Json = {
            "tolerations": [*binding.cache.dataset.spec.tolerations, *(spec.get("tolerations") or [])],
            **task.pod,
        }
        if spec.get("nodeSelector"):
            pod["nodeSelector"] = spec["nodeSelector"]
        return Plan([Part(_name(name, host, len(hosts)), _on(pod, spec, host), host) for host in hosts])

    def coverage(
        self,
        op: Json,
        bindings: Sequence[Binding],
        pods: Sequence[Json],
        workloads: Sequence[Json],
        now: datetime,
    ) -> Coverage | None:
        """Every node of the cache."""
        task = _task(op, bindings)
        return coverage(task, pods, workloads, _since(op), now) if task is not None else None

    def per_node(self, op: Json, bindings: Sequence[Binding]) -> bool:
        """Unless a cache loads itself as a whole."""
        task = _task(op, bindings)
        return task is not None and not task.once


def _task(op: Json, bindings: Sequence[Binding]) -> Task | None:
    (binding,) = bindings
    return binding.backend.warm(binding.cache, from_dict(DataLoad, op))


def _since(load: Json) -> datetime:
    """When it began, or was made."""
    started = ((load.get("status") or {}).get("infos") or {}).get("startTime")
    if started is not None:
        return datetime.fromtimestamp(float(started), UTC)
    return parse_time(load["metadata"]["creationTimestamp"])


def _on(pod: Json, spec: Json, host: str) -> Json:
    affinity = joined(spec.get("affinity") or {}, on_node(host) if host else {})
    return {**pod, "affinity": affinity} if affinity else pod


def _name(load: str, host: str, hosts: int) -> str:
    """Fluid's name where there is one node."""
    return f"{load}-loader-job" if hosts == 1 else f"{load}-loader-job-{short_hash(host)[:5]}"
