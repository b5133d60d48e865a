"""CEL expressions over a ManagedCluster, as OCM evaluates them in a placement's predicate.

The variable is `managedCluster`; `managedCluster.scores("<resource>")` lists the values of the cluster's
AddOnPlacementScore of that name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from addon_framework.api.cel_engine import engine as cel
from addon_framework.api.cel_functions import functions_in
from addon_framework.api.meta import Json
from addon_framework.hub.placement.cel_cost import MAX_LENGTH, depth, steps, steps_allowed
from addon_framework.hub.selectors import SelectorError


class CelSelector:
    """Compiled expressions of one predicate; all must be true."""

    def __init__(
        self,
        expressions: Sequence[str],
        where: str,
        scores: Mapping[tuple[str, str], Json],
        strict: bool = False,
        clusters: int = 1,
    ) -> None:
        """Of so many `clusters`. Raises SelectorError for what can never be evaluated."""
        self._scores = scores
        self._strict = strict
        self._allowed = steps_allowed(clusters)
        self._functions = functions_in(expressions)
        self._programs: list[tuple[str, Any]] = []
        self._depths = list(map(depth, expressions))
        for index, expression in enumerate(expressions):
            if len(expression) > MAX_LENGTH:
                text = f"{len(expression)} characters are too many, {MAX_LENGTH} are allowed"
                raise SelectorError(f"{where}.celExpressions[{index}]: {text}")
            try:
                self._programs.append((expression, cel.compile(expression)))
            except ValueError as error:
                first = str(error).splitlines()[0]
                raise SelectorError(f"{where}.celExpressions[{index}]: {first}") from error
        self._where = where

    def refuses(self, cluster: Json) -> str:
        """The reason why an expression does not hold, "" when all do."""
        if not self._programs:
            return ""
        variable = _as_typed(cluster) if self._strict else _as_variable(cluster)
        context = cel.Context(variables={"managedCluster": variable})
        context.add_function("scores", self._lookup)
        for name, function in self._functions.items():
            context.add_function(name, function)
        for index, (expression, program) in enumerate(self._programs):
            loops = self._depths[index]
            if loops > 1 and (needed := self._steps(cluster, loops)) > self._allowed:
                text = f"{loops} loops in one another may take {needed} steps, {self._allowed} are allowed"
                return f"CEL {expression!r} costs too much: {text}"
            try:
                holds = program.execute(context)
            except RuntimeError as error:
                if "Undefined variable or function" in str(error):
                    raise SelectorError(f"{self._where}.celExpressions[{index}]: {error}") from error
                return f"CEL {expression!r} failed: {error}"
            except (KeyError, TypeError, ValueError, ArithmeticError) as error:
                # A field this cluster lacks: it does not match, others may.
                return f"CEL {expression!r} failed: {type(error).__name__}: {error}"
            if holds is not True:
                return f"CEL {expression!r} is {holds!r}"
        return ""

    def _steps(self, cluster: Json, loops: int) -> int:
        scores = self._by_cluster.get(cluster["metadata"]["name"], [])
        return steps([text for text, _ in self._programs], loops, cluster, scores)

    @cached_property
    def _by_cluster(self) -> dict[str, list[Json]]:
        found: dict[str, list[Json]] = {}
        for (name, _), score in self._scores.items():
            found.setdefault(name, []).append(score)
        return found

    def _lookup(self, cluster: Json, resource: str) -> list[Json]:
        score = self._scores.get((cluster["metadata"]["name"], resource))
        if score is None:
            if self._strict:  # OCM: an error, so the expression does not hold whatever else it says
                raise ValueError(f"no AddOnPlacementScore {resource}")
            return []
        return list((score.get("status") or {}).get("scores") or [])


def _as_typed(cluster: Json) -> Json:
    """The cluster as OCM's Go type writes it: what is empty is absent, and reading it an error."""
    metadata = {
        k: v for k, v in cluster["metadata"].items() if k != "managedFields" and v not in ({}, [], "")
    }
    spec = {k: v for k, v in (cluster.get("spec") or {}).items() if v not in ({}, [])}
    status = {k: v for k, v in (cluster.get("status") or {}).items() if v not in ({}, [])}
    return {
        "metadata": metadata,
        "spec": {"hubAcceptsClient": False, **spec},
        "status": {"conditions": None, "version": {}, **status},
    }


def _as_variable(cluster: Json) -> Json:
    """The cluster with the maps that a typed object always has, so that absent labels are not an error."""
    metadata, status = cluster["metadata"], cluster.get("status") or {}
    return {
        "metadata": {
            **{k: v for k, v in metadata.items() if k != "managedFields"},
            "labels": metadata.get("labels") or {},
            "annotations": metadata.get("annotations") or {},
        },
        "spec": {"taints": [], **(cluster.get("spec") or {})},
        "status": {
            "allocatable": {},
            "capacity": {},
            "clusterClaims": [],
            "conditions": [],
            "version": {"kubernetes": ""},
            **status,
        },
    }
