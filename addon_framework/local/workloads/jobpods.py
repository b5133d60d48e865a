"""A Job's pods: what has become of them, counted once each, and what its policies make of failures.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup. A pod keeps a
finalizer until its end is in the Job's status, so whoever deletes pods changes no count.
"""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.meta import Json
from addon_framework.local.workloads.pods import has_ended

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"


class Tally:
    """What the status says, and what it will say with the pods that have ended since."""

    def __init__(self, job: Json, pods: list[Json]) -> None:
        self._job, spec = job, job["spec"]
        status = job.get("status") or {}
        self.indexed = spec.get("completionMode") == "Indexed"
        self.fatal = ""  # why a pod's failure is the Job's
        self.completed = numbers(status.get("completedIndexes"))
        self.lost = numbers(status.get("failedIndexes"))
        uncounted = status.get("uncountedTerminatedPods") or {}
        self.uncounted = {kind: list(uncounted.get(kind) or ()) for kind in ("succeeded", "failed")}
        self._counted = {kind: int(status.get(kind, 0)) for kind in self.uncounted}
        self.ended: list[Json] = []  # whose finalizer may go once the status is written
        held = {pod["metadata"]["uid"]: pod for pod in pods if is_tracked(pod)}
        for kind, uids in self.uncounted.items():
            gone = [uid for uid in uids if uid not in held]
            self._counted[kind] += len(gone)
            self.uncounted[kind] = [uid for uid in uids if uid in held]
        for uid, pod in held.items():
            if uid not in (*self.uncounted["succeeded"], *self.uncounted["failed"]):
                self._count(uid, pod)
            else:
                self.ended.append(pod)

    @property
    def succeeded(self) -> int:
        """Pods, or indexes."""
        if self.indexed:
            return len(self.completed)
        return self._counted["succeeded"] + len(self.uncounted["succeeded"])

    @property
    def failed(self) -> int:
        """Pods."""
        return self._counted["failed"] + len(self.uncounted["failed"])

    def status(self) -> Json:
        """The fields that are counted; the numbers are of pods that have let go of their finalizer."""
        found: Json = {kind: number for kind, number in self._counted.items() if number}
        found["uncountedTerminatedPods"] = {kind: uids for kind, uids in self.uncounted.items() if uids}
        if self.indexed:
            found |= {"succeeded": len(self.completed)} if self.completed else {}
            found |= {"completedIndexes": ranges(self.completed)} if self.completed else {}
            if self._job["spec"].get("backoffLimitPerIndex") is not None:
                found["failedIndexes"] = ranges(self.lost)
        return found

    def _count(self, uid: str, pod: Json) -> None:
        if (pod.get("status") or {}).get("phase") == "Succeeded":
            if self.indexed:
                self.completed.add(index_of(pod))
            else:
                self.uncounted["succeeded"].append(uid)
        elif has_failed(self._job, pod):
            action, why = _action(self._job, pod)
            if action == "FailJob":
                self.fatal = self.fatal or why
            limit = self._job["spec"].get("backoffLimitPerIndex")
            spent = action == "Count" and limit is not None and failures(pod) >= int(limit)
            if action == "FailIndex" or spent:
                self.lost.add(index_of(pod))
            if action != "Ignore":
                self.uncounted["failed"].append(uid)
        else:
            return
        self.ended.append(pod)


def is_tracked(pod: Json) -> bool:
    """Whether its end has not been counted."""
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def has_failed(job: Json, pod: Json) -> bool:
    """One that is on its way out has, too, unless only its end is to decide (podReplacementPolicy)."""
    if has_ended(pod):
        return bool(pod["status"]["phase"] == "Failed")
    going = bool(pod["metadata"].get("deletionTimestamp"))
    return going and job["spec"].get("podReplacementPolicy", "TerminatingOrFailed") == "TerminatingOrFailed"


def failures(pod: Json) -> int:
    """How many pods of the same index failed before it."""
    return int((pod["metadata"].get("annotations") or {}).get(FAILURES, 0))


def index_of(pod: Json) -> int:
    """The completion index; -1 where there are none."""
    return int((pod["metadata"].get("annotations") or {}).get(INDEX, -1))


def _action(job: Json, pod: Json) -> tuple[str, str]:
    """The first rule of podFailurePolicy that a failed pod matches: its action, and why."""
    status = pod.get("status") or {}
    where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for number, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        end = f"matching {rule['action']} rule at index {number}"
        codes = rule.get("onExitCodes") or {"values": (), "operator": "In"}
        for name, code in _exit_codes(status):
            named = codes.get("containerName") in (None, name)
            if named and code and (code in codes["values"]) == (codes["operator"] == "In"):
                return rule["action"], f"Container {name} for pod {where} failed with exit code {code} {end}"
        for pattern in rule.get("onPodConditions") or ():
            for condition in status.get("conditions") or ():
                sought = (pattern["type"], pattern.get("status", "True"))
                if (condition["type"], condition["status"]) == sought:
                    return rule["action"], f"Pod {where} has condition {pattern['type']} {end}"
    return "Count", ""


def _exit_codes(status: Json) -> Iterable[tuple[str, int]]:
    for section in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(section) or ():
            if ended := (each.get("state") or {}).get("terminated"):
                yield each["name"], int(ended["exitCode"])


def met_success_rule(job: Json, completed: set[int]) -> int | None:
    """The number of the rule of successPolicy that the completed indexes satisfy."""
    for number, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        named = numbers(rule.get("succeededIndexes")) if rule.get("succeededIndexes") else None
        done = completed if named is None else completed & named
        least = rule.get("succeededCount")
        if len(done) >= int(least) if least is not None else named is not None and named <= done:
            return number
    return None


def numbers(text: str | None) -> set[int]:
    """ "0-2,5" as {0, 1, 2, 5}."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first:
            found |= set(range(int(first), int(last or first) + 1))
    return found


def ranges(found: Iterable[int]) -> str:
    """{0, 1, 2, 5} as "0-2,5"."""
    runs: list[list[int]] = []
    for number in sorted(found):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)
