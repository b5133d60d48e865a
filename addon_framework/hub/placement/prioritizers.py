"""OCM's prioritizers: each gives every candidate a score from -100 to 100."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from addon_framework.api.meta import Json
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
    where: str = field(default="", compare=False)  # the field that names it

    def __str__(self) -> str:
        return self.built_in or f"AddOn/{self.resource_name}/{self.score_name}"


def weights(spec: Json, *, strict: bool = False) -> list[tuple[Coordinate, int]]:
    """The prioritizers to run with their weights, from spec.prioritizerPolicy.

    A built-in one that is named twice has its last weight; every naming of an add-on's score counts, in OCM
    too.
    """
    policy = spec.get("prioritizerPolicy") or {}
    mode = policy.get("mode") or "Additive"
    if mode not in ("Additive", "Exact"):
        raise Misconfigured("prioritizer", f'spec.prioritizerPolicy.mode: "{mode}" is not Additive or Exact')
    built_in = {Coordinate(BALANCE): 1, Coordinate(STEADY): 1} if mode == "Additive" else {}
    add_on: list[tuple[Coordinate, int]] = []
    for index, configuration in enumerate(policy.get("configurations") or []):
        where = f"spec.prioritizerPolicy.configurations[{index}].scoreCoordinate"
        raw, weight = configuration.get("scoreCoordinate") or {}, configuration.get("weight")
        weight = 1 if weight is None else weight
        if strict and weight == 0 and raw.get("type") == "AddOn":
            continue  # OCM looks closer only at what weighs
        coordinate = _coordinate(raw, where, strict=strict)
        if coordinate.built_in:
            built_in[coordinate] = weight
        else:
            add_on.append((coordinate, weight))
    chosen = [(coordinate, weight) for coordinate, weight in (*built_in.items(), *add_on) if weight != 0]
    for coordinate, _ in chosen:
        _known(coordinate)
    return chosen


def coordinates_of(spec: Json) -> set[Coordinate]:
    """The add-ons' scores that the placement reads when it ranks clusters."""
    try:
        return {coordinate for coordinate, _ in weights(spec) if coordinate.resource_name}
    except Misconfigured:
        return set()


def score_resources(spec: Json) -> set[str]:
    """Names of the AddOnPlacementScores that the placement reads when it ranks clusters."""
    return {coordinate.resource_name for coordinate in coordinates_of(spec)}


def _coordinate(raw: Json, where: str, *, strict: bool) -> Coordinate:
    kind = raw.get("type") or "BuiltIn"
    if kind == "AddOn":
        add_on = raw.get("addOn")
        if add_on is None or (not strict and not (add_on.get("resourceName") and add_on.get("scoreName"))):
            raise Misconfigured("prioritizer", f"{where}.addOn: resourceName and scoreName are both needed")
        return Coordinate("", add_on.get("resourceName", ""), add_on.get("scoreName", ""))
    if kind != "BuiltIn":
        raise Misconfigured("prioritizer", f'{where}.type: "{kind}" is not BuiltIn or AddOn')
    return Coordinate(raw.get("builtIn") or "(none)", where=where)


def _known(coordinate: Coordinate) -> None:
    known = (BALANCE, STEADY, *ALLOCATABLE)
    if coordinate.built_in and coordinate.built_in not in known:
        message = f'incorrect builtIn "{coordinate.built_in}"; known are {", ".join(known)}'
        raise Misconfigured("prioritizer", f"{coordinate.where}: {message}")


@dataclass
class Expiry:
    """What AddOnPlacementScores say now, when time alone changes that, and for which it has already."""

    strict: bool
    assumed: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    due: datetime | None = None  # to look again without any event
    stale: datetime | None = None  # to look at everything again at the next event
    _expired: dict[Coordinate, set[str]] = field(default_factory=dict)

    def in_seconds(self, now: datetime, seconds: float | None) -> None:
        """Something changes in some seconds, if at all."""
        if seconds is not None:
            self._at(now + timedelta(seconds=seconds), timer=True)

    def _at(self, moment: datetime, *, timer: bool) -> None:
        self.stale = moment if self.stale is None else min(self.stale, moment)
        if timer:
            self.due = moment if self.due is None else min(self.due, moment)

    def value(self, coordinate: Coordinate, cluster: str, score: Json | None, now: datetime) -> int:
        """What an AddOnPlacementScore says, less what is assumed; 0 when it does not, or no longer."""
        status = (score or {}).get("status") or {}
        expired = self._expired.setdefault(coordinate, set())
        expired.discard(cluster)
        if valid_until := status.get("validUntil"):
            moment = parse_time(valid_until)
            if now > moment:
                expired.add(cluster)
                return 0
            self._at(moment, timer=not self.strict)  # in OCM it counts until something else happens
        for item in status.get("scores") or []:
            if item["name"] == coordinate.score_name:
                value = int(item["value"])
                less = self.assumed.get((cluster, coordinate.resource_name, coordinate.score_name), 0)
                return max(value - less, -MAX_SCORE) if less else value
        return 0

    def warnings(self) -> list[str]:
        """Which scores have expired."""
        return [
            f"AddOnPlacementScores {coordinate.resource_name} of {', '.join(sorted(names))} have expired"
            for coordinate, names in self._expired.items()
            if names
        ]


def score(
    coordinate: Coordinate, weight: int, clusters: Sequence[Json], fleet: Fleet, expiry: Expiry
) -> PrioritizerResult:
    """Score every candidate."""
    result = PrioritizerResult(str(coordinate), weight)
    names = [cluster["metadata"]["name"] for cluster in clusters]
    if coordinate.built_in == STEADY:
        result.scores = {name: MAX_SCORE if name in fleet.current else 0 for name in names}
    elif coordinate.built_in == BALANCE:
        result.scores = _balance(names, fleet)
    elif coordinate.built_in:
        result.scores = _allocatable(ALLOCATABLE[coordinate.built_in], clusters)
    else:
        resource = coordinate.resource_name
        contributed = {} if fleet.strict else fleet.plugin_scores.get(resource) or {}
        for name in names:
            obj = fleet.scores.get((name, resource))
            result.scores[name] = (
                contributed.get(name, 0) if obj is None else expiry.value(coordinate, name, obj, fleet.now)
            )
    return result


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
            amounts[cluster["metadata"]["name"]] = approximate(amount)
    if not amounts:
        return scores
    low, high = min(amounts.values()), max(amounts.values())
    for name, amount in amounts.items():
        # The order of operations is OCM's: truncation must agree on every input.
        scores[name] = int(((amount - low) / (high - low) - 0.5) * 2.0 * 100.0) if high != low else MAX_SCORE
    return scores


_QUANTITY = re.compile(r"([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+)|([KMGTPE]i)|([numkMGTPE]?))")


def approximate(quantity: str | int | float) -> float:
    """A quantity as the float that Go's AsApproximateFloat64 makes of it, to the last bit."""
    match = _QUANTITY.fullmatch(str(quantity).strip())
    if match is None or not (match[2] or match[3]):
        return 0.0
    sign, whole, fraction, exponent, binary, decimal = match.groups()
    base = int(whole + fraction) * (1024 ** ("KMGTPE".index(binary[0]) + 1) if binary else 1)
    power = int(exponent or 0) - len(fraction) + (3 * ("num kMGTPE".index(decimal) - 3) if decimal else 0)
    value = float(base)
    # A product with 10^-n, which is not the same as a quotient by 10^n.
    value *= 10.0**power if power >= 0 else 1.0 / 10.0**-power
    return -value if sign == "-" else value
