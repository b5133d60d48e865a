"""How long a CEL expression may take. Pure.

The library evaluates without a limit and without a pause, and an API server bounds what an expression costs
as well. Only loops within loops can run away: what they take at most is the longest list to the power of
their depth.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

MAX_LENGTH = 10_000  # of an expression, in characters
MAX_STEPS = 100_000  # for one cluster: a quarter of a second
_LEAST, _ALL = 2_000, 2_000_000  # for one cluster of a large fleet, and for a whole fleet
_LOOPS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
_MAKE_LISTS = ("parseJSON", "split")  # out of a text
_TOKENS = re.compile(
    r"""
    [rR]?\"{3}.*?\"{3} | [rR]?'{3}.*?'{3}            # strings over lines
    | [rR]"[^"\n]*" | [rR]'[^'\n]*'                  # raw ones, in which a backslash is one
    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
    | //[^\n]*
    | (?P<word>\w+) | (?P<sign>[().])
    """,
    re.VERBOSE | re.DOTALL,
)


def depth(expression: str) -> int:
    """How many loops lie within one another."""
    deepest, open_now = 0, list[bool]()
    before, called = "", False  # the token before, and whether a word follows a dot
    for match in _TOKENS.finditer(expression):
        token = match["word"] or match["sign"] or "text"
        if token == "(":
            open_now.append(called and before in _LOOPS)
            deepest = max(deepest, sum(open_now))
        elif token == ")" and open_now:
            open_now.pop()
        called = bool(match["word"]) and before == "."
        before = token
    return deepest


def steps(expressions: Sequence[str], loops: int, *values: Any) -> int:
    """What so many loops in one another over anything in the values, or in the expressions, take at most."""
    texts = any(call in text for text in expressions for call in _MAKE_LISTS)
    listed = max((text.count(",") + 1 for text in expressions), default=1)
    return int(max(listed, *(_longest(value, texts) for value in values)) ** loops)


def _longest(value: Any, texts: bool) -> int:
    """The longest list or map in a value, and where texts are taken apart the longest text."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return max([len(value), *(_longest(each, texts) for each in inner)])
    return len(value) if texts and isinstance(value, str) else 0


def steps_allowed(clusters: int) -> int:
    """For one of so many clusters."""
    return min(MAX_STEPS, max(_LEAST, _ALL // max(clusters, 1)))
