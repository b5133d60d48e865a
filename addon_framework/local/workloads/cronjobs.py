"""CronJobs: a Job whenever the schedule says so.

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from addon_framework.api.conditions import is_true
from addon_framework.api.core import CRONJOBS, JOBS
from addon_framework.api.meta import Json, owner_reference
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.kube import AlreadyExists, Controller, Key, Watch, patch_status
from addon_framework.local.cron import Schedule
from addon_framework.local.events import Recorder
from addon_framework.local.workloads.pods import child_of, owned_by, owner_keys

_HOW = "cronjob.kubernetes.io/instantiate"
_TIME = "batch.kubernetes.io/cronjob-scheduled-timestamp"


class CronJobController(Controller):
    """Of times that were missed only the last is made up for, and that within startingDeadlineSeconds."""

    name = "cronjob"

    def __init__(self, recorder: Recorder, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._recorder, self._now = recorder, now

    def watches(self) -> list[Watch]:
        """CronJobs and their Jobs."""
        return [Watch(CRONJOBS), Watch(JOBS, map=owner_keys(lambda: self.cache(CRONJOBS), "CronJob"))]

    async def reconcile(self, key: Key) -> float | None:
        """One CronJob; when its next time is."""
        cron = self.cache(CRONJOBS).get(key)
        if cron is None or cron["metadata"].get("deletionTimestamp"):
            return None
        spec, status = cron["spec"], dict(cron.get("status") or {})
        jobs = owned_by(self.cache(JOBS), cron)
        self._tell_of_ends(cron, jobs)
        await self._forget_history(cron, jobs)
        try:
            schedule = Schedule.parse(spec["schedule"])
            zone = ZoneInfo(spec.get("timeZone") or "UTC")
        except (ValueError, ZoneInfoNotFoundError) as error:
            self._recorder.event(cron, "Warning", "UnparseableSchedule", str(error))
            return None
        now = self._now().astimezone(zone)
        due = self._due(cron, schedule, now)
        if due is not None and not spec.get("suspend") and await self._start(cron, jobs, due):
            status["lastScheduleTime"] = now_rfc3339(due)
        status["active"] = [
            {**owner_reference(job, JOBS), "namespace": key.namespace} for job in _active(jobs)
        ]
        done = [job["status"]["completionTime"] for job in jobs if is_true(job, "Complete")]
        if done:
            status["lastSuccessfulTime"] = max(done)
        if not status["active"]:
            del status["active"]
        await patch_status(self.client, CRONJOBS, cron, status, exact=True)
        following = schedule.following(now)
        return max((following - now).total_seconds(), 0.05) if following else None

    def _due(self, cron: Json, schedule: Schedule, now: datetime) -> datetime | None:
        """The last time of the schedule that has come and was not yet served."""
        metadata = cron["metadata"]
        since = (cron.get("status") or {}).get("lastScheduleTime") or metadata["creationTimestamp"]
        due = schedule.last(parse_time(since).astimezone(now.tzinfo), now)
        deadline = cron["spec"].get("startingDeadlineSeconds")
        if due is not None and deadline is not None and (now - due).total_seconds() > int(deadline):
            if not cron["spec"].get("suspend"):
                why = f"Missed scheduled time to start a job: {due.strftime('%a, %d %b %Y %H:%M:%S %z')}"
                self._recorder.event(cron, "Warning", "MissSchedule", why)
            return None
        return due

    async def _start(self, cron: Json, jobs: list[Json], due: datetime) -> bool:
        """Whether this time is served."""
        active = _active(jobs)
        policy = cron["spec"].get("concurrencyPolicy", "Allow")
        if active and policy == "Forbid":
            why = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._recorder.event(cron, "Normal", "JobAlreadyActive", why)
            return False
        if active and policy == "Replace":
            for old in active:
                await self._delete(cron, old)
        template, metadata = cron["spec"]["jobTemplate"], cron["metadata"]
        name = f"{metadata['name']}-{int(due.timestamp()) // 60}"  # the same time never makes two
        job = child_of(cron, CRONJOBS, JOBS, template.get("metadata"), name=name)
        job["metadata"]["annotations"][_TIME] = now_rfc3339(due)
        job["spec"] = template["spec"]
        try:
            await self.client.create(JOBS, job)
        except AlreadyExists:
            return True
        self._recorder.event(cron, "Normal", "SuccessfulCreate", f"Created job {name}")
        return True

    def _tell_of_ends(self, cron: Json, jobs: list[Json]) -> None:
        """Of Jobs that the status still has as active."""
        known = {job["metadata"]["uid"]: job for job in jobs}
        for reference in (cron.get("status") or {}).get("active") or ():
            job = known.get(reference["uid"])
            if job is None:
                gone = f"Active job went missing: {reference['name']}"
                self._recorder.event(cron, "Normal", "MissingJob", gone)
            elif _has_ended(job):
                how = "Complete" if is_true(job, "Complete") else "Failed"
                message = f"Saw completed job: {reference['name']}, condition: {how}"
                self._recorder.event(cron, "Normal", "SawCompletedJob", message)

    async def _forget_history(self, cron: Json, jobs: list[Json]) -> None:
        for kind, field, default in (
            ("Complete", "successfulJobsHistoryLimit", 3),
            ("Failed", "failedJobsHistoryLimit", 1),
        ):
            ended = [job for job in jobs if is_true(job, kind)]
            ended.sort(key=lambda job: str(job["metadata"]["creationTimestamp"]))
            for job in ended[: max(len(ended) - int(cron["spec"].get(field, default)), 0)]:
                await self._delete(cron, job)

    async def _delete(self, cron: Json, job: Json) -> None:
        if not job["metadata"].get("deletionTimestamp") and await self.client.remove(JOBS, job):
            done = f"Deleted job {job['metadata']['name']}"
            self._recorder.event(cron, "Normal", "SuccessfulDelete", done)


def _active(jobs: list[Json]) -> list[Json]:
    """Those that run and that we have started: what `kubectl create job --from` makes is nobody's turn."""
    return [
        job
        for job in jobs
        if not _has_ended(job) and (job["metadata"].get("annotations") or {}).get(_HOW) != "manual"
    ]


def _has_ended(job: Json) -> bool:
    return is_true(job, "Complete") or is_true(job, "Failed")
