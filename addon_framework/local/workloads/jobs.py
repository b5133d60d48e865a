"""Jobs: pods until enough have succeeded, or too many have failed.

https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from addon_framework.api.conditions import get_condition, is_true, set_condition
from addon_framework.api.core import JOBS, PODS
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.kube import Conflict, Controller, Key, NotFound, Watch, merge_patch
from addon_framework.local.events import Recorder
from addon_framework.local.workloads import jobpods
from addon_framework.local.workloads.jobpods import Tally
from addon_framework.local.workloads.pods import (
    Expectations,
    Pods,
    claim,
    controller_of,
    has_ended,
    is_active,
    is_ready,
    owner_keys,
    pod_from,
)

_MIN_BACKOFF, _MAX_BACKOFF = 1.0, 360.0
_NAME = "batch.kubernetes.io/job-name"
_OURS = "kubernetes.io/job-controller"


class Verdict(NamedTuple):
    """How a Job ends: Complete or Failed."""

    kind: str
    reason: str
    message: str

    @property
    def first(self) -> str:
        """The condition that says so while pods are still ending."""
        return "SuccessCriteriaMet" if self.kind == "Complete" else "FailureTarget"


class JobController(Controller):
    """Both completion modes, limits, policies of failure and success, suspension, ttlSecondsAfterFinished."""

    name = "job"

    def __init__(self, recorder: Recorder, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._recorder, self._now, self._pods = recorder, now, Pods(recorder)
        self._created = Expectations()
        self._written: dict[Key, Json] = {}  # Jobs as our last write left them, until the cache has that

    def watches(self) -> list[Watch]:
        """Jobs and their pods, also those that one has left behind."""
        return [Watch(JOBS), Watch(PODS, map=self._jobs_of)]

    def _jobs_of(self, pod: Json) -> Iterable[Key]:
        if controller_of(pod) is None and jobpods.is_tracked(pod):
            name = (pod["metadata"].get("labels") or {}).get(_NAME, "")
            return [Key(pod["metadata"]["namespace"], name)]
        return owner_keys(lambda: self.cache(JOBS), "Job")(pod)

    async def reconcile(self, key: Key) -> float | None:
        """One Job."""
        job = self._newest(key)
        if job is None:
            self._created.forget(key)
            await self._release(self._left_by(key, ()))
            return None
        if job["spec"].get("managedBy", _OURS) != _OURS:
            return None
        pods = await claim(self.client, self.cache(PODS), job, JOBS)
        await self._release(self._left_by(key, pods))
        if any(is_true(job, kind) for kind in ("Complete", "Failed")):
            await self._release([pod for pod in pods if not is_active(pod)])
            return await self._expire(job)
        if (delay := self._created.unmet(key, pods)) is not None:
            return delay
        tally, active = Tally(job, pods), [pod for pod in pods if is_active(pod)]
        verdict, wait = self._verdict(job, tally, active), None
        if verdict is not None:
            await asyncio.gather(*(self._pods.delete(self.client, job, pod) for pod in active))
        elif job["metadata"].get("deletionTimestamp"):
            pass
        elif job["spec"].get("suspend"):
            await self._end(job, active)
            active = []
        else:
            wait = await self._scale(key, job, pods, active, tally)
        await self._status(key, job, pods, active, tally, verdict)
        await self._release(tally.ended)  # now that it is written down
        return wait

    def _newest(self, key: Key) -> Json | None:
        """Never older than what we have written: an end that is counted must not be forgotten."""
        cached, written = self.cache(JOBS).get(key), self._written.get(key)
        if cached is None or written is None or _version(cached) >= _version(written):
            self._written.pop(key, None)
            return cached
        return written

    def _verdict(self, job: Json, tally: Tally, active: list[Json]) -> Verdict | None:
        spec, status = job["spec"], job.get("status") or {}
        for kind, first in (("Complete", "SuccessCriteriaMet"), ("Failed", "FailureTarget")):
            if (said := get_condition(job, first)) and said["status"] == "True":
                return Verdict(kind, said["reason"], said.get("message", ""))
        if tally.fatal:
            return Verdict("Failed", "PodFailurePolicy", tally.fatal)
        failed = tally.failed
        if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
            failed += sum(s.get("restartCount", 0) for pod in active for s in _containers(pod))
        if failed > int(spec.get("backoffLimit", 6)):
            return Verdict("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        deadline, started = spec.get("activeDeadlineSeconds"), status.get("startTime")
        if deadline is not None and started and self._age(started) >= int(deadline):
            return Verdict("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        most, wanted = spec.get("maxFailedIndexes"), spec.get("completions")
        if most is not None and len(tally.lost) > int(most):
            why = "Job has exceeded the specified maximal number of failed indexes"
            return Verdict("Failed", "MaxFailedIndexesExceeded", why)
        if tally.lost and len(tally.lost | tally.completed) >= int(wanted or 0):
            return Verdict("Failed", "FailedIndexes", "Job has failed indexes")
        if (rule := jobpods.met_success_rule(job, tally.completed)) is not None:
            return Verdict("Complete", "SuccessPolicy", f"Matched rules at index {rule}")
        enough = tally.succeeded >= int(wanted) if wanted is not None else tally.succeeded and not active
        if enough:
            message = "Reached expected number of succeeded pods"
            return Verdict("Complete", "CompletionsReached", message)
        return None

    async def _scale(
        self, key: Key, job: Json, pods: list[Json], active: list[Json], tally: Tally
    ) -> float | None:
        """Starts what is missing, after the back-off of what failed; when to look again."""
        spec = job["spec"]
        parallelism, completions = int(spec.get("parallelism", 1)), spec.get("completions")
        wanted = parallelism if completions is not None or not tally.succeeded else len(active)
        if completions is not None:
            wanted = min(parallelism, int(completions) - tally.succeeded - len(tally.lost))
        await self._end(job, active[max(0, wanted) :])
        del active[max(0, wanted) :]
        remaining = self._remaining(job)
        held = [
            pod
            for pod in pods
            if pod["metadata"].get("deletionTimestamp")
            and not has_ended(pod)
            and not jobpods.has_failed(job, pod)
        ]
        missing = wanted - len(active) - len(held)
        if missing <= 0:
            return remaining
        if (backoff := self._backoff(pods)) > 0:
            return min(backoff, remaining) if remaining is not None else backoff
        taken = tally.completed | tally.lost | {jobpods.index_of(pod) for pod in (*active, *held)}
        free = [number for number in range(int(completions or 0)) if number not in taken]
        for position in range(missing):
            pod = _indexed(job, free[position], pods) if tally.indexed else _plain(job)
            if (created := await self._pods.create(self.client, job, pod)) is None:
                return None
            self._created.expect(key, created["metadata"]["uid"])
            active.append(created)
        return remaining

    async def _end(self, job: Json, pods: list[Json]) -> None:
        """Pods that are not wanted any more have not failed: they are not counted."""
        await self._release(pods)
        await asyncio.gather(*(self._pods.delete(self.client, job, pod) for pod in pods))

    async def _release(self, pods: list[Json]) -> None:
        await asyncio.gather(*(self._let_go(pod) for pod in pods if jobpods.is_tracked(pod)))

    async def _let_go(self, pod: Json) -> None:
        metadata = pod["metadata"]
        kept = [each for each in metadata["finalizers"] if each != jobpods.TRACKING]
        change = {name: metadata[name] for name in ("uid", "resourceVersion")} | {"finalizers": kept or None}
        try:
            await self.client.patch(PODS, metadata["name"], {"metadata": change}, metadata["namespace"])
        except (NotFound, Conflict):
            return  # gone, or changed since, of which we hear

    def _left_by(self, key: Key, pods: Sequence[Json]) -> list[Json]:
        """Pods of a Job that is gone, also where another of its name has `pods`: nobody else would take the
        finalizer away."""
        others = {pod["metadata"]["uid"] for pod in pods}
        return [
            pod
            for pod in self.cache(PODS).in_namespace(key.namespace)
            if jobpods.is_tracked(pod) and pod["metadata"]["uid"] not in others and key in self._jobs_of(pod)
        ]

    def _remaining(self, job: Json) -> float | None:
        deadline = job["spec"].get("activeDeadlineSeconds")
        if deadline is None:
            return None
        started = (job.get("status") or {}).get("startTime")
        return max(0.1, int(deadline) - (self._age(started) if started else 0))

    def _backoff(self, pods: list[Json]) -> float:
        """Seconds until the next attempt: doubled with each failure, from the last one on."""
        failed = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Failed"]
        if not failed:
            return 0.0
        delay = min(_MIN_BACKOFF * 2.0 ** (len(failed) - 1), _MAX_BACKOFF)
        return float(delay - min(self._age(_finished_at(pod)) for pod in failed))

    def _age(self, text: str) -> float:
        return (self._now() - parse_time(text)).total_seconds()

    async def _status(
        self,
        key: Key,
        job: Json,
        pods: list[Json],
        active: list[Json],
        tally: Tally,
        verdict: Verdict | None,
    ) -> None:
        before = job.get("status") or {}
        conditions = [dict(c) for c in before.get("conditions") or ()]
        going = sum("deletionTimestamp" in pod["metadata"] and not has_ended(pod) for pod in pods)
        status: Json = {"ready": sum(map(is_ready, active)), "terminating": going, **tally.status()}
        status |= {"active": len(active)} if active else {}
        if verdict is None and job["spec"].get("suspend"):
            if set_condition(conditions, "Suspended", True, "JobSuspended", "Job suspended"):
                self._recorder.event(job, "Normal", "Suspended", "Job suspended")
        else:
            status["startTime"] = before.get("startTime") or now_rfc3339(self._now())
            if is_true(conditions, "Suspended"):
                set_condition(conditions, "Suspended", False, "JobResumed", "Job resumed")
                self._recorder.event(job, "Normal", "Resumed", "Job resumed")
        if verdict is not None:
            set_condition(conditions, verdict.first, True, verdict.reason, verdict.message)
            if not active and not going and not any(tally.uncounted.values()):
                set_condition(conditions, verdict.kind, True, verdict.reason, verdict.message)
                done = verdict.kind == "Complete"
                status |= {"completionTime": now_rfc3339(self._now())} if done else {}
                said = ("Normal", "Completed", "Job completed") if done else ("Warning", *verdict[1:])
                self._recorder.event(job, *said)
        if conditions:
            status["conditions"] = conditions
        if patch := merge_patch(before, status):
            body: Json = {"metadata": {"uid": job["metadata"]["uid"]}, "status": patch}
            self._written[key] = await self.client.patch(
                JOBS, key.name, body, key.namespace, subresource="status"
            )

    async def _expire(self, job: Json) -> float | None:
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None or job["metadata"].get("deletionTimestamp"):
            return None
        ended = next(
            c["lastTransitionTime"]
            for c in job["status"]["conditions"]
            if c["type"] in ("Complete", "Failed") and c["status"] == "True"
        )
        left = int(ttl) - self._age(ended)
        if left > 0:
            return left
        await self.client.remove(JOBS, job)
        return None


def _version(obj: Json) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _containers(pod: Json) -> list[Json]:
    return list((pod.get("status") or {}).get("containerStatuses") or ())


def _finished_at(pod: Json) -> str:
    ends = [
        ended["finishedAt"]
        for s in _containers(pod)
        if (ended := (s.get("state") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    return str(max(ends, default=pod["metadata"]["creationTimestamp"]))


def _plain(job: Json) -> Json:
    return pod_from(job["spec"]["template"], job, JOBS, finalizers=[jobpods.TRACKING])


def _indexed(job: Json, number: int, pods: list[Json]) -> Json:
    index, name = str(number), job["metadata"]["name"]
    pod = pod_from(
        job["spec"]["template"], job, JOBS, generateName=f"{name}-{index}-", finalizers=[jobpods.TRACKING]
    )
    for section in ("labels", "annotations"):
        pod["metadata"][section][jobpods.INDEX] = index
    if job["spec"].get("backoffLimitPerIndex") is not None:
        before = [p for p in pods if jobpods.index_of(p) == number and jobpods.has_failed(job, p)]
        count = max((jobpods.failures(p) + 1 for p in before), default=0)
        pod["metadata"]["annotations"][jobpods.FAILURES] = str(count)
    variable = {"name": "JOB_COMPLETION_INDEX", "value": index}
    spec = {**pod["spec"], "hostname": f"{name}-{index}"}
    for section in ("initContainers", "containers"):
        if section in spec:
            spec[section] = [{**c, "env": [*(c.get("env") or ()), variable]} for c in spec[section]]
    pod["spec"] = spec
    return pod
