"""What an expression may cost: it is counted how often its loops go round, and one that runs away is stopped.

A real server counts every operation, up to a million for one expression and ten for all rules of an object;
a round of a loop costs about four of them. Pure.
"""

from __future__ import annotations

import re

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas.celtext import commas, hidden

EACH, TOTAL = 250_000, 2_500_000  # rounds: a fifth of a second, two seconds
MATCHING = TOTAL // 4  # for the conditions of one webhook or policy
SPEND = "spendOne"
_LOOP = re.compile(r"\.(all|exists|exists_one|existsOne|map|filter)\(")
_SELF_LOOP = re.compile(rf"(?<![\w.])self((?:\.[A-Za-z_]\w*)*){_LOOP.pattern}")


class CostExceeded(RuntimeError):
    """The expression has been stopped."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


class Budget:
    """What is left for all that shares it."""

    def __init__(self, left: int = TOTAL) -> None:
        self.left = left


class Meter:
    """Counts for one evaluation, at the cost of a budget; the expression calls `functions`."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._left = min(EACH, budget.left)
        self.exceeded = False
        self.functions = {SPEND: self._spend}

    def _spend(self) -> bool:
        self._left -= 1
        self._budget.left -= 1
        if self._left < 0:
            self.exceeded = True
            self._budget.left = 0
            raise CostExceeded
        return True


def counted(source: str) -> str:
    """The expression with a count in each of its loops; the same when it has none."""
    bare = hidden(source)
    inserts: list[tuple[int, str]] = []
    for loop in _LOOP.finditer(bare):
        found, end = commas(bare, loop.end())
        if not found:
            continue
        start = found[0] + 1
        if loop[1] == "map" and len(found) == 1:  # what it makes must not be touched, so it gets a filter
            inserts.append((start, f" {SPEND}(),"))
            continue
        inserts += [(start, f" {SPEND}() && ("), (found[1] if len(found) > 1 else end, ")")]
    for place, text in sorted(inserts, reverse=True):
        source = source[:place] + text + source[place:]
    return source


def runs_away(source: str, schema: Json) -> bool:
    """Whether a rule loops over a list or map without a limit inside a loop over another such.

    A real server estimates the cost of everything; this is what no estimate lets pass.
    """
    bare = hidden(source)
    open_until: list[int] = []
    for loop in _SELF_LOOP.finditer(bare):
        if _unlimited(schema, loop[1].split(".")[1:]):
            if any(loop.start() < end for end in open_until):
                return True
            open_until.append(commas(bare, loop.end())[1])
    return False


def _unlimited(schema: Json, path: list[str]) -> bool:
    for name in path:
        schema = (schema.get("properties") or {}).get(name) or {}
    if schema.get("type") == "array":
        return "maxItems" not in schema
    return "additionalProperties" in schema and "maxProperties" not in schema
