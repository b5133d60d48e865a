"""OCM's prioritizers: each gives every candidate a score from -100 to 100."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from addon_framework.api.time import parse_time
from addon_framework.hub.placement.model import Fleet, Misconfigured, PrioritizerResult

BALANCE, STEADY = "Balance", "Steady"
ALLOCATABLE = {"ResourceAllocatableCPU": "cpu", "ResourceAllocatableMemory": "memory"}
MAX_SCORE = 100


@dataclass(frozen=True)
class Coordinate:
    """Which prioritizer: a built-in by name, or one value of an AddOnPlacementScore."""

    built_in: str = ""
    resource_name: str = ""
    score_name: str = ""

    def __str__(self) -> str:
        return self.built_in or f"AddOn/{self.resource_name}/{self.score_name}"


def weights(spec: Json) -> dict[Coordinate, int]:
    """The prioritizers to run with their weights, from spec.prioritizerPolicy."""
    policy = spec.get("prioritizerPolicy") or {}
    mode = policy.get("mode") or "Additive"
    if mode not in ("Additive", "Exact"):
        raise Misconfigured("prioritizer", f'spec.prioritizerPolicy.mode: "{mode}" is not Additive or Exact')
    result = {Coordinate(BALANCE): 1, Coordinate(STEADY): 1} if mode == "Additive" else {}
    for index, configuration in enumerate(policy.get("configurations") or []):
        where = f"spec.prioritizerPolicy.configurations[{index}].scoreCoordinate"
        weight = configuration.get("weight")
        result[_coordinate(configuration.get("scoreCoordinate") or {}, where)] = (
            1 if weight is None else weight
        )
    return {coordinate: weight for coordinate, weight in result.items() if weight != 0}


def score_resources(spec: Json) -> set[str]:
    """Names of the AddOnPlacementScores that the placement reads when it ranks clusters."""
    try:
        return {c.resource_name for c in weights(spec) if c.resource_name}
    except Misconfigured:
        return set()


def _coordinate(raw: Json, where: str) -> Coordinate:
    kind = raw.get("type") or "BuiltIn"
    if kind == "AddOn":
        add_on = raw.get("addOn") or {}
        if not add_on.get("resourceName") or not add_on.get("scoreName"):
            raise Misconfigured("prioritizer", f"{where}.addOn: resourceName and scoreName are both needed")
        return Coordinate(resource_name=add_on["resourceName"], score_name=add_on["scoreName"])
    name = raw.get("builtIn", "")
    if kind != "BuiltIn" or name not in (BALANCE, STEADY, *ALLOCATABLE):
        known = ", ".join((BALANCE, STEADY, *ALLOCATABLE))
        raise Misconfigured("prioritizer", f'{where}: incorrect builtIn "{name}"; known are {known}')
    return Coordinate(name)


def score(
    coordinate: Coordinate, weight: int, clusters: Sequence[Json], fleet: Fleet, warnings: list[str]
) -> tuple[PrioritizerResult, float | None]:
    """Score every candidate; also the seconds until a score runs out, if one will."""
    result = PrioritizerResult(str(coordinate), weight)
    requeue: float | None = None
    names = [cluster["metadata"]["name"] for cluster in clusters]
    if coordinate.built_in == STEADY:
        result.scores = {name: MAX_SCORE if name in fleet.current else 0 for name in names}
    elif coordinate.built_in == BALANCE:
        result.scores = _balance(names, fleet)
    elif coordinate.built_in:
        result.scores = _allocatable(ALLOCATABLE[coordinate.built_in], clusters)
    else:
        result.scores, requeue = _add_on(coordinate, names, fleet, warnings)
    return result, requeue


def _balance(names: Sequence[str], fleet: Fleet) -> dict[str, int]:
    most = max(fleet.elsewhere.values(), default=0)
    scores = dict.fromkeys(names, MAX_SCORE)
    for name in names:
        if count := fleet.elsewhere.get(name, 0):
            scores[name] = 2 * int(MAX_SCORE * (0.5 - count / most))
    return scores


def _allocatable(resource: str, clusters: Sequence[Json]) -> dict[str, int]:
    scores = {cluster["metadata"]["name"]: 0 for cluster in clusters}
    amounts: dict[str, float] = {}
    for cluster in clusters:
        status = cluster.get("status") or {}
        amount = (status.get("allocatable") or {}).get(resource)
        if amount is not None and resource in (status.get("capacity") or {}):
            amounts[cluster["metadata"]["name"]] = float(parse_quantity(amount))
    if not amounts:
        return scores
    low, high = min(amounts.values()), max(amounts.values())
    for name, amount in amounts.items():
        # The order of operations is OCM's: truncation must agree on every input.
        scores[name] = int(((amount - low) / (high - low) - 0.5) * 2.0 * 100.0) if high != low else MAX_SCORE
    return scores


def _add_on(
    coordinate: Coordinate, names: Sequence[str], fleet: Fleet, warnings: list[str]
) -> tuple[dict[str, int], float | None]:
    resource, wanted = coordinate.resource_name, coordinate.score_name
    scores = dict.fromkeys(names, 0)
    requeue: float | None = None
    contributed = fleet.plugin_scores.get(resource) or {}
    expired: list[str] = []
    for name in names:
        obj = fleet.scores.get((name, resource))
        if obj is None:
            scores[name] = contributed.get(name, 0)
            continue
        status = obj.get("status") or {}
        if valid_until := status.get("validUntil"):
            left = (parse_time(valid_until) - fleet.now).total_seconds()
            if left <= 0:
                expired.append(name)
                continue
            requeue = left if requeue is None else min(requeue, left)
        for entry in status.get("scores") or []:
            if entry.get("name") == wanted:
                scores[name] = int(entry.get("value") or 0)
                break
    if expired:
        warnings.append(f"AddOnPlacementScores {resource} of {', '.join(sorted(expired))} have expired")
    return scores, requeue
