"""The controller of one kind of operation: None, Pending, Executing, Complete or Failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from addon_framework.api.core import (
    CONFIGMAPS,
    CRONJOBS,
    DAEMONSETS,
    JOBS,
    NODES,
    PODS,
    SECRETS,
    STATEFULSETS,
)
from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.kube import Controller, Key, NotFound, Watch, key_of, patch_status
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent import copies
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import (
    DATASETS,
    EXCLUSIVE_ANNOTATION,
    HUB_SECRET_ANNOTATION,
    MANAGED,
    dataset_key,
    pods_of,
)
from addons.cache_runtime.agent.operations import inputs, losses, runafter, status
from addons.cache_runtime.agent.operations.jobs import operation_key
from addons.cache_runtime.agent.operations.kinds import Kind, Plan, RefusedError, refuse_reference
from addons.cache_runtime.agent.operations.running import Runner
from addons.cache_runtime.agent.operations.schedule import check_policy
from addons.cache_runtime.agent.operations.shared import Shared
from addons.cache_runtime.agent.operations.turns import Claim
from addons.cache_runtime.agent.secrets import Name

_LOOK = 2.0  # seconds until what is on its way is looked for again; of much of it there is an event


class OperationController(Controller):
    """One key per operation of its kind; what the kinds have in common is in `shared`."""

    workers = 4

    def __init__(self, kind: Kind, shared: Shared) -> None:
        self.kind, self.shared = kind, shared
        self.name = kind.name.lower()
        self._runner: Runner

    def of(self, resource: Resource) -> AnyInformer:
        """The informers are those of the Dataset controller."""
        return self.shared.datasets.of(resource)

    def watches(self) -> list[Watch]:
        """Its jobs and pods, what it waits for, and who waits for it."""
        jobs = [
            Watch(resource, map=lambda obj: operation_key(self.kind, obj), label_selector=MANAGED)
            for resource in (JOBS, CRONJOBS, CONFIGMAPS)
        ]
        others = [kind.resource for kind in self.shared.kinds]
        return [
            Watch(self.kind.resource),
            *(Watch(resource, map=self._neighbours) for resource in others),
            Watch(DATASETS, map=lambda obj: self.of_dataset(key_of(obj))),
            *(
                Watch(backend.resource, map=lambda obj: self.of_dataset(key_of(obj)))
                for backend in self.shared.resolver.backends
            ),
            *jobs,
            Watch(SECRETS, map=self._of_ours, label_selector=MANAGED),
            Watch(PODS, map=self._of_ours),
        ]

    async def start(self) -> None:
        """What ran before a restart still has its turn."""
        self._runner = Runner(self.kind, self.client, self.of, self.shared)
        for kind in self.shared.kinds:
            for op in self.of(kind.resource):
                if (op.get("status") or {}).get("phase") == status.EXECUTING:
                    self.shared.turns.ask(self._claim(kind, op), force=True)

    def of_dataset(self, key: Key) -> list[Key]:
        """Every operation of this kind on a Dataset."""
        return [
            key_of(op)
            for op in self.of(self.kind.resource).in_namespace(key.namespace)
            if key in self.kind.targets(op)
        ]

    def _of_ours(self, obj: Json) -> list[Key]:
        return [op for key in dataset_key(obj) for op in self.of_dataset(key)]

    def _neighbours(self, obj: Json) -> list[Key]:
        """Of this kind: those that run after an operation, and the one it runs after."""
        me = (obj.get("kind", ""), key_of(obj))
        found = [key_of(op) for op in self.of(self.kind.resource) if runafter.predecessor(op) == me]
        named = runafter.predecessor(obj)
        return [*found, named[1]] if named is not None and named[0] == self.kind.name else found

    async def reconcile(self, key: Key) -> float | None:
        """One step of the state machine."""
        op = self.of(self.kind.resource).get(key)
        if op is None:
            self.shared.forget((self.kind.name, key))
            return None
        if op["metadata"].get("deletionTimestamp"):
            await self._end(key, op)
            return None
        if any(self.shared.resolver.of_fleet(self.of(DATASETS).get(at)) for at in self.kind.targets(op)):
            return None  # its status is the fleet's controllers' on this hub
        there = op["metadata"].get("finalizers") or []
        if self.kind.finalizer not in there:
            await self._patch_metadata(op, {"finalizers": [*there, self.kind.finalizer]})
            return None
        if stranger := self._stranger(op):
            self.shared.turns.end((self.kind.name, key))
            await self._runner.remove(key)
            await self._runner.fail(op, "DataOperationNotValid", stranger, inputs.of_spec(op))
            return None
        if lost := self._lost(op):
            await self._runner.lose(key, op, lost)
            return None  # the next step comes with its status
        if self._is_over(op) and not await self._joined(key, op):
            self.shared.turns.end((self.kind.name, key))
            await patch_status(self.client, self.kind.resource, op, status.settled(op))
            return await self._expire(op)
        try:
            return await self._proceed(key, op)
        except RefusedError as error:
            self.shared.turns.end((self.kind.name, key))
            await self._runner.fail(op, error.reason, str(error), inputs.of_spec(op))
            return await self._expire(op)

    def _stranger(self, op: Json) -> str:
        """Why one of the fleet's must not work here: the Dataset of that name is the cluster's own."""
        targets = self.kind.targets(op)
        dataset = self.of(DATASETS).get(targets[-1]) if targets else None
        return copies.stranger(self.kind.name, op, [(DATASETS.kind, dataset)]) if dataset is not None else ""

    def _is_over(self, op: Json) -> bool:
        """Done once and for all: unless what a Dataset mounts has changed since it was loaded."""
        said = op.get("status") or {}
        once = ((op.get("spec") or {}).get("policy") or "Once") == "Once"
        if said.get("phase") != status.COMPLETE or not once:
            return False
        loaded = (said.get("infos") or {}).get("mounts")
        dataset = self.of(DATASETS).get(self.kind.targets(op)[0])
        return loaded is None or dataset is None or loaded == inputs.of_mounts(dataset)

    async def _proceed(self, key: Key, op: Json) -> float | None:
        check_policy(op)
        runafter.check(op)
        self.kind.check(op)
        before = runafter.before(op, self._find, datetime.now(UTC))
        if before.waiting:
            await self._runner.wait(op, before.waiting, step=True)
            return before.again
        found = await self._bindings(op)
        if isinstance(found, str):
            await self._runner.wait(op, found)
            return None
        for reason in (problem for binding in found for problem in binding.problems):
            await self._runner.wait(op, reason)
            return None
        self.kind.supports(op, found)
        versions = await self.shared.secrets.versions((self.kind.name, key), self._secrets(op, found))
        per_node = self.kind.per_node(op, found)
        attempt = inputs.of(op, found, list(versions.values()), per_node=per_node)
        said, policy = op.get("status") or {}, (op.get("spec") or {}).get("policy")
        if policy == "OnEvent":
            attempt, problem = self._event(key, op, found, attempt)
            if said.get("phase") == status.COMPLETE:
                blind = f"not known whether the source has changed: {problem}" if problem else ""
                await patch_status(self.client, self.kind.resource, op, status.settled(op, blind))
            if not attempt:
                if said.get("phase") in (None, "", status.PENDING):
                    await self._runner.wait(op, problem or "waiting for the source to be listed")
                return None
        ended = said.get("phase") in (status.FAILED, status.COMPLETE) and policy != "Cron"
        same = (said.get("infos") or {}).get("inputs") == attempt
        if ended and same and not await self._joined(key, op):
            self.shared.turns.end((self.kind.name, key))
            left = status.again_in(op, datetime.now(UTC)) if self.kind.again else None
            if left is None:
                return await self._expire(op)  # until something it ended by changes
            if left > 0:
                return min(left, await self._expire(op) or left)
        absent = next((str(at) for at, version in versions.items() if not version), "")
        if absent:
            await self._runner.wait(op, f"waiting for Secret {absent}")
            return None
        plan = self._plan(op, found)
        whole = not any(part.host for part in plan.parts)  # what runs once can be given no more nodes later
        if plan.waiting or (whole and plan.missing):
            await self._runner.wait(op, "; ".join(filter(None, (plan.waiting, plan.missing, plan.left_out))))
            return _LOOK if plan.missing else None
        if (left := losses.delay(op, datetime.now(UTC))) > 0:
            return left
        again = await self._runner.run(key, op, found, plan, attempt, self._claim(self.kind, op))
        return min(again or _LOOK, _LOOK) if plan.missing else again

    def _plan(self, op: Json, found: Sequence[Binding]) -> Plan:
        """Raises RefusedError."""
        dataset, selector = self.kind.targets(op)[0], (op.get("spec") or {}).get("nodeSelector") or {}
        near = runafter.affinity(op, self._find)
        nodes = {
            node["metadata"]["name"]
            for node in self.of(NODES)
            if selector.items() <= (node["metadata"].get("labels") or {}).items()
            and runafter.allows(near, node)
        }
        pods = pods_of(self.of(PODS), dataset)
        there = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        placed = [pod for pod in there if pod["spec"].get("nodeName") in nodes]
        plan = self.kind.plan(op, found, placed, near)
        beside = [
            o for kind in (STATEFULSETS, DAEMONSETS) for o in self.of(kind).in_namespace(dataset.namespace)
        ]
        workloads = [obj for obj in beside if dataset_key(obj) == [dataset]]
        known = self.kind.coverage(op, found, pods, workloads, datetime.now(UTC))
        return replace(plan, missing=known.missing, left_out=known.left_out) if known is not None else plan

    def _lost(self, op: Json) -> dict[str, str]:
        """What nodes have lost of what was loaded; a schedule loads it by itself."""
        at, spec = self.kind.targets(op)[0], op.get("spec") or {}
        dataset = self.of(DATASETS).get(at)
        complete = (op.get("status") or {}).get("phase") == status.COMPLETE and spec.get("policy") != "Cron"
        if not complete or dataset is None or dataset["metadata"].get("deletionTimestamp"):
            return {}
        return losses.found(op, self.shared.datasets.reports.states(pods_of(self.of(PODS), at)))

    async def _joined(self, key: Key, op: Json) -> bool:
        """Whether nodes have joined the cache since it was loaded; forgets those that left."""
        dataset = self.of(DATASETS).get(self.kind.targets(op)[0])
        said = op.get("status") or {}
        if said.get("phase") != status.COMPLETE or dataset is None or self.kind.role != "load":
            return False
        binding = self.shared.resolver.bind(dataset, key_of(dataset))
        if binding is None or binding.ending or binding.problems:
            return False
        try:
            plan = self._plan(op, [binding])
        except RefusedError:  # what is done is done
            return False
        hosts = {part.host for part in plan.parts}
        loaded = set(filter(None, str((said.get("infos") or {}).get("nodes") or "").split(",")))
        if not loaded or not hosts or "" in hosts:
            return False
        if not plan.missing and loaded - hosts:
            await self._runner.leave(key, op, loaded - hosts)
        return bool(hosts - loaded)

    def _event(self, key: Key, op: Json, found: Sequence[Binding], attempt: str) -> tuple[str, str]:
        """The attempt with the version of the source, "" while none is known; and why it cannot be told now.

        What runs is let run.
        """
        seen = self.shared.sources.look((self.kind.name, key), attempt, self.kind.watched(op, found))
        if seen.unsupported:
            raise RefusedError(
                "DataOperationNotSupport",
                f"{self.kind.name} {key}: spec.policy: OnEvent needs a source that can be listed",
            )
        said = op.get("status") or {}
        running = str((said.get("infos") or {}).get("inputs", ""))
        if said.get("phase") == status.EXECUTING and running.startswith(f"{attempt}."):
            return running, ""
        return (f"{attempt}.{seen.version}" if seen.version else ""), seen.problem

    async def _bindings(self, op: Json) -> list[Binding] | str:
        """Its Datasets with their runtimes, or what it waits for."""
        found: list[Binding] = []
        for at in self.kind.targets(op):
            dataset = self.of(DATASETS).get(at)
            if dataset is None or dataset["metadata"].get("deletionTimestamp"):
                return f"waiting for Dataset {at}"
            refuse_reference(op, dataset)
            if not found:
                await self._adopt(op, dataset)
            binding = self.shared.resolver.bind(dataset, at)
            if binding is None or binding.ending:
                return f"waiting for a runtime named {at.name}"
            found.append(binding)
        return found

    def _secrets(self, op: Json, bindings: Sequence[Binding]) -> set[Key]:
        """Those it cannot do without; a hub's Secret comes with the Dataset controller."""
        namespace = op["metadata"]["namespace"]
        names = {reference.name for reference in self.kind.secrets(op)}
        for binding in bindings:
            names |= {ref.name for source in binding.cache.sources for ref in source.secrets.values()}
            hub = (binding.dataset["metadata"].get("annotations") or {}).get(HUB_SECRET_ANNOTATION)
            names |= {hub} if hub else set()
        return {Key(namespace, name) for name in names}

    def _claim(self, kind: Kind, op: Json) -> Claim:
        targets, metadata = kind.targets(op), op["metadata"]
        bindings: list[Binding] = []
        exclusive = False
        for at in targets:
            dataset = self.of(DATASETS).get(at)
            binding = self.shared.resolver.bind(dataset, at) if dataset is not None else None
            if binding is not None:
                bindings.append(binding)
                said = (binding.dataset["metadata"].get("annotations") or {}).get(EXCLUSIVE_ANNOTATION)
                exclusive = exclusive or said == "Exclusive"
        order = (str(metadata.get("creationTimestamp", "")), f"{kind.name}/{metadata['name']}")
        name: Name = (kind.name, key_of(op))
        return Claim(name, frozenset(targets), exclusive or kind.writes(op, bindings), order)

    def _find(self, kind: str, key: Key) -> Json | None:
        resource = next((each.resource for each in self.shared.kinds if each.name == kind), None)
        if resource is None:
            raise RefusedError("DataOperationNotValid", f"spec.runAfter.kind: {kind} is not supported here")
        return self.of(resource).get(key)

    # Ends

    async def _end(self, key: Key, op: Json) -> None:
        """Deleted: its jobs first, so that nothing works for nobody."""
        if await self._runner.remove(key):
            return
        self.shared.forget((self.kind.name, key))
        there = op["metadata"].get("finalizers") or []
        if self.kind.finalizer in there:
            try:
                await self._patch_metadata(op, {"finalizers": [f for f in there if f != self.kind.finalizer]})
            except NotFound:
                return

    async def _expire(self, op: Json) -> float | None:
        """Deletes what ended after its time to live, once those that run after it have seen that."""
        spec = op.get("spec") or {}
        seconds = spec.get("ttlSecondsAfterFinished")
        finished = ((op.get("status") or {}).get("infos") or {}).get("finishTime")
        if seconds is None or not finished or spec.get("policy", "Once") != "Once" or self._awaited(op):
            return None
        left = float(finished) + float(seconds) - datetime.now(UTC).timestamp()
        if left > 0:
            return left
        await self.client.remove(self.kind.resource, op)
        return None

    def _awaited(self, op: Json) -> bool:
        me = (self.kind.name, key_of(op))
        return any(
            runafter.predecessor(other) == me
            and (other.get("status") or {}).get("phase") in (None, "", status.PENDING)
            and ((other.get("status") or {}).get("waitingFor") or {}).get("operationComplete") is not False
            for kind in self.shared.kinds
            for other in self.of(kind.resource)
        )

    async def _adopt(self, op: Json, dataset: Json) -> None:
        owners = op["metadata"].get("ownerReferences") or []
        owner = owner_reference(dataset)
        if not any(each.get("uid") == owner["uid"] for each in owners):
            kept = [each for each in owners if each.get("kind") != "Dataset"]
            await self._patch_metadata(op, {"ownerReferences": [*kept, owner]})

    async def _patch_metadata(self, op: Json, patch: Json) -> None:
        metadata = op["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"], **patch}}
        await self.client.patch(self.kind.resource, metadata["name"], body, metadata["namespace"])
