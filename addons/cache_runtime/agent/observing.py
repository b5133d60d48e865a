"""What is: the pods of a cache, what they report, what works on it. The status follows from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from addon_framework.api.core import DAEMONSETS, PERSISTENTVOLUMECLAIMS, PODS, SECRETS, STATEFULSETS
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Key, key_of
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent import restoring, troubles
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.executions import Executions
from addons.cache_runtime.agent.measurements import Measurements
from addons.cache_runtime.agent.names import (
    DATALOADS,
    DATASETS,
    OPERATIONS,
    ROLES,
    dataset_key,
    pods_of,
    role_of,
    short_hash,
)
from addons.cache_runtime.agent.operations import losses
from addons.cache_runtime.agent.operations import status as operation
from addons.cache_runtime.agent.reports import Reports
from addons.cache_runtime.agent.status import Counts, Observed
from runtimes.counting import is_counted
from runtimes.interface import CacheState
from runtimes.presence import holder, is_lazy

WORKLOADS = (DAEMONSETS, STATEFULSETS)


class Observer:
    """Reads informers' caches, reports and measurements; changes nothing."""

    def __init__(
        self,
        of: Callable[[Resource], AnyInformer],
        reports: Reports,
        executions: Executions,
        measurements: Measurements,
    ) -> None:
        self._of, self._reports = of, reports
        self._executions, self._measurements = executions, measurements

    def restored(self, key: Key, binding: Binding) -> restoring.Restored | None:
        """What a cache that begins from a backup said of it; None for others."""
        pods = [pod for role in ROLES for pod in self.pods(key, role)]
        said = [self._reports.of(pod).last.get("restored") for pod in pods]
        return restoring.restored(binding, [each for each in said if each is not None], len(pods))

    def observe(self, key: Key, binding: Binding, *, problem: str = "", waiting: str = "") -> Observed:
        """All that the status follows from."""
        counts, loads = self.counts(key), self._loads(key)
        after = binding.backend.volume(binding.cache).after
        first = after == "client" and not is_lazy(binding.backend, binding.cache)
        needed = set(counts) if first else {*counts} - {"client"}
        sources = self._executions.sources(key)
        served = (
            bool(counts) and all(counts[role].ready for role in needed) and sources.mounted and not waiting
        )
        pods = [pod for role in counts for pod in self.pods(key, role)]
        states, measured = self._reports.states(pods), self._measurements.of(key)
        state = self._executions.state(key) or self._state(binding, pods)
        told = state.source or (operation.found_by(loads) if measured.opaque else None)
        claim = self._of(PERSISTENTVOLUMECLAIMS).get(key)
        return Observed(
            counts=counts,
            holder=holder(binding.backend, binding.cache),
            state=state,
            mounted=sources.mounted,
            mount_time=sources.at,
            measured=measured.counted or (told if is_counted(binding.cache) else None),
            served=served,
            ready=served and claim is not None,
            problem=problem,
            waiting=waiting or _hindrances(measured.problem, troubles.waiting_for(pods), sources.problem),
            operations=self._operations(key),
            broken=troubles.broken_pods(pods),
            unreadable=measured.problem or self._unreadable(key, binding, loads if measured.opaque else ()),
            there=measured.opaque and not operation.is_loading(loads),
            speeds=self._speeds(key),
            lost=losses.message(loads, states),
            over=troubles.over_quota(states),
        )

    def inputs(self, key: Key, binding: Binding) -> str:
        """What stands for all that a count of the source depends on."""
        versions = sorted(
            secret["metadata"].get("resourceVersion", "")
            for secret in self._of(SECRETS).in_namespace(key.namespace)
            if dataset_key(secret) == [key]
        )
        # What was loaded or migrated here may be more than was counted, and is not read if it is gone.
        ended = sorted(
            str(((op.get("status") or {}).get("infos") or {}).get("finishTime", ""))
            for resource in OPERATIONS
            if resource.kind in ("DataLoad", "DataMigrate")
            for op in self._of(resource)
            if key in of_operation(op)
            and ((op.get("status") or {}).get("phase") == "Complete" or operation.unread(op))
        )
        return short_hash(json.dumps([binding.dataset["spec"], versions, ended], sort_keys=True))

    def abandoned(self, key: Key) -> dict[str, list[str]]:
        """By node, files that are lost and that nobody loads again."""
        return losses.abandoned(self._loads(key), self._reports.states(self.pods(key)))

    def _unreadable(self, key: Key, binding: Binding, loads: Sequence[Json]) -> str:
        """Of what cannot be listed from here: that a claim is not there, or what a load says."""
        for name in _claims(binding.dataset):
            if self._of(PERSISTENTVOLUMECLAIMS).get(Key(key.namespace, name)) is None:
                return f"there is no PersistentVolumeClaim {name} in namespace {key.namespace}"
        return next(filter(None, map(operation.unread, loads)), "")

    def _loads(self, key: Key) -> list[Json]:
        loads = [op for op in self._of(DATALOADS).in_namespace(key.namespace) if key in of_operation(op)]
        return sorted(loads, key=lambda load: str(load["metadata"]["name"]))

    def _speeds(self, key: Key) -> list[Json]:
        """What the last load or client on each node measured."""
        pods = (pod for role in ("load", "client") for pod in self.pods(key, role))
        return list(self._reports.by_node(pods, "speed").values())

    def _operations(self, key: Key) -> dict[str, list[str]]:
        """Names of those that execute now, by kind."""
        found: dict[str, list[str]] = {}
        for resource in OPERATIONS:
            for op in self._of(resource):
                if key in of_operation(op) and (op.get("status") or {}).get("phase") == "Executing":
                    found.setdefault(resource.kind, []).append(op["metadata"]["name"])
        return found

    def _state(self, binding: Binding, pods: list[Json]) -> CacheState:
        """Of each node the last word: a worker's and a client's of one node are about the same cache."""
        return binding.backend.state(binding.cache, list(self._reports.by_node(pods, "state").values()))

    def of_claim(self, claim: Json) -> list[Key]:
        """The Dataset whose claim it is, and those whose source it is."""
        name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
        readers = [d for d in self._of(DATASETS).in_namespace(namespace) if name in _claims(d)]
        return [*dataset_key(claim), *map(key_of, readers)]

    def counts(self, key: Key) -> dict[str, Counts]:
        """Pods by role, as their workloads count them."""
        found: dict[str, Counts] = {}
        for obj in (obj for resource in WORKLOADS for obj in self._of(resource)):
            if dataset_key(obj) != [key]:
                continue
            said = obj.get("status") or {}
            if obj["kind"] == "DaemonSet":
                names = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady")
                numbers = [int(said.get(name) or 0) for name in names]
            else:
                numbers = [int(obj["spec"].get("replicas", 1))]
                numbers += [int(said.get(name) or 0) for name in ("replicas", "readyReplicas")]
            found[role_of(obj)] = Counts(*numbers)
        return found

    def pods(self, key: Key, role: str = "") -> list[Json]:
        """Ours of one role, or of any."""
        return [pod for pod in pods_of(self._of(PODS), key) if role in ("", role_of(pod))]

    def ending(self, key: Key, binding: Binding, waiting: str) -> Observed:
        """The same of a cache that is being taken down."""
        return Observed(
            counts=self.counts(key),
            holder="worker" if binding.problems else holder(binding.backend, binding.cache),
            measured=self._measurements.of(key).counted,
            in_use=waiting,
            ready=True,
        )


def _hindrances(source: str, pods: str, mounting: str) -> str:
    """Why it cannot be mounted. A source that cannot be read is why clients crash, and they do not say it."""
    return "; ".join(filter(None, (source, pods or ("" if source else mounting))))


def _claims(dataset: Json) -> list[str]:
    """Of sources: pvc://name/path."""
    mounts = [str(m.get("mountPoint") or "") for m in (dataset.get("spec") or {}).get("mounts") or []]
    named = (each.removeprefix("pvc://").partition("/")[0] for each in mounts if each.startswith("pvc://"))
    return sorted(set(named))


def of_operation(op: Json) -> list[Key]:
    """The Datasets that an operation works on."""
    spec = op.get("spec") or {}
    named = [spec.get("dataset"), *((spec.get(end) or {}).get("dataset") for end in ("from", "to"))]
    return [
        Key(target.get("namespace") or op["metadata"]["namespace"], target.get("name", ""))
        for target in ({"name": each} if isinstance(each, str) else each for each in named)
        if target
    ]
