"""The JSONPath of kubectl and of printer columns: .spec.a, [0], [*], ['key'], [?(@.type=="Ready")]."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterator[Any]]

_TOKEN = re.compile(
    r"""\.\.(?P<deep>[\w-]+)
      | \.(?P<field>(?:\\.|[^.\[\]\\\s])+)
      | \[(?P<index>-?\d+)\]
      | \[(?P<slice>-?\d*:-?\d*)\]
      | (?P<all>\[\*\]|\.\*)
      | \[(?P<quoted>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")\]
      | \[\?\((?P<filter>(?:'[^']*'|"[^"]*"|[^)])*)\)\]
    """,
    re.VERBOSE,
)
_FILTER = re.compile(r"""\s*@(?P<path>[^=!<>]*?)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*""")


class PathError(ValueError):
    """The text is no JSONPath."""


@lru_cache(maxsize=512)
def parse(text: str) -> Callable[[Any], list[Any]]:
    """Compile a path, with or without braces, to a function from an object to everything it finds."""
    source = text.strip()
    if source.startswith("{") and source.endswith("}"):
        source = source[1:-1].strip()
    source = source.removeprefix("$")
    if source and source[0] not in ".[":
        source = "." + source
    steps: list[Step] = []
    at = 0
    while at < len(source):
        if source[at:] == ".":
            break
        match = _TOKEN.match(source, at)
        if match is None:
            raise PathError(f"unexpected {source[at:]!r} in JSONPath {text!r}")
        steps.append(_step(match))
        at = match.end()

    def find(value: Any) -> list[Any]:
        found = [value]
        for step in steps:
            found = [each for one in found for each in step(one)]
        return found

    return find


def _step(match: re.Match[str]) -> Step:
    if match["deep"] is not None:
        return _deep(match["deep"])
    if match["field"] is not None:
        if match["field"] == "*":
            return _every
        return _field(re.sub(r"\\(.)", r"\1", match["field"]))
    if match["quoted"] is not None:
        return _field(re.sub(r"\\(.)", r"\1", match["quoted"][1:-1]))
    if match["index"] is not None:
        return _index(int(match["index"]))
    if match["slice"] is not None:
        low, _, high = match["slice"].partition(":")
        return _slice(slice(int(low) if low else None, int(high) if high else None))
    if match["filter"] is not None:
        return _filter(match["filter"])
    return _every


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _index(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _slice(part: slice) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[part]

    return step


def _every(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _deep(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]
        for below in _every(value):
            yield from step(below)

    return step


def _filter(text: str) -> Step:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise PathError(f"unsupported filter {text!r} in JSONPath")
    find = parse(match["path"] or ".")
    operator, wanted = match["op"], _literal(match["value"]) if match["value"] else None

    def holds(item: Any) -> bool:
        found = find(item)
        if operator is None:
            return bool(found)
        return any(_compare(each, operator, wanted) for each in found)

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from (item for item in value if holds(item))

    return step


def _literal(text: str) -> Any:
    if text[0] in "'\"" and text[-1] == text[0]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise PathError(f"unsupported literal {text!r} in JSONPath") from None


def _compare(value: Any, operator: str, wanted: Any) -> bool:
    if operator == "==":
        return bool(value == wanted)
    if operator == "!=":
        return bool(value != wanted)
    try:
        return {
            "<": lambda: value < wanted,
            "<=": lambda: value <= wanted,
            ">": lambda: value > wanted,
            ">=": lambda: value >= wanted,
        }[operator]() is True
    except TypeError:
        return False
