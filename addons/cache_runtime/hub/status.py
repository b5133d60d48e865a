"""The status of a Dataset on the hub, and of its DataLoads, from what clusters say. Pure functions."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addons.cache_runtime.agent.operations.status import achieved
from addons.cache_runtime.agent.sizes import human_size
from addons.cache_runtime.agent.status import BOUND, FAILED, NO_RUNTIME, NOT_BOUND, PENDING
from addons.cache_runtime.hub import progress
from addons.cache_runtime.hub.feedback import feedback, own, problem, takes_part
from addons.cache_runtime.hub.names import name_there

LEAVING = "Leaving"  # of a cluster that is to have it no more
_COPIED = ("cachedPercentage", "cachedBytes", "sourceBytes")


def cluster_status(cluster: str, work: Json | None, loads: Sequence[str], *, leaving: bool = False) -> Json:
    """One entry of status.clusters, without its time."""
    entry: Json = {"name": cluster, "phase": PENDING}
    if work is None:
        return entry
    said = feedback(work, "Dataset")
    if said.get("reason") == NO_RUNTIME:  # for a moment: it is in the same work
        said = {**said, "phase": PENDING, "message": ""}
    entry["phase"] = str(said.get("phase") or PENDING)
    entry |= {name: said[name] for name in _COPIED if said.get(name) is not None}
    taken = own(work)
    reports = [feedback(work, "DataLoad", name_there(work, name)) for name in loads]
    reports = [{"phase": FAILED} if taken else each for each in reports]
    origin = [int(each["originBytes"]) for each in reports if str(each.get("originBytes", "")).isdigit()]
    if origin:
        entry["originBytes"] = sum(origin)
    if reports:
        entry["loadPhase"] = load_phase(each.get("phase") for each in reports)
        counted = [progress.of_report(each) for each in _latest(reports)]
        if found := progress.together(counted, len(counted)):
            entry["progress"] = found
            entry |= {k: v for k, v in progress.infos(found).items() if k in ("rate", "eta")}
    if leaving:
        entry["phase"] = LEAVING
        why = (get_condition(work, "Deleting") or {}).get("message")
    else:
        failed = next((each.get("message") for each in reports if each.get("phase") == "Failed"), "")
        waiting = said.get("message") if entry["phase"] != BOUND else _of_bound(said)
        why = problem(work) or failed or waiting
    if why:
        entry["message"] = str(why)
    return entry


def _of_bound(said: Json) -> str:
    """What is wrong with what can be mounted."""
    if said.get("lost") == "True":
        return str(said.get("lostMessage") or "")
    return str(said.get("initializedMessage") or "") if said.get("initialized") == "False" else ""


def _latest(reports: Sequence[Json]) -> Sequence[Json]:
    """Those that run; what is complete is told while none does."""
    running = [each for each in reports if each.get("phase") == "Executing"]
    return running or [each for each in reports if each.get("phase") == "Complete"][-1:]


def without_agent(entry: Json) -> Json:
    """The entry of a cluster that is chosen and caches nothing."""
    command = f"fleetadm addon enable cache-runtime --clusters {entry['name']}"
    return {**entry, "message": f"the add-on cache-runtime is not enabled there: {command}"}


def load_phase(phases: Iterable[str | None]) -> str:
    """Of one operation in several places: failed anywhere, complete everywhere, or as far as the last."""
    known = [phase or "Pending" for phase in phases]
    if "Failed" in known:
        return "Failed"
    if known and all(phase == "Complete" for phase in known):
        return "Complete"
    return "Executing" if {"Executing", "Complete"} & set(known) else "Pending"


def dataset_status(
    dataset: Json,
    clusters: Sequence[Json],
    said: Sequence[Json],
    *,
    why: tuple[str, str] | None = None,
    now: str | None = None,
) -> Json:
    """The whole status. `said` is what the clusters' Datasets say, `why` reason and message of what keeps it
    from being carried out.
    """
    old: Json = dataset.get("status") or {}
    conditions: list[Json] = copy.deepcopy(old.get("conditions") or [])
    moment = now or now_rfc3339()
    staying = [entry for entry in clusters if entry["phase"] != LEAVING]
    bound = [entry for entry in staying if entry["phase"] == BOUND]
    phase = _phase(staying, why)
    if why is None and not staying:
        why = ("NoCluster", "No cluster has been chosen yet")
    text = f"{len(bound)} of {len(staying)} clusters have it bound"
    waiting = next((f"; {e['name']}: {e['message']}" for e in staying if e.get("message")), "")
    reason = why[0] if why else "DatasetReady" if phase == BOUND else "DatasetNotReady"
    if set_condition(
        conditions, "Ready", phase == BOUND and not why, reason, why[1] if why else text + waiting, now=moment
    ):
        ready = get_condition(conditions, "Ready")
        assert ready is not None
        ready["lastUpdateTime"] = moment
    status: Json = {
        **{k: v for k, v in old.items() if k not in ("cacheStates", "ufsTotal", "fileNum", "progress")},
        "phase": phase,
        "conditions": conditions,
        "observedGeneration": dataset["metadata"].get("generation", 0),
        "clusters": _timed(old.get("clusters") or [], clusters, moment),
    }
    for field in ("ufsTotal", "fileNum"):
        if value := next((each[field] for each in said if each.get(field)), None):
            status[field] = value
    mine = [entry for entry in staying if takes_part(entry)]
    status["cacheStates"] = _states(mine)
    counted = [entry["progress"] for entry in mine if entry.get("progress")]
    if found := progress.together(counted, sum("loadPhase" in entry for entry in mine)):
        status["progress"] = found
    return status


def operation_status(
    kind: str,
    op: Json,
    said: Sequence[Json],
    expected: int,
    *,
    why: str = "",
    notes: str = "",
    now: str | None = None,
) -> Json:
    """The whole status of an operation on the hub: phase over its clusters, sums in `infos`.

    `said` is what those of `expected` clusters say that have it; `why` what keeps it from being sent, which
    is nothing to one that is complete.
    """
    old: Json = op.get("status") or {}
    if not expected and (old.get("phase") == "Complete" or (old.get("phase") == "Failed" and not why)):
        return old
    phase = load_phase([each.get("phase") for each in said] + [None] * (expected - len(said)))
    infos: dict[str, str] = {}
    for field in ("originBytes", "peerBytes"):
        values = [int(each[field]) for each in said if str(each.get(field, "")).isdigit()]
        if values:
            infos[field] = str(sum(values))
    mine = [each for each in said if takes_part(each)]
    counted = progress.together([progress.of_report(e) for e in mine], expected - len(said) + len(mine))
    infos |= progress.infos(counted)
    if notes:
        infos["notes"] = notes
    if message := next((each["message"] for each in said if each.get("message")), why):
        infos["message"] = str(message)
    conditions: list[Json] = []
    if phase in ("Complete", "Failed"):
        done = f"{achieved(infos)} on {expected} clusters" if expected > 1 else achieved(infos)
        text = infos.get("message", "") if phase == "Failed" else done
        conditions = _ended(old, phase, f"{kind}{phase}", text, now)
    ended = [str(each["duration"]) for each in said if each.get("duration")]
    duration = max(ended, key=len) if phase in ("Complete", "Failed") and ended else "Unfinished"
    return {**old, "phase": phase, "duration": duration, "conditions": conditions, "infos": infos}


def refused_status(op: Json, message: str, *, now: str | None = None) -> Json:
    """The whole status of an operation that cannot be carried out as it is."""
    old: Json = op.get("status") or {}
    conditions = _ended(old, "Failed", "DataOperationNotValid", message, now)
    infos = {"message": message}
    return {**old, "phase": "Failed", "duration": "-", "conditions": conditions, "infos": infos}


def _ended(old: Json, phase: str, reason: str, message: str, now: str | None) -> list[Json]:
    conditions = [c for c in copy.deepcopy(old.get("conditions") or []) if c["type"] == phase]
    set_condition(conditions, phase, True, reason, message, now=now or now_rfc3339())
    return conditions


def leaving(left: Sequence[str]) -> str:
    """What a Dataset that is to be on no cluster waits for."""
    return f"Waiting for {', '.join(left)} to remove it" if left else "It is on no cluster"


def _phase(staying: Sequence[Json], why: tuple[str, str] | None) -> str:
    if not staying:
        return NOT_BOUND
    phases = {entry["phase"] for entry in staying}
    if FAILED in phases or (why and BOUND not in phases):
        return FAILED if FAILED in phases else PENDING
    return BOUND if phases == {BOUND} else PENDING


def _states(staying: Sequence[Json]) -> dict[str, str]:
    """As of one cache: the sum, and the least percentage, since a pod may run on any of them."""
    if not staying or any("cachedBytes" not in entry for entry in staying):
        return {}
    states = {"cached": human_size(sum(entry["cachedBytes"] for entry in staying))}
    shares = [str(entry.get("cachedPercentage", "")).rstrip("%") for entry in staying]
    if all(shares):
        states["cachedPercentage"] = f"{min(shares, key=float)}%"
    return states


def _timed(old: Sequence[Json], new: Sequence[Json], moment: str) -> list[Json]:
    """Times move only when something else does."""
    before = {entry["name"]: entry for entry in old}
    timed = []
    for entry in new:
        was = before.get(entry["name"], {})
        same = {k: v for k, v in was.items() if k != "lastUpdateTime"} == entry
        timed.append({**entry, "lastUpdateTime": was["lastUpdateTime"] if same else moment})
    return timed
