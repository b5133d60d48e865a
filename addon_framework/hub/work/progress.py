"""How far a work has come on its cluster, and the rules that make any agent tell. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.api.work import matches
from addon_framework.api.workload_rules import DEGRADED, PROGRESSING, workload
from addon_framework.hub.work.rollout import Progress, State


def progress_of(work: Json) -> Progress:
    """OCM's reading of a work that has the wanted spec; without Progressing it is done when Available."""
    conditions = (work.get("status") or {}).get("conditions") or []
    generation = work["metadata"].get("generation")
    found = {
        kind: get_condition(conditions, kind) for kind in ("Applied", "Available", PROGRESSING, DEGRADED)
    }
    fresh = {k: c for k, c in found.items() if c is not None and c.get("observedGeneration") == generation}
    if fresh.get("Applied", {}).get("status") != "True":
        return Progress(State.TO_APPLY)
    degraded = found["Degraded"]
    if degraded is not None and "Degraded" not in fresh:
        return Progress(State.TO_APPLY)  # not told of this spec yet
    judged = fresh.get("Progressing") or fresh.get("Available")
    if judged is None:
        return Progress(State.TO_APPLY)
    done = judged["status"] == ("False" if judged["type"] == "Progressing" else "True")
    if not done and degraded is not None and degraded["status"] == "True":
        return Progress(State.FAILED, _since(degraded))
    return Progress(State.SUCCEEDED if done else State.PROGRESSING, _since(judged))


class Dates:
    """Since when works are in their state, by our own clock: that of a cluster may be another.

    What a cluster writes is believed only at the first look; what changes before our eyes changes now.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Progress, Progress]] = {}  # by uid, as it was told and as it is dated

    def dated(
        self, works: Iterable[Json], is_current: Callable[[Json], bool], now: datetime
    ) -> dict[str, Progress]:
        """The progress of those of a replica set's works that have the wanted spec, by cluster."""
        known: dict[str, tuple[Progress, Progress]] = {}
        current: dict[str, Progress] = {}
        for work in works:
            uid = work["metadata"]["uid"]
            told = progress_of(work) if is_current(work) else Progress(State.TO_APPLY)
            known[uid] = self._known.get(uid, (told, _believed(work, told, now)))
            if known[uid][0] != told:
                known[uid] = told, Progress(told.state, None if told.since is None else now)
            if is_current(work):
                current[work["metadata"]["namespace"]] = known[uid][1]
        self._known = known
        return current


def _believed(work: Json, told: Progress, now: datetime) -> Progress:
    """At the first look: not before the work was made, by the hub's clock, and not in the future."""
    if told.since is None:
        return told
    made = parse_time(work["metadata"]["creationTimestamp"])
    return Progress(told.state, min(max(told.since, made), now))


def _since(condition: Json) -> datetime | None:
    text = condition.get("lastTransitionTime")
    return parse_time(text) if text else None


def with_rules(spec: Json) -> Json:
    """The spec with rules for Progressing and Degraded of the workloads in it, where its author wrote none.

    Without them a Deployment counts as rolled out as soon as it exists, and for OCM's hub none ever is.
    """
    configs = spec.get("manifestConfigs") or []
    written = {rule.get("condition") for config in configs for rule in config.get("conditionRules") or []}
    missing = [kind for kind in (PROGRESSING, DEGRADED) if kind not in written]
    manifests = (spec.get("workload") or {}).get("manifests") or []
    added = [config for m in manifests if (config := _config(m, missing, configs)) is not None]
    # In front: of several entries for an object an agent takes the first that has rules.
    return {**spec, "manifestConfigs": [*added, *configs]} if added else spec


def _config(manifest: Json, missing: Iterable[str], configs: Sequence[Json]) -> Json | None:
    """The entry of a workload's own: what its author's entry says, and what it lacks."""
    known = workload(manifest)
    rules = [_rule(kind, known.rules[kind]) for kind in missing if kind in known.rules] if known else []
    if known is None or not rules:
        return None
    metadata = manifest.get("metadata") or {}
    identifier = {
        "group": str(manifest.get("apiVersion", "")).rpartition("/")[0],
        "resource": known.resource,
        "name": metadata.get("name", ""),
        "namespace": metadata.get("namespace") or "default",
    }
    matching = (c for c in configs if matches(c.get("resourceIdentifier") or {}, identifier))
    author: list[Json] = next((c["conditionRules"] for c in matching if c.get("conditionRules")), [])
    return {"resourceIdentifier": identifier, "conditionRules": [*author, *rules]}


def _rule(condition: str, expression: str) -> Json:
    return {"condition": condition, "type": "CEL", "celExpressions": [expression]}
