"""Jobs and status of operations whose time has come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from addon_framework.api.core import CONFIGMAPS, CRONJOBS, JOBS, NODES, PODS
from addon_framework.api.meta import Json, Resource
from addon_framework.api.time import parse_time
from addon_framework.kube import AlreadyExists, Client, Invalid, Key, key_of, patch_status
from addon_framework.kube.events import EventRecorder
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import (
    FIELD_MANAGER,
    HASH_ANNOTATION,
    INPUTS_LABEL,
    NODE_LABEL,
    OURS_IN_STATUS,
)
from addons.cache_runtime.agent.operations import inputs, jobs, losses, runafter, status
from addons.cache_runtime.agent.operations.kinds import Kind, Part, Plan, RefusedError
from addons.cache_runtime.agent.operations.shared import Shared
from addons.cache_runtime.agent.operations.status import PartState
from addons.cache_runtime.agent.operations.turns import Claim
from addons.cache_runtime.agent.troubles import waiting_for

_SUMS = ("bytes", "files", "rate", "total", "totalFiles")
_LAST_WORDS = 5.0  # seconds that a complete job's log may take to be read


class Runner:
    """Of one kind."""

    def __init__(
        self, kind: Kind, client: Client, of: Callable[[Resource], AnyInformer], shared: Shared
    ) -> None:
        self._kind, self._client, self._of, self._shared = kind, client, of, shared
        self._deleted: set[str] = set()  # uids of jobs that our copy may still have
        of(JOBS).on_event(self._forget)

    async def run(
        self, key: Key, op: Json, bindings: Sequence[Binding], plan: Plan, attempt: str, claim: Claim
    ) -> float | None:
        """Jobs as the plan says, if it is the operation's turn, and the status that follows from them.

        Seconds after which to look again, if something has ended whose last words are still to be read.
        """
        if plan.config is not None:
            wanted = jobs.config_for(self._kind, op, self._kind.targets(op)[0], plan)
            live = self._of(CONFIGMAPS).get(Key(key.namespace, wanted["metadata"]["name"]))
            if live is None or live.get("data") != wanted["data"]:
                await self._client.apply(wanted, field_manager=FIELD_MANAGER, resource=CONFIGMAPS)
        cron = op["spec"].get("policy") == "Cron"
        plan = replace(plan, parts=_named(plan.parts, self._owned(key, CRONJOBS if cron else JOBS), attempt))
        active = cron and any(not jobs.finished(job)[0] for job in self._owned(key, JOBS))
        if cron and not active:
            other = self._shared.turns.idle(claim)
        else:
            other = self._shared.turns.ask(claim, force=active)
        if cron:
            await self._crons(key, op, plan, attempt, suspend=other is not None)
        elif other is not None:
            await self.wait(op, f"waiting for {other[0]} {other[1]}, which has the Dataset")
            return None
        else:
            await self._jobs(key, op, plan, attempt)
        return await self._report(key, op, bindings, plan, attempt)

    async def wait(self, op: Json, message: str, *, step: bool = False) -> None:
        """Says what for; `step`: for the step before."""
        said = self._with_step(op, status.waiting_status(op, message), waiting=step)
        await patch_status(self._client, self._kind.resource, op, said, optional=OURS_IN_STATUS)

    async def fail(self, op: Json, reason: str, message: str, attempt: str) -> None:
        """Says why."""
        said = status.failed_status(op, reason, message, attempt, datetime.now(UTC))
        if await patch_status(self._client, self._kind.resource, op, said, optional=OURS_IN_STATUS):
            await self._announce(op, said)

    async def remove(self, key: Key) -> bool:
        """Deletes jobs; whether something of them still runs."""
        for resource in (CRONJOBS, JOBS, CONFIGMAPS):
            for obj in self._owned(key, resource):
                await self._delete(resource, obj)
        return bool(self._owned(key, PODS))

    async def leave(self, key: Key, op: Json, nodes: Collection[str]) -> None:
        """What was done there no longer counts: such a node may come back empty."""
        await self._undo(key, nodes)
        said = {**op["status"], "infos": losses.without(op["status"]["infos"], nodes)}
        await patch_status(self._client, self._kind.resource, op, said, optional=OURS_IN_STATUS)

    async def lose(self, key: Key, op: Json, lost: Mapping[str, str]) -> None:
        """What was done on these nodes is gone, and is to be done again."""
        await self._undo(key, lost)
        said = losses.lost_status(op, lost, datetime.now(UTC))
        await patch_status(self._client, self._kind.resource, op, said, optional=OURS_IN_STATUS)

    async def _undo(self, key: Key, nodes: Collection[str]) -> None:
        for job in self._owned(key, JOBS):
            if _host(job) in nodes:
                await self._delete(JOBS, job)

    async def _jobs(self, key: Key, op: Json, plan: Plan, attempt: str) -> None:
        """A job per part; those of other attempts go."""
        wanted = {part.name: part for part in plan.parts}
        await self._delete_all(CRONJOBS, key)
        for job in self._owned(key, JOBS):
            name = job["metadata"]["name"]
            part, made = wanted.get(name), job["metadata"]["labels"].get(INPUTS_LABEL)
            if part is None or made != attempt or part.host != _host(job):
                await self._delete(JOBS, job)
        dataset = self._kind.targets(op)[0]
        there = {job["metadata"]["name"] for job in self._owned(key, JOBS)}
        for name, part in wanted.items():
            if name not in there:
                try:
                    await self._client.create(JOBS, jobs.job_for(self._kind, op, dataset, part, attempt))
                except AlreadyExists:
                    continue  # our copy was behind
                except Invalid as error:
                    raise RefusedError("DataOperationNotValid", error.message) from None

    async def _crons(self, key: Key, op: Json, plan: Plan, attempt: str, *, suspend: bool) -> None:
        """A CronJob per part."""
        dataset = self._kind.targets(op)[0]
        wanted = {part.name for part in plan.parts}
        for live in self._owned(key, CRONJOBS):
            if live["metadata"]["name"] not in wanted:
                await self._delete(CRONJOBS, live)
        for part in plan.parts:
            made = jobs.cronjob_for(self._kind, op, dataset, part, attempt, suspend=suspend)
            there = self._of(CRONJOBS).get(Key(key.namespace, part.name))
            digest = made["metadata"]["annotations"][HASH_ANNOTATION]
            if there is None or there["metadata"].get("annotations", {}).get(HASH_ANNOTATION) != digest:
                try:
                    await self._client.apply(made, field_manager=FIELD_MANAGER, resource=CRONJOBS)
                except Invalid as error:
                    raise RefusedError("DataOperationNotValid", error.message) from None

    async def _report(
        self, key: Key, op: Json, bindings: Sequence[Binding], plan: Plan, attempt: str
    ) -> float | None:
        cron = op["spec"].get("policy") == "Cron"
        pods = self._owned(key, PODS)
        found = [self._newest(key, part, attempt) for part in plan.parts]
        if cron and not any(found):
            said = status.waiting_status(op, f"runs at {op['spec']['schedule']}")
        else:
            parts = [self._state(part, job, pods) for part, job in zip(plan.parts, found, strict=True)]
            measured = self._shared.datasets.measurements.of(self._kind.targets(op)[0]).counted
            if self._kind.role != "load":
                measured = None
            said = status.running_status(op, parts, attempt, datetime.now(UTC), measured, plan.missing)
        if self._kind.role == "load":
            if any(found) and (caches := losses.of_parts(op, parts)):
                said["infos"]["caches"] = caches
            said["infos"]["mounts"] = inputs.of_mounts(bindings[0].dataset)
        if notes := "; ".join(filter(None, (self._kind.notes(op), plan.left_out))):
            said["infos"]["notes"] = notes
        if cron:
            said |= self._times(key)
        said = self._with_step(op, said, waiting=False)
        if said["phase"] == status.COMPLETE:
            hosts = {pod["spec"].get("nodeName") for pod in pods}
            nodes = [node for node in self._of(NODES) if node["metadata"]["name"] in hosts]
            if where := runafter.where_it_ran(op, nodes):
                said["nodeAffinity"] = where
            said["infos"] |= self._kind.outcome(op, sorted(node["metadata"]["name"] for node in nodes))
        if said["phase"] != status.EXECUTING and not cron:
            self._shared.turns.end((self._kind.name, key))
        if await patch_status(self._client, self._kind.resource, op, said, optional=OURS_IN_STATUS):
            await self._announce(op, said)
        if said["phase"] == status.FAILED and not cron:
            await self._delete_all(JOBS, key)
        ended = any(job is not None and jobs.finished(job)[0] for job in found)
        return _LAST_WORDS if ended and said["phase"] == status.EXECUTING and not cron else None

    def _newest(self, key: Key, part: Part, attempt: str) -> Json | None:
        """The job of a part: the last one, where a CronJob makes many."""
        mine = [
            job
            for job in self._owned(key, JOBS)
            if job["metadata"]["labels"].get(INPUTS_LABEL) == attempt
            and (job["metadata"]["name"] == part.name or job["metadata"]["name"].startswith(f"{part.name}-"))
        ]
        mine.sort(key=lambda job: str(job["metadata"].get("creationTimestamp", "")))
        return mine[-1] if mine else None

    def _state(self, part: Part, job: Json | None, pods: Sequence[Json]) -> PartState:
        if job is None:
            return PartState(part.host)
        mine = [pod for pod in pods if jobs.owner_uid(pod) == job["metadata"]["uid"]]
        mine.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
        by_index: dict[str, list[Json]] = {}
        for pod in mine:
            by_index.setdefault(jobs.index_of(pod), []).append(pod)
        said = _together([self._said(group) for group in by_index.values()], part)
        started = (job.get("status") or {}).get("startTime")
        if "start" not in said and started and not part.trusted:
            said["start"] = {"time": parse_time(started).timestamp()}
        kind, reason, message = jobs.finished(job)
        drained = self._shared.datasets.reports.drained
        if kind == "Failed" and not all(drained(pod) for pod in mine):
            kind = ""  # what it says last is why
        # It says last how much came from where; and our copies of its pods may be behind that of the job.
        heard = "done" in said or (mine and all(jobs.has_ended(pod) and drained(pod) for pod in mine))
        if kind == "Complete" and part.trusted and not heard and _age(job) < _LAST_WORDS:
            kind = ""
        words = "" if "failed" in said else jobs.last_words(mine)
        if kind == "Failed" and words:
            message = f"{words}; {message}"
        if not kind:  # of a program that reports nothing, how it ended stands while it is tried again
            message = waiting_for(mine) or (words if said.keys() <= {"start"} else "")
        host = part.host or ",".join(sorted({p["spec"].get("nodeName", "") for p in mine} - {""}))
        return PartState(host, said, kind, reason, message)

    def _said(self, pods: Sequence[Json]) -> dict[str, Json]:
        """The reports of one pod and of those before it that it replaces."""
        said: dict[str, Json] = {}
        for pod in pods:
            said = status.continued(said, self._shared.datasets.reports.of(pod).last)
        return said

    def _times(self, key: Key) -> Json:
        found: Json = {}
        for field in ("lastScheduleTime", "lastSuccessfulTime"):
            times = [(cron.get("status") or {}).get(field) for cron in self._owned(key, CRONJOBS)]
            if known := [str(moment) for moment in times if moment]:
                found[field] = max(known)
        return found

    def _with_step(self, op: Json, said: Json, *, waiting: bool) -> Json:
        if runafter.predecessor(op) is not None:
            said["waitingFor"] = {"operationComplete": waiting}
        return said

    async def _announce(self, op: Json, said: Json) -> None:
        """An event at the turning points."""
        phase = said["phase"]
        if phase == (op.get("status") or {}).get("phase") or phase == status.PENDING:
            return
        reasons = {
            status.EXECUTING: (f"{self._kind.name}JobStarted", "it has begun"),
            status.COMPLETE: ("DataOperationSucceed", "it is complete"),
            status.FAILED: ("DataOperationFailed", said["infos"].get("message", "")),
        }
        reason, message = reasons[phase]
        if phase == status.FAILED:
            # Fluid's own reason where it has one.
            reason = next(
                (c["reason"] for c in said["conditions"] if c["reason"].startswith("DataOp")), reason
            )
        recorder = EventRecorder(self._client, FIELD_MANAGER)
        await recorder.record(op, reason, message, warning=phase == status.FAILED)

    def _owned(self, key: Key, resource: Resource) -> list[Json]:
        """By name: of a cluster's thousands few are."""
        index, informer = f"operation {self._kind.name}", self._of(resource)
        informer.add_index(index, lambda obj: [str(each) for each in jobs.operation_key(self._kind, obj)])
        found = [o for o in informer.by_index(index, str(key)) if o["metadata"]["uid"] not in self._deleted]
        return sorted(found, key=lambda obj: str(obj["metadata"]["name"]))

    def _forget(self, old: Json | None, new: Json | None) -> None:
        if new is None and old is not None:
            self._deleted.discard(old["metadata"]["uid"])

    async def _delete_all(self, resource: Resource, key: Key) -> None:
        for obj in self._owned(key, resource):
            await self._delete(resource, obj)

    async def _delete(self, resource: Resource, obj: Json) -> None:
        if obj["metadata"].get("deletionTimestamp"):
            return
        await self._client.remove(resource, obj)
        live = self._of(JOBS).get(key_of(obj)) if resource == JOBS else None
        if live is not None and live["metadata"]["uid"] == obj["metadata"]["uid"]:  # we will hear of its end
            self._deleted.add(obj["metadata"]["uid"])


def _named(parts: Sequence[Part], made: Sequence[Json], attempt: str) -> list[Part]:
    """Parts whose jobs there are already keep the names of these, however many parts join them."""
    names: dict[str, str] = {}
    for job in sorted(made, key=lambda job: str(job["metadata"].get("creationTimestamp", "")), reverse=True):
        if _host(job) and (job["metadata"]["labels"].get(INPUTS_LABEL) == attempt):
            names[_host(job)] = job["metadata"]["name"]
    return [replace(part, name=names.get(part.host, part.name)) for part in parts]


def _host(job: Json) -> str:
    return str(job["metadata"]["labels"].get(NODE_LABEL, ""))


def _age(job: Json) -> float:
    """Seconds since a job was complete."""
    ended = (job.get("status") or {}).get("completionTime")
    return (datetime.now(UTC) - parse_time(ended)).total_seconds() if ended else 0.0


def _together(said: list[dict[str, Json]], part: Part) -> dict[str, Json]:
    """Of pods side by side: numbers added up, the earliest start; whether all is done is the job's word."""
    if len(said) == 1 and part.pods == 1:
        return said[0] if part.trusted else {}
    merged: dict[str, Json] = {}
    starts = [each["start"] for each in said if "start" in each]
    if starts:
        merged["start"] = min(starts, key=lambda start: float(start.get("time", 0)))
    last = [each.get("done") or each.get("progress") for each in said]
    known = [each for each in last if each is not None]
    if known:
        merged["progress"] = {name: sum(int(each.get(name) or 0) for each in known) for name in _SUMS}
    troubled = [each["trouble"] for each in said if status.is_troubled(each)]
    if troubled:
        merged["trouble"] = troubled[0]
    failed = [each["failed"] for each in said if "failed" in each and "done" not in each]
    if failed:
        merged["failed"] = next((each for each in failed if each.get("permanent")), failed[0])
    return merged
