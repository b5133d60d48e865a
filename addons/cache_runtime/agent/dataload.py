"""The DataLoad controller: one job on every node of the cache, as soon as the source can be read."""

from __future__ import annotations

from datetime import UTC, datetime

from addon_framework.api.core import EVENTS, JOBS, PODS, SECRETS
from addon_framework.api.data import DataLoad
from addon_framework.api.meta import Json, Resource, from_dict
from addon_framework.kube import (
    AlreadyExists,
    ApiError,
    Controller,
    Key,
    NotFound,
    Watch,
    key_of,
    patch_status,
)
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent import loadstatus
from addons.cache_runtime.agent.backends import Binding, Resolver
from addons.cache_runtime.agent.dataset import DatasetController
from addons.cache_runtime.agent.loadjob import (
    event,
    finished,
    inputs_of,
    is_ready,
    job_for,
    job_name,
    load_key,
    owner_uid,
    target_of,
    unsupported,
)
from addons.cache_runtime.agent.loadstatus import NodeLoad
from addons.cache_runtime.agent.names import (
    DATALOADS,
    DATASETS,
    HUB_SECRET_ANNOTATION,
    INPUTS_LABEL,
    LOAD_FINALIZER,
    MANAGED,
    NODE_LABEL,
    dataset_key,
    owner_reference,
    role_of,
)
from runtimes.interface import Task


class DataLoadController(Controller):
    """One key per DataLoad."""

    name = "dataload"
    workers = 4

    def __init__(self, resolver: Resolver, datasets: DatasetController) -> None:
        self.resolver, self._datasets = resolver, datasets

    def of(self, resource: Resource) -> AnyInformer:
        """The informers are those of the Dataset controller."""
        return self._datasets.of(resource)

    def watches(self) -> list[Watch]:
        """Its jobs and pods, and what it waits for."""
        return [
            Watch(DATALOADS),
            Watch(DATASETS, map=self.loads_of),
            *(Watch(backend.resource, map=self.loads_of) for backend in self.resolver.backends),
            Watch(JOBS, map=load_key, label_selector=MANAGED),
            Watch(SECRETS, map=self._of_ours, label_selector=MANAGED),
            Watch(PODS, map=self._of_ours),
        ]

    def loads_of(self, obj: Json) -> list[Key]:
        """Every DataLoad of a Dataset or its runtime."""
        return self.loads_for(key_of(obj))

    def loads_for(self, key: Key) -> list[Key]:
        """Every DataLoad of the Dataset."""
        return [
            key_of(load) for load in self.of(DATALOADS).in_namespace(key.namespace) if target_of(load) == key
        ]

    def _of_ours(self, obj: Json) -> list[Key]:
        return [load for key in dataset_key(obj) for load in self.loads_for(key)]

    async def reconcile(self, key: Key) -> float | None:
        """One step of the state machine None, Pending, Executing, Complete or Failed."""
        load = self.of(DATALOADS).get(key)
        if load is None:
            return None
        if load["metadata"].get("deletionTimestamp"):
            await self._end(key, load)
            return None
        there = load["metadata"].get("finalizers") or []
        if LOAD_FINALIZER not in there:
            await self._patch_metadata(load, {"finalizers": [*there, LOAD_FINALIZER]})
            return None
        old = load.get("status") or {}
        if old.get("phase") == loadstatus.COMPLETE:
            return await self._expire(load)
        if problem := unsupported(load):
            await self._fail(load, "DataOperationNotValid", problem, inputs_of(load))
            return None
        dataset = self.of(DATASETS).get(target_of(load))
        if dataset is None or dataset["metadata"].get("deletionTimestamp"):
            target = target_of(load)
            await self._wait(load, f"waiting for Dataset {target}")
            return None
        await self._adopt(load, dataset)
        binding = self.resolver.bind(dataset, key_of(dataset))
        if binding is None or binding.ending:
            await self._wait(load, f"waiting for a runtime named {dataset['metadata']['name']}")
            return None
        return await self._run(key, load, binding)

    async def _run(self, key: Key, load: Json, binding: Binding) -> float | None:
        dataset_at = key_of(binding.dataset)
        inputs = inputs_of(load, binding, self._versions(dataset_at))
        old = load.get("status") or {}
        if old.get("phase") == loadstatus.FAILED and (old.get("infos") or {}).get("inputs") == inputs:
            return await self._expire(load)  # until something it failed by changes
        if binding.problems:
            await self._wait(load, "; ".join(binding.problems))
            return None
        typed = from_dict(DataLoad, load)
        task = binding.backend.warm(binding.cache, typed)
        if task is None:
            kind = binding.runtime.get("kind")
            await self._fail(
                load, "DataOperationNotSupport", f"{kind} keeps nothing, so it loads nothing", inputs
            )
            return None
        hosts = self._hosts(dataset_at, task)
        if not hosts:
            await self._wait(load, "waiting for the cache's pods to be scheduled")
            return None
        missing = self._missing_secret(binding)
        if missing:
            await self._wait(load, f"waiting for Secret {missing}")
            return None
        await self._jobs(key, load, binding, task, hosts, inputs)
        await self._report(key, load, hosts, inputs, dataset_at)
        return None

    def _hosts(self, dataset_at: Key, task: Task) -> list[str]:
        """Nodes that hold the cache, or will: a load need not wait for a worker that only keeps files."""
        pods = [p for p in self.of(PODS) if dataset_key(p) == [dataset_at] and p["spec"].get("nodeName")]
        pods = [p for p in pods if not p["metadata"].get("deletionTimestamp")]
        if task.after == "client":
            pods = [p for p in pods if role_of(p) == "client" and is_ready(p)]
        else:
            workers = [p for p in pods if role_of(p) == "worker"]
            pods = workers or [p for p in pods if role_of(p) == "client"]
        return sorted({pod["spec"]["nodeName"] for pod in pods})

    def _missing_secret(self, binding: Binding) -> str:
        """The hub's Secret comes with the Dataset controller; a load without it would only be refused."""
        name = (binding.dataset["metadata"].get("annotations") or {}).get(HUB_SECRET_ANNOTATION)
        at = Key(binding.cache.namespace, name or "")
        return "" if not name or self.of(SECRETS).get(at) is not None else str(at)

    async def _jobs(
        self, key: Key, load: Json, binding: Binding, task: Task, hosts: list[str], inputs: str
    ) -> None:
        """A job per node; those of other inputs go."""
        wanted = {job_name(key.name, host, len(hosts)): host for host in hosts}
        for job in self._owned(key, JOBS):
            name = job["metadata"]["name"]
            if name not in wanted or job["metadata"]["labels"].get(INPUTS_LABEL) != inputs:
                await self._delete_job(job)
        for name, host in wanted.items():
            if self.of(JOBS).get(Key(key.namespace, name)) is None:
                try:
                    await self.client.create(JOBS, job_for(load, binding, task, name, host, inputs))
                except AlreadyExists:
                    continue  # our copy was behind

    async def _report(self, key: Key, load: Json, hosts: list[str], inputs: str, dataset_at: Key) -> None:
        nodes = [self._node(key, host, inputs) for host in hosts]
        measured = self._datasets.measurements.of(dataset_at).counted
        status = loadstatus.running_status(load, nodes, inputs, datetime.now(UTC), measured)
        if await patch_status(self.client, DATALOADS, load, status):
            await self._announce(load, status)
        if status["phase"] == loadstatus.FAILED:
            for job in self._owned(key, JOBS):
                await self._delete_job(job)

    def _node(self, key: Key, host: str, inputs: str) -> NodeLoad:
        jobs = [j for j in self._owned(key, JOBS) if j["metadata"]["labels"].get(NODE_LABEL) == host]
        job = next((j for j in jobs if j["metadata"]["labels"].get(INPUTS_LABEL) == inputs), None)
        if job is None:
            return NodeLoad(host)
        uid = job["metadata"]["uid"]
        pods = [pod for pod in self._owned(key, PODS) if owner_uid(pod) == uid]
        pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
        said: dict[str, Json] = {}
        for pod in pods:
            last = self._datasets.reports.of(pod).last
            if "start" in last:
                said.pop("failed", None)
            first = said.get("start")
            said |= last
            if first is not None:
                said["start"] = first
        kind, reason, message = finished(job)
        if kind == "Failed" and not all(self._datasets.reports.drained(pod) for pod in pods):
            kind = ""  # what it says last is why
        return NodeLoad(host, said, kind, reason, message)

    # Ends

    async def _end(self, key: Key, load: Json) -> None:
        """Deleted: its jobs first, so that nothing loads for nobody."""
        for job in self._owned(key, JOBS):
            await self._delete_job(job)
        if self._owned(key, PODS):
            return
        there = load["metadata"].get("finalizers") or []
        if LOAD_FINALIZER in there:
            try:
                await self._patch_metadata(load, {"finalizers": [f for f in there if f != LOAD_FINALIZER]})
            except NotFound:
                return

    async def _expire(self, load: Json) -> float | None:
        """Deletes a finished DataLoad after its time to live."""
        seconds = (load.get("spec") or {}).get("ttlSecondsAfterFinished")
        finished = ((load.get("status") or {}).get("infos") or {}).get("finishTime")
        if seconds is None or not finished:
            return None
        left = float(finished) + float(seconds) - datetime.now(UTC).timestamp()
        if left > 0:
            return left
        metadata = load["metadata"]
        try:
            await self.client.delete(DATALOADS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except NotFound:
            pass
        return None

    async def _wait(self, load: Json, message: str) -> None:
        await patch_status(self.client, DATALOADS, load, loadstatus.waiting_status(load, message))

    async def _fail(self, load: Json, reason: str, message: str, inputs: str) -> None:
        status = loadstatus.failed_status(load, reason, message, inputs, datetime.now(UTC))
        if await patch_status(self.client, DATALOADS, load, status):
            await self._announce(load, status)

    # Writing

    async def _adopt(self, load: Json, dataset: Json) -> None:
        owners = load["metadata"].get("ownerReferences") or []
        owner = owner_reference(dataset)
        if not any(each.get("uid") == owner["uid"] for each in owners):
            kept = [each for each in owners if each.get("kind") != "Dataset"]
            await self._patch_metadata(load, {"ownerReferences": [*kept, owner]})

    async def _patch_metadata(self, load: Json, patch: Json) -> None:
        metadata = load["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"], **patch}}
        await self.client.patch(DATALOADS, metadata["name"], body, metadata["namespace"])

    async def _delete_job(self, job: Json) -> None:
        metadata = job["metadata"]
        if metadata.get("deletionTimestamp"):
            return
        try:
            await self.client.delete(JOBS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except NotFound:
            pass

    async def _announce(self, load: Json, status: Json) -> None:
        """An event at the turning points."""
        phase = status["phase"]
        if phase == (load.get("status") or {}).get("phase") or phase == loadstatus.PENDING:
            return
        reasons = {
            loadstatus.EXECUTING: ("DataLoadJobStarted", "the load has begun"),
            loadstatus.COMPLETE: ("DataOperationSucceed", "the data is loaded"),
            loadstatus.FAILED: ("DataOperationFailed", status["infos"].get("message", "")),
        }
        reason, message = reasons[phase]
        try:
            await self.client.create(EVENTS, event(load, reason, message, phase == loadstatus.FAILED))
        except ApiError:
            return  # the status says it too

    def _owned(self, key: Key, resource: Resource) -> list[Json]:
        return [obj for obj in self.of(resource) if load_key(obj) == [key]]

    def _versions(self, key: Key) -> list[str]:
        """Of the credentials: new ones are a reason to try again."""
        return sorted(
            str(secret["metadata"].get("resourceVersion", ""))
            for secret in self.of(SECRETS).in_namespace(key.namespace)
            if dataset_key(secret) == [key]
        )
