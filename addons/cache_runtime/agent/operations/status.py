"""The status of an operation. Pure functions."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339, parse_time
from addons.cache_runtime.agent.sizes import human_duration, human_size, percentage

PENDING, EXECUTING, COMPLETE, FAILED = "Pending", "Executing", "Complete", "Failed"
_AGAIN, _AGAIN_MAX = 30.0, 1800.0  # seconds
LOST = "lost"  # in infos, what was loaded and is gone (see losses), until it is loaded again
_OF_LOSSES = (LOST, "losses", "lostTime")


@dataclass(frozen=True)
class PartState:
    """One part: what its pods reported, and what became of its job."""

    node: str
    said: Mapping[str, Json] = field(default_factory=dict)
    job: str = ""  # Complete, Failed, or "" while it runs
    reason: str = ""
    message: str = ""  # why the job failed, or what its pods wait for

    @property
    def done(self) -> bool:
        """Everything is there. The loader's word is enough: it has verified what it copied."""
        return "done" in self.said or self.job == "Complete"

    @property
    def failed(self) -> bool:
        """It will not get better by itself."""
        permanent = bool(self.said.get("failed", {}).get("permanent"))
        return not self.done and (permanent or self.job == "Failed")


def phase_of(nodes: Sequence[PartState]) -> str:
    """Of the whole: failed when one is, complete when all are."""
    if any(node.failed for node in nodes):
        return FAILED
    return COMPLETE if nodes and all(node.done for node in nodes) else EXECUTING


def waiting_status(load: Json, message: str, inputs: str = "") -> Json:
    """Before anything runs."""
    old = (load.get("status") or {}).get("infos") or {}
    infos = {"message": message} if message else {}
    infos |= {name: old[name] for name in _OF_LOSSES if name in old}
    if inputs:
        infos["inputs"] = inputs
    return {"phase": PENDING, "duration": "Unfinished", "conditions": [], "infos": infos} | _kept(load)


def failed_status(load: Json, reason: str, message: str, inputs: str, now: datetime) -> Json:
    """Refused, or given up; `inputs` is what has to change for another attempt."""
    old = load.get("status") or {}
    infos = {**(old.get("infos") or {}), "message": message, "inputs": inputs}
    if old.get("phase") != FAILED or "finishTime" not in infos:
        infos["finishTime"] = f"{now.timestamp():.3f}"
    return {
        "phase": FAILED,
        "duration": _duration(infos, load, now) if old.get("phase") != FAILED else old.get("duration", "-"),
        "conditions": _conditions(old, FAILED, reason, message, now),
        "infos": infos,
    } | _kept(load)


def running_status(
    load: Json,
    nodes: Sequence[PartState],
    inputs: str,
    now: datetime,
    measured: tuple[int, int] | None,
    missing: str = "",
) -> Json:
    """While it runs and after. `missing` says what is to join the parts: it is not complete without."""
    old = load.get("status") or {}
    phase = phase_of(nodes)
    if missing and phase == COMPLETE:
        phase = EXECUTING
    infos = {**progress(nodes, measured), "inputs": inputs}
    before = old.get("infos") or {}
    infos |= {k: before[k] for k in _OF_LOSSES if k in before and (k != LOST or phase != COMPLETE)}
    starts = [float(n.said["start"]["time"]) for n in nodes if "time" in n.said.get("start", {})]
    if starts:
        infos["startTime"] = f"{min(starts):.3f}"
    elif "startTime" in (old.get("infos") or {}):
        infos["startTime"] = old["infos"]["startTime"]
    retries = int((old.get("infos") or {}).get("retries", 0))
    if (old.get("infos") or {}).get("inputs") == inputs and (retries or phase == FAILED):
        infos["retries"] = str(retries + (phase == FAILED and old.get("phase") != FAILED))
    if phase == FAILED:
        bad = next(node for node in nodes if node.failed)
        said = bad.said.get("failed", {})
        reason = str(said.get("reason") or bad.reason or "OperationFailed")
        message = str(said.get("message") or bad.message or f"what ran on node {bad.node} failed")
        return failed_status({**load, "status": {**old, "infos": infos}}, reason, message, inputs, now)
    status: Json = {"phase": phase, "duration": "Unfinished", "conditions": [], "infos": infos}
    if phase == COMPLETE:
        ends = [float(n.said["done"]["time"]) for n in nodes if "time" in n.said.get("done", {})]
        infos["finishTime"] = f"{max(ends) if ends else now.timestamp():.3f}"
        status["duration"] = _duration(infos, load, now)
        status["conditions"] = _conditions(old, COMPLETE, "OperationComplete", achieved(infos), now)
    else:
        trouble = next((text for text in map(_trouble, nodes) if text), "")
        if trouble:
            infos["message"] = f"trying again: {trouble}"
        elif waiting := next((node.message for node in nodes if not node.done and node.message), ""):
            infos["message"] = waiting
        elif missing:
            infos["message"] = missing
    return status | _kept(load)


def achieved(infos: Mapping[str, str]) -> str:
    """What something that is complete has done, for people."""
    if "files" not in infos:
        return "Everything is done"
    return f"{infos['loaded']} in {infos['files']} {'file' if infos['files'] == '1' else 'files'}"


def settled(op: Json, message: str = "") -> Json:
    """The status of what is complete, without what was said while it ran: the last write but one may have
    come after our copy was made, and then the last has left it there. `message` is of now.
    """
    said = op.get("status") or {}
    infos = {k: v for k, v in (said.get("infos") or {}).items() if k not in ("eta", "etaSeconds", "message")}
    return {**said, "infos": {**infos, "message": message} if message else infos}


def again_in(load: Json, now: datetime) -> float | None:
    """Seconds until what ran and failed is tried again: its surroundings may be others by then, without a
    change of any object. None for what did not fail.
    """
    said = load.get("status") or {}
    infos = said.get("infos") or {}
    if said.get("phase") != FAILED:
        return None
    delay = min(_AGAIN * 2.0 ** min(int(infos.get("retries", 0)), 10) / 2, _AGAIN_MAX)
    return max(0.0, float(infos.get("finishTime") or 0) + delay - now.timestamp())


def is_loading(loads: Iterable[Json]) -> bool:
    """Whether one of them is on its way or will be."""
    return any((load.get("status") or {}).get("phase") in (PENDING, EXECUTING) for load in loads)


def unread(load: Json) -> str:
    """Why what failed could not read its source; "" where something else is wrong, or nothing."""
    said = load.get("status") or {}
    failed: Json = next(iter(said.get("conditions") or []), {}) if said.get("phase") == FAILED else {}
    return str(failed.get("message", "")) if failed.get("reason") == "SourceUnreadable" else ""


def progress(nodes: Sequence[PartState], measured: tuple[int, int] | None) -> dict[str, str]:
    """Bytes, files and rate: of the slowest node, since all copies are the same, and rates added up.

    `version` is there as soon as no node lacks more than weights: engines read those while others come.
    """
    said = [
        {**n.said.get("start", {}), **n.said.get("progress", {}), **n.said.get("done", {})} for n in nodes
    ]
    infos = {"nodes": ",".join(node.node for node in nodes)}
    known = [each for each in said if "bytes" in each]
    if not known or len(known) < len(nodes):
        return infos
    versions = {str(each.get("version") or "") for each in known}
    if len(versions) == 1 and "" not in versions:
        infos["version"] = versions.pop()
    slowest = min(known, key=lambda each: int(each["bytes"]))
    loaded = int(slowest["bytes"])
    total = int(slowest.get("total") or (measured[0] if measured else 0))
    files = int(slowest.get("totalFiles") or (measured[1] if measured else 0))
    infos["bytes"], infos["loaded"] = str(loaded), human_size(loaded)
    if total:
        infos["totalBytes"], infos["percentage"] = str(total), percentage(min(loaded, total), total)
    if files:
        infos["totalFiles"] = str(files)
    # Some programs count files only when they have ended.
    complete = str(files) if all(node.done for node in nodes) else None
    if (copied := slowest.get("files", complete)) is not None:
        infos["files"] = str(copied)
    for name, key in (("originBytes", "origin"), ("peerBytes", "peers"), ("unverifiedFiles", "unverified")):
        if number := sum(int(each.get(key) or 0) for each in known):
            infos[name] = str(number)
    if rate := sum(int(each.get("rate") or 0) for each in known):
        infos["rate"], infos["bytesPerSecond"] = f"{human_size(rate)}/s", str(rate)
    if (seconds := _eta(known, measured)) is not None and not all(node.done for node in nodes):
        infos["eta"], infos["etaSeconds"] = human_duration(seconds), str(round(seconds))
    return infos


def found_by(loads: Iterable[Json]) -> tuple[int, int] | None:
    """Bytes and files of a source that only loads can list: as the last that was of all of it had them."""
    whole: list[Json] = [
        infos
        for load in loads
        if not any(each.get("path", "/") != "/" for each in load["spec"].get("target") or [])
        and (load.get("status") or {}).get("phase") == COMPLETE
        and "totalBytes" in (infos := load["status"]["infos"])
    ]
    last = max(whole, key=lambda infos: float(infos.get("finishTime") or 0), default=None)
    return (int(last["totalBytes"]), int(last.get("totalFiles") or 0)) if last is not None else None


def _eta(known: Sequence[Json], measured: tuple[int, int] | None) -> float | None:
    """Until the last part is done, if each goes on as it has; None as long as one says no rate."""
    left = []
    for each in known:
        total = int(each.get("total") or (measured[0] if measured else 0))
        missing, rate = max(0, total - int(each["bytes"])), int(each.get("rate") or 0)
        if not total or (missing and not rate):
            return None
        left.append(missing / rate if missing else 0.0)
    return max(left)


def continued(before: Mapping[str, Json], last: Mapping[str, Json]) -> dict[str, Json]:
    """What a pod says, after those that it replaces. It may try for long before it has anything to say: what
    they failed with is why nothing moves until something does.
    """
    said = {**before, **last}
    if "start" in before:
        said["start"] = before["start"]
    if "start" in last and "failed" not in last and (failed := said.pop("failed", None)) is not None:
        said["trouble"] = max(failed, said.get("trouble", {}), key=_time)
    return said


def is_troubled(said: Mapping[str, Json]) -> bool:
    """Whether nothing has moved since a pod said why."""
    return "trouble" in said and "done" not in said and _time(said["trouble"]) >= _time(said.get("progress"))


def _trouble(node: PartState) -> str:
    """Why nothing has moved since the last that did, and where."""
    said = node.said.get("failed") or (node.said["trouble"] if is_troubled(node.said) else None)
    if said is None:
        return ""
    where = f" (on node {node.node})" if node.node else ""
    return f"{said.get('message', '')}{where}"


def _time(said: Json | None) -> float:
    return float((said or {}).get("time", 0))


def _conditions(old: Json, kind: str, reason: str, message: str, now: datetime) -> list[Json]:
    conditions = [c for c in copy.deepcopy(old.get("conditions") or []) if c.get("type") == kind]
    moment = now_rfc3339(now)
    if set_condition(conditions, kind, True, reason, message, now=moment):
        condition = get_condition(conditions, kind)
        assert condition is not None
        condition["lastProbeTime"] = moment
    return conditions


def _duration(infos: Mapping[str, str], load: Json, now: datetime) -> str:
    if "startTime" not in infos:
        created = load["metadata"].get("creationTimestamp")
        return human_duration((now - parse_time(created)).total_seconds()) if created else "-"
    end = float(infos.get("finishTime") or now.timestamp())
    return human_duration(end - float(infos["startTime"]))


def _kept(load: Json) -> Json:
    """Fields that only other policies have, and which spec this is about."""
    old, names = (
        load.get("status") or {},
        ("lastScheduleTime", "lastSuccessfulTime", "waitingFor", "nodeAffinity"),
    )
    kept = {name: old[name] for name in names if name in old}
    return {**kept, "observedGeneration": load["metadata"].get("generation", 0)}
