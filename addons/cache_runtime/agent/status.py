"""The status of a Dataset and of its runtime. Pure functions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.kube import key_of
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import (
    CACHE_LOST,
    MOUNTS_LOST,
    OVER_QUOTA,
    SLOWER,
    WAITING_CHANGES,
    labels,
)
from addons.cache_runtime.agent.sizes import CALCULATING, human_duration, human_size, percentage
from runtimes.interface import CacheState, Role
from runtimes.speed import is_slower

NOT_BOUND, PENDING, BOUND, FAILED = "NotBound", "Pending", "Bound", "Failed"
NO_RUNTIME = "RuntimeNotFound"  # a reason
UPDATING = "Updating"
MIGRATING = "DataMigrating"
WITHOUT_EFFECT = "FieldsWithoutEffect"  # a condition
IN_USE = "NodesInUse"  # a reason of WorkersScaledIn
SEVERAL = "SeveralRuntimes"  # a condition
Put = Callable[[str, bool, str, str], None]  # a condition: type, status, reason, message


@dataclass(frozen=True)
class Counts:
    """Pods of one component."""

    desired: int = 0
    current: int = 0
    ready: int = 0

    @property
    def phase(self) -> str:
        """As Fluid's RuntimePhase; nothing wanted is ready."""
        if self.ready >= self.desired:
            return "Ready" if self.ready or not self.desired else "NotReady"
        return "PartialReady" if self.ready else "NotReady"


@dataclass(frozen=True)
class Observed:
    """What the controller found out; the status follows from it."""

    counts: dict[str, Counts] = field(default_factory=dict)  # by role
    holder: Role = "worker"  # whose pods have the cache
    state: CacheState = field(default_factory=CacheState)
    measured: tuple[int, int] | None = None
    served: bool = False  # pods that mount the claim would find the data
    ready: bool = False  # and there is the claim
    problem: str = ""  # the specs are wrong, or something failed
    waiting: str = ""  # for what, while not ready
    mounted: bool = True  # whether the sources are, as the Dataset has them now
    mount_time: str = ""  # when they were
    operations: Mapping[str, Sequence[str]] = field(default_factory=dict)  # that execute now, by kind
    in_use: str = ""  # why it is not deleted yet
    leaving: str = ""  # nodes that left the cache, and who keeps them from being cleaned
    outdated: str = ""  # which change waits for clients that are in use
    old_mounts: bool = False  # and whether the mounts are among it
    fixed: str = ""  # which change cannot be made
    lost: str = ""  # what was loaded and is there no more
    over: str = ""  # where there is more than the quota allows
    unmounted: str = ""  # which pods have a directory that is there no more
    broken: str = ""  # which pods do not work though others do, and where
    unreadable: str = ""  # why the source cannot be read
    there: bool = False  # nothing is known against a source that nobody can list
    speeds: Sequence[Json] = ()  # what loads measured, one of each node


def dataset_status(dataset: Json, binding: Binding | None, seen: Observed, now: str | None = None) -> Json:
    """The whole status; times move only when something else does."""
    old: Json = dataset.get("status") or {}
    conditions: list[Json] = copy.deepcopy(old.get("conditions") or [])

    def put(kind: str, status: bool, reason: str, message: str) -> None:
        moment = now or now_rfc3339()
        if set_condition(conditions, kind, status, reason, message, now=moment):
            condition = get_condition(conditions, kind)
            assert condition is not None
            condition["lastUpdateTime"] = moment

    status: Json = {"phase": _phase(binding, seen), "conditions": conditions}
    status["observedGeneration"] = dataset["metadata"].get("generation", 0)
    if binding is None:
        hint = f"create one named {dataset['metadata'].get('name')}, such as a LocalRuntime"
        put("Ready", False, NO_RUNTIME, f"no runtime has the name of this Dataset; {hint}")
        return status
    _remarks(binding, conditions, put)
    _changes(seen, conditions, put)
    _readiness(binding.runtime.get("kind", ""), seen, conditions, put)
    _sources(status["phase"], seen, conditions, put)
    if seen.lost:
        put(CACHE_LOST, True, "FilesMissing", seen.lost)
    elif get_condition(conditions, CACHE_LOST) is not None:
        put(CACHE_LOST, False, "CacheRestored", "it has been loaded again")
    if seen.over or get_condition(conditions, OVER_QUOTA) is not None:
        text = seen.over or "what is there fits"
        put(OVER_QUOTA, bool(seen.over), "QuotaLowered" if seen.over else "WithinQuota", text)
    if seen.unmounted:
        put(MOUNTS_LOST, True, "DirectoryRemoved", seen.unmounted)
    elif get_condition(conditions, MOUNTS_LOST) is not None:
        put(MOUNTS_LOST, False, "MountsRestored", "all pods have the cache")
    cache = binding.cache
    named = {"name": cache.name, "namespace": cache.namespace}
    status["runtimes"] = [{**named, "category": "Accelerate", "type": binding.backend.type}]
    applied = dataset.get("spec") or {} if seen.mounted and not seen.old_mounts else old
    mounts = applied.get("mounts") or []
    status["mounts"] = [{k: v for k, v in mount.items() if k != "encryptOptions"} for mount in mounts]
    if endpoint := binding.backend.hcfs(cache):
        status["hcfs"] = {"endpoint": endpoint}
    status |= _totals(old, seen)
    status["cacheStates"] = _states(old, seen)
    status["numbers"] = numbers(seen, old.get("numbers") or {})
    _speeds(status["numbers"], conditions, put)
    if seen.operations:
        status["operationRef"] = {kind: ",".join(sorted(names)) for kind, names in seen.operations.items()}
    return status


def _readiness(kind: str, seen: Observed, conditions: list[Json], put: Put) -> None:
    """Whether the data can be mounted, and why not."""
    if seen.problem:
        put("Ready", False, "DatasetFailedToSetup", seen.problem)
        put("NotReady", True, "DatasetFailedToSetup", seen.problem)
    elif seen.in_use:
        put("Ready", False, "DatasetDeleting", seen.in_use)
    elif seen.ready:
        put("Ready", True, "DatasetReady", "The data can be mounted")
        put("RuntimeScheduled", True, "DatasetReady", f"{kind} runs")
        if seen.broken:
            put("NotReady", True, "PodsNotReady", seen.broken)
        elif get_condition(conditions, "NotReady") is not None:
            put("NotReady", False, "DatasetReady", "All its pods work")
    else:
        put("Ready", False, "DatasetNotReady", seen.waiting or f"waiting for {kind}")
        if seen.broken and get_condition(conditions, "RuntimeScheduled") is not None:  # it did run
            put("NotReady", True, "PodsNotReady", seen.broken)


def _sources(phase: str, seen: Observed, conditions: list[Json], put: Put) -> None:
    """Whether what the Dataset names is what is mounted, and whether it can be read."""
    if phase == UPDATING:
        put("Updating", True, "DatasetUpdating", seen.waiting or "its mounts change")
    elif get_condition(conditions, "Updating") is not None and seen.mounted:
        put("Updating", False, "DatasetReady", "Its mounts are those of the spec")
    if seen.unreadable:
        put("Initialized", False, "SourceUnreadable", seen.unreadable)
    elif seen.measured is not None:
        put("Initialized", True, "DatasetReady", "The source has been read")
    elif get_condition(conditions, "Initialized") is not None and seen.there:
        put("Initialized", True, "DatasetReady", "The source is there")


def _speeds(known: Json, conditions: list[Json], put: Put) -> None:
    """Whether the cache is slower than its source, once both are measured."""
    cache, source = (known.get(f"{of}BytesPerSecond") for of in ("cache", "source"))
    if not cache or not source:
        return
    if (slower := is_slower(cache, source)) or get_condition(conditions, SLOWER) is not None:
        text = f"the cache reads {human_size(cache)}/s, the source {human_size(source)}/s"
        put(SLOWER, slower, "CacheMeasured", text)


def _totals(old: Json, seen: Observed) -> Json:
    """What the source has; else what an earlier run of this agent found."""
    if seen.measured is not None:
        return {"ufsTotal": human_size(seen.measured[0]), "fileNum": str(seen.measured[1])}
    if old.get("ufsTotal") not in (None, "", CALCULATING):
        return {"ufsTotal": old["ufsTotal"], "fileNum": old.get("fileNum", "")}
    return {"ufsTotal": CALCULATING, "fileNum": CALCULATING}


def _remarks(binding: Binding, conditions: list[Json], put: Put) -> None:
    """What was asked for and is not done, until it is no longer asked for."""
    kind = binding.runtime.get("kind", "")
    if binding.ignored or get_condition(conditions, SEVERAL) is not None:
        others = ", ".join(binding.ignored)
        text = f"it is cached by its {kind}; remove the {others} of the same name, which does nothing"
        put(SEVERAL, bool(binding.ignored), "RuntimesOfOneName", text if others else "it has one runtime")
    if binding.notes or get_condition(conditions, WITHOUT_EFFECT) is not None:
        text = "; ".join(binding.notes) or "every field that is given has an effect"
        put(WITHOUT_EFFECT, bool(binding.notes), "NoEffect", text)


def _changes(seen: Observed, conditions: list[Json], put: Put) -> None:
    """What was changed and is not seen by everyone yet, or will never be."""
    text = "; ".join(filter(None, (seen.fixed, seen.outdated)))
    if text:
        put(WAITING_CHANGES, True, "VolumeCannotChange" if seen.fixed else "ClientsInUse", text)
    elif get_condition(conditions, WAITING_CHANGES) is not None:
        put(WAITING_CHANGES, False, "ChangesApplied", "All of its pods have them")


def cache_states(state: CacheState, measured: tuple[int, int] | None) -> Json:
    """Numbers for people, as Fluid writes them; what is not known is left out."""
    found: Json = {}
    if state.cached is not None:
        found["cached"] = human_size(state.cached)
        if measured is not None:
            found["cachedPercentage"] = percentage(min(state.cached, measured[0]), measured[0])
    if state.capacity is not None:
        found["cacheCapacity"] = human_size(state.capacity)
    if state.hit_ratio is not None:
        found["cacheHitRatio"] = percentage(state.hit_ratio, 1)
    if state.local is not None:
        found["localThroughputRatio"] = percentage(state.local, 1)
        found["cacheThroughputRatio"] = percentage(state.local + (state.remote or 0), 1)
    if state.remote is not None:
        found["remoteThroughputRatio"] = percentage(state.remote, 1)
    return found


def numbers(seen: Observed, old: Json) -> Json:
    """The same as integers; what is not known now is what it was."""
    state, found = seen.state, {}
    if state.cached is not None:
        old = {name: value for name, value in old.items() if name != "hitPercent"}
    if seen.measured is not None:
        found["sourceBytes"], found["sourceFiles"] = seen.measured
    if state.cached is not None:
        found["cachedBytes"] = state.cached
    if state.capacity is not None:
        found["capacityBytes"] = state.capacity
    if state.hit_ratio is not None:
        found["hitPercent"] = round(100 * state.hit_ratio)
    if seen.speeds:
        slowest = min(seen.speeds, key=lambda said: int(said["cache"]) / max(int(said["source"]), 1))
        found["cacheBytesPerSecond"], found["sourceBytesPerSecond"] = slowest["cache"], slowest["source"]
    return {**old, **found}


def _states(old: Json, seen: Observed) -> Json:
    """An agent that has just started does not know everything yet; that is no news."""
    before = old.get("cacheStates") or {}
    if seen.state.cached is None:
        return dict(before)
    states = cache_states(seen.state, seen.measured)
    if seen.measured is None and "cachedPercentage" in before and states["cached"] == before.get("cached"):
        states["cachedPercentage"] = before["cachedPercentage"]
    return states


def runtime_status(binding: Binding, seen: Observed, states: Json, now: datetime) -> Json:
    """Counts and phases; every field that Fluid's schema requires is there."""
    old, key = binding.runtime.get("status") or {}, key_of(binding.runtime)
    status: Json = {"valueFile": "", "conditions": copy.deepcopy(old.get("conditions") or [])}
    status["observedGeneration"] = binding.runtime["metadata"].get("generation", 0)
    _ready(status["conditions"], seen, now)
    status |= _parts(seen) if binding.backend.status_of_parts else _flat_parts(seen)
    if (holders := seen.counts.get(seen.holder)) is not None:  # what a HorizontalPodAutoscaler counts
        status["selector"] = ",".join(f"{k}={v}" for k, v in sorted(labels(key, seen.holder).items()))
        nested = (old.get("worker") or {}).get("desiredReplicas")
        before = int(old.get("desiredWorkerNumberScheduled") or nested or 0)
        _scaled(status["conditions"], before, holders.desired, now)
        _left(status["conditions"], seen.leaving, now)
    if not binding.backend.status_of_parts:
        status["cacheStates"] = states
    if endpoint := binding.backend.gateway(binding.cache):
        status["apiGateway"] = {"endpoint": endpoint}
    if seen.mount_time:
        status["mountTime"] = seen.mount_time
    status["setupDuration"] = old.get("setupDuration", "")
    if seen.ready and not status["setupDuration"]:
        created = parse_time(binding.runtime["metadata"]["creationTimestamp"])
        status["setupDuration"] = human_duration((now - created).total_seconds())
    return status


def _flat_parts(seen: Observed) -> Json:
    """As most runtimes have it: a field of each number of each part."""
    said: Json = {"workerReason": seen.problem} if seen.problem else {}
    for role, prefix in (("master", "master"), (seen.holder, "worker"), ("client", "fuse")):
        counts = seen.counts.get(role, Counts())
        name = prefix.capitalize()
        said[f"{prefix}Phase"] = counts.phase if role in seen.counts else ""
        said[f"desired{name}NumberScheduled"] = counts.desired
        said[f"current{name}NumberScheduled"] = counts.current
        said[f"{prefix}NumberReady"] = counts.ready
        if role != "master":
            said[f"{prefix}NumberAvailable"] = counts.ready
            said[f"{prefix}NumberUnavailable"] = max(0, counts.desired - counts.ready)
    return said


def _parts(seen: Observed) -> Json:
    """As CacheRuntime has it: an object of each part."""
    said: Json = {}
    for role in ("master", "worker", "client"):
        counts = seen.counts.get(role, Counts())
        said[role] = {
            "phase": counts.phase if role in seen.counts else "",
            "reason": seen.problem,
            "desiredReplicas": counts.desired,
            "currentReplicas": counts.current,
            "readyReplicas": counts.ready,
            "availableReplicas": counts.ready,
            "unavailableReplicas": max(0, counts.desired - counts.ready),
        }
    return said


def _ready(conditions: list[Json], seen: Observed, now: datetime) -> None:
    """Fluid's conditions: of each part whether there is one, and whether some of it, at least, is ready."""
    for title, role in (("Master", "master"), ("Workers", seen.holder), ("Fuses", "client")):
        if (counts := seen.counts.get(role)) is None:
            continue
        ready, text = (
            counts.ready > 0 or not counts.desired,
            f"{counts.ready} of {counts.desired} pods are ready",
        )
        moment = now_rfc3339(now)
        made, works = f"{title}Initialized", f"{title}Ready"
        set_condition(conditions, made, True, made, "its pods are asked for", now=moment)
        set_condition(conditions, works, ready, works if ready else f"{title}NotReady", text, now=moment)


def _scaled(conditions: list[Json], before: int, after: int, now: datetime) -> None:
    """Fluid's conditions; the first count is no change."""
    if not before or before == after:
        return
    for kind, done in (("WorkersScaledOut", after > before), ("WorkersScaledIn", after < before)):
        if done or get_condition(conditions, kind) is not None:
            text = f"from {before} to {after}" if done else ""
            set_condition(conditions, kind, done, kind, text, now=now_rfc3339(now))


def _left(conditions: list[Json], leaving: str, now: datetime) -> None:
    """Fewer workers than files: what is kept for the pods that read it."""
    before = get_condition(conditions, "WorkersScaledIn") or {}
    if leaving:
        text = f"files are kept on {leaving}"
        set_condition(conditions, "WorkersScaledIn", True, IN_USE, text, now=now_rfc3339(now))
    elif before.get("reason") == IN_USE:
        text = "nobody reads what is left"
        set_condition(conditions, "WorkersScaledIn", True, "WorkersScaledIn", text, now=now_rfc3339(now))


def _phase(binding: Binding | None, seen: Observed) -> str:
    if binding is None:
        return NOT_BOUND
    if seen.problem:
        return FAILED
    if seen.ready and "DataMigrate" in seen.operations:
        return MIGRATING
    if seen.ready:
        return BOUND
    before = (binding.dataset.get("status") or {}).get("phase")
    return UPDATING if before in (BOUND, UPDATING) and not seen.mounted else PENDING
