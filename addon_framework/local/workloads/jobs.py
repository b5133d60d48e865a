"""Jobs: pods until enough have succeeded, or too many have failed.

https://kubernetes.io/docs/concepts/workloads/controllers/job/
Pods are counted while they exist; finished ones stay until their Job goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from addon_framework.api.conditions import is_true, set_condition
from addon_framework.api.core import JOBS, PODS
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.kube import Controller, Key, NotFound, Watch, patch_status
from addon_framework.local.events import Recorder
from addon_framework.local.workloads.pods import (
    Expectations,
    Pods,
    is_active,
    is_ready,
    owned_by,
    owner_keys,
    pod_from,
)

_INDEX = "batch.kubernetes.io/job-completion-index"
_MIN_BACKOFF, _MAX_BACKOFF = 1.0, 360.0


class JobController(Controller):
    """Both completion modes, backoffLimit, activeDeadlineSeconds, suspend, ttlSecondsAfterFinished."""

    name = "job"

    def __init__(self, recorder: Recorder, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._recorder, self._now, self._pods = recorder, now, Pods(recorder)
        self._created = Expectations()

    def watches(self) -> list[Watch]:
        """Jobs and their pods."""
        return [Watch(JOBS), Watch(PODS, map=owner_keys(lambda: self.cache(JOBS), "Job"))]

    async def reconcile(self, key: Key) -> float | None:
        """One Job."""
        job = self.cache(JOBS).get(key)
        if job is None or job["metadata"].get("deletionTimestamp"):
            self._created.forget(key)
            return None
        if any(is_true(job, kind) for kind in ("Complete", "Failed")):
            return await self._expire(job)
        pods = owned_by(self.cache(PODS), job)
        if (delay := self._created.unmet(key, pods)) is not None:
            return delay
        active = [pod for pod in pods if is_active(pod)]
        verdict = self._verdict(job, pods, active)
        wait = None
        if verdict is not None:
            await asyncio.gather(*(self._pods.delete(self.client, job, pod) for pod in active))
            active = []
            kind, reason, message = verdict
            self._recorder.event(job, "Normal" if kind == "Complete" else "Warning", reason, message)
        elif job["spec"].get("suspend"):
            await asyncio.gather(*(self._pods.delete(self.client, job, pod) for pod in active))
        else:
            wait = await self._scale(key, job, pods, active)
        await self._status(job, pods, active, verdict)
        return wait

    def _verdict(self, job: Json, pods: list[Json], active: list[Json]) -> tuple[str, str, str] | None:
        """The condition that ends the Job: type, reason, message."""
        spec = job["spec"]
        started = (job.get("status") or {}).get("startTime")
        failures = len(_ended(pods, "Failed"))
        if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
            failures += sum(
                s.get("restartCount", 0)
                for pod in active
                for s in (pod.get("status") or {}).get("containerStatuses") or ()
            )
        if failures > int(spec.get("backoffLimit", 6)):
            return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is not None and started and self._age(started) >= int(deadline):
            return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
        wanted, succeeded = spec.get("completions"), self._succeeded(job, pods)
        if (len(succeeded) >= int(wanted)) if wanted is not None else (succeeded and not active):
            return "Complete", "Completed", "Job completed"
        return None

    def _succeeded(self, job: Json, pods: list[Json]) -> set[str]:
        """Indexes that are done, or pods where there are no indexes."""
        done = _ended(pods, "Succeeded")
        if job["spec"].get("completionMode") == "Indexed":
            return {_index(pod) for pod in done}
        return {pod["metadata"]["uid"] for pod in done}

    async def _scale(self, key: Key, job: Json, pods: list[Json], active: list[Json]) -> float | None:
        """Starts what is missing, after the back-off of what failed; when to look again."""
        spec = job["spec"]
        parallelism, completions = int(spec.get("parallelism", 1)), spec.get("completions")
        succeeded = self._succeeded(job, pods)
        wanted = parallelism if completions is not None or not succeeded else len(active)
        if completions is not None:
            wanted = min(parallelism, int(completions) - len(succeeded))
        for pod in active[wanted:]:
            await self._pods.delete(self.client, job, pod)
        remaining = self._remaining(job)
        if len(active) >= wanted:
            return remaining
        if (backoff := self._backoff(pods)) > 0:
            return min(backoff, remaining) if remaining is not None else backoff
        taken = succeeded | {_index(pod) for pod in active}
        free = [str(n) for n in range(int(completions or 0)) if str(n) not in taken]
        for position in range(wanted - len(active)):
            indexed = spec.get("completionMode") == "Indexed"
            pod = _indexed_pod(job, free[position]) if indexed else pod_from(spec["template"], job, JOBS)
            if (created := await self._pods.create(self.client, job, pod)) is None:
                return None
            self._created.expect(key, created["metadata"]["uid"])
        return remaining

    def _remaining(self, job: Json) -> float | None:
        deadline = job["spec"].get("activeDeadlineSeconds")
        if deadline is None:
            return None
        started = (job.get("status") or {}).get("startTime")
        return max(0.1, int(deadline) - (self._age(started) if started else 0))

    def _backoff(self, pods: list[Json]) -> float:
        """Seconds until the next attempt: doubled with each failure, from the last one on."""
        failed = _ended(pods, "Failed")
        if not failed:
            return 0.0
        delay = min(_MIN_BACKOFF * 2.0 ** (len(failed) - 1), _MAX_BACKOFF)
        return float(delay - min(self._age(_finished_at(pod)) for pod in failed))

    def _age(self, text: str) -> float:
        return (self._now() - parse_time(text)).total_seconds()

    async def _status(
        self, job: Json, pods: list[Json], active: list[Json], verdict: tuple[str, str, str] | None
    ) -> None:
        before = job.get("status") or {}
        suspended = bool(job["spec"].get("suspend"))
        succeeded = self._succeeded(job, pods)
        status: Json = {
            **before,
            "active": 0 if suspended else len(active),
            "ready": 0 if suspended else sum(map(is_ready, active)),
            "succeeded": len(succeeded),
            "failed": len(_ended(pods, "Failed")),
            "terminating": sum(1 for pod in pods if pod["metadata"].get("deletionTimestamp")),
        }
        if job["spec"].get("completionMode") == "Indexed":
            status["completedIndexes"] = _ranges(sorted(map(int, succeeded)))
        for name in ("active", "succeeded", "failed"):
            if not status[name]:
                del status[name]
        conditions = [dict(c) for c in before.get("conditions") or ()]
        if suspended:
            set_condition(conditions, "Suspended", True, "JobSuspended", "Job suspended")
            status.pop("startTime", None)
        else:
            status.setdefault("startTime", now_rfc3339(self._now()))
            if is_true(conditions, "Suspended"):
                set_condition(conditions, "Suspended", False, "JobResumed", "Job resumed")
        if verdict is not None:
            kind, reason, message = verdict
            first = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
            set_condition(conditions, first, True, reason, message)
            set_condition(conditions, kind, True, reason, message)
            if kind == "Complete":
                status["completionTime"] = now_rfc3339(self._now())
        if conditions:
            status["conditions"] = conditions
        await patch_status(self.client, JOBS, job, status)

    async def _expire(self, job: Json) -> float | None:
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return None
        ended = next(
            c["lastTransitionTime"]
            for c in job["status"]["conditions"]
            if c["type"] in ("Complete", "Failed") and c["status"] == "True"
        )
        left = int(ttl) - self._age(ended)
        if left > 0:
            return left
        metadata = job["metadata"]
        try:
            await self.client.delete(JOBS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except NotFound:
            return None
        return None


def _ended(pods: list[Json], phase: str) -> list[Json]:
    return [pod for pod in pods if (pod.get("status") or {}).get("phase") == phase]


def _finished_at(pod: Json) -> str:
    ends = [
        ended["finishedAt"]
        for s in (pod["status"].get("containerStatuses") or ())
        if (ended := (s.get("state") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    return str(max(ends, default=pod["metadata"]["creationTimestamp"]))


def _index(pod: Json) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(_INDEX, ""))


def _indexed_pod(job: Json, index: str) -> Json:
    pod = pod_from(job["spec"]["template"], job, JOBS, generateName=f"{job['metadata']['name']}-{index}-")
    for section in ("labels", "annotations"):
        pod["metadata"][section][_INDEX] = index
    variable = {"name": "JOB_COMPLETION_INDEX", "value": index}
    spec = {**pod["spec"], "hostname": f"{job['metadata']['name']}-{index}"}
    for section in ("initContainers", "containers"):
        if section in spec:
            spec[section] = [{**c, "env": [*(c.get("env") or ()), variable]} for c in spec[section]]
    pod["spec"] = spec
    return pod


def _ranges(numbers: list[int]) -> str:
    """0,1,2,5 as "0-2,5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)
