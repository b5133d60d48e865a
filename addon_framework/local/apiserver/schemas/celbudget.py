"""What an expression may cost: it is counted how often its loops go round, and one that runs away is stopped.

A real server counts every operation, up to a million for one expression and ten for all rules of an object;
a round of a loop costs about four of them. Pure.
"""

from __future__ import annotations

import re

from addon_framework.api.meta import Json

EACH, TOTAL = 250_000, 2_500_000  # rounds: a fifth of a second, two seconds
SPEND = "spendOne"
_STRINGS = re.compile(r"""r?"(?:\\.|[^"\\])*"|r?'(?:\\.|[^'\\])*'""")
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
    bare = _STRINGS.sub(lambda match: "x" * len(match.group()), source)
    inserts: list[tuple[int, str]] = []
    for loop in _LOOP.finditer(bare):
        commas, end = _commas(bare, loop.end())
        if not commas:
            continue
        start = commas[0] + 1
        if loop[1] == "map" and len(commas) == 1:  # what it makes must not be touched, so it gets a filter
            inserts.append((start, f" {SPEND}(),"))
            continue
        inserts += [
            (start, f" {SPEND}() && ("),
            (commas[1] if len(commas) > 1 else end, ")"),
        ]
    for place, text in sorted(inserts, reverse=True):
        source = source[:place] + text + source[place:]
    return source


def runs_away(source: str, schema: Json) -> bool:
    """Whether a rule loops over a list or map without a limit inside a loop over another such.

    A real server estimates the cost of everything; this is what no estimate lets pass.
    """
    bare = _STRINGS.sub(lambda match: "x" * len(match.group()), source)
    open_until: list[int] = []
    for loop in _SELF_LOOP.finditer(bare):
        if _unlimited(schema, loop[1].split(".")[1:]):
            if any(loop.start() < end for end in open_until):
                return True
            open_until.append(_commas(bare, loop.end())[1])
    return False


def _unlimited(schema: Json, path: list[str]) -> bool:
    for name in path:
        schema = (schema.get("properties") or {}).get(name) or {}
    if schema.get("type") == "array":
        return "maxItems" not in schema
    return "additionalProperties" in schema and "maxProperties" not in schema


def _commas(bare: str, start: int) -> tuple[list[int], int]:
    """Those that part the arguments which begin here, and where they end."""
    commas: list[int] = []
    depth = 0
    for index in range(start, len(bare)):
        each = bare[index]
        if each in "([{":
            depth += 1
        elif each in ")]}":
            if depth == 0:
                return commas, index
            depth -= 1
        elif each == "," and depth == 0:
            commas.append(index)
    return [], len(bare)
