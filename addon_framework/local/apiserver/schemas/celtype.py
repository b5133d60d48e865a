"""What type an expression has, as far as that can be told from its text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas.celtext import commas, hidden

_OPEN, _CLOSE = "([{", ")]}"
_RELATION = re.compile(r"[=!<>]=|[<>]|\bin\b")
_LITERALS = {
    "bool": r"true|false",
    "null_type": r"null",
    "int": r"-?(0x[0-9a-fA-F]+|\d+)",
    "uint": r"(0x[0-9a-fA-F]+|\d+)[uU]",
    "double": r"-?(\d+(\.\d+)?|\.\d+)([eE][+-]?\d+)?",
    "bytes": r"[bB]'[^']*'",
    "string": r"'[^']*'",
}
# Of functions and methods; those that are not here may return anything.
_RESULTS = {
    **dict.fromkeys(("size", "int", "indexOf", "lastIndexOf", "getSeconds", "getHours"), "int"),
    **dict.fromkeys(("lowerAscii", "upperAscii", "replace", "substring", "trim", "join", "string"), "string"),
    **dict.fromkeys(("filter", "map", "split", "findAll"), "list"),
    "double": "double",
    "duration": "duration",
    "timestamp": "timestamp",
    "quantity": "quantity",
    "type": "type",
}
_OF_SCHEMA = {"boolean": "bool", "integer": "int", "number": "double", "array": "list", "string": "string"}


def type_of(source: str, schema: Json | None = None) -> str:
    """Its name, or "" where it cannot be told; `schema` is of `self`."""
    return _type(hidden(source).strip(), schema or {})


def _type(bare: str, schema: Json) -> str:
    flat = _flat(bare)
    if (asked := _question(flat)) >= 0:
        if flat.count("?", asked) != 1 or (other := flat.rfind(":", asked)) < 0:
            return ""
        both = {_type(part.strip(), schema) for part in (bare[asked + 1 : other], bare[other + 1 :])}
        return both.pop() if len(both) == 1 else ""
    if "||" in flat or "&&" in flat or _RELATION.search(flat) or bare.startswith("!"):
        return "bool"
    for name, pattern in _LITERALS.items():
        if bare and re.fullmatch(pattern, bare):
            return name
    if bare[:1] in _OPEN and commas(bare, 1)[1] == len(bare) - 1:
        inner = {"[": "list", "{": "map"}
        return inner.get(bare[0]) or _type(bare[1:-1].strip(), schema)
    if (operator := re.search(r"(?<=[\w)\]}'])\s*[-+*/%]", flat)) is not None:
        return _type(bare[: operator.start()].strip(), schema)
    if called := re.fullmatch(r"(?:.*[^\w])?(\w+)\(\s*\)", flat):
        return _RESULTS.get(called[1], "")
    return _field(bare, schema)


def _field(bare: str, schema: Json) -> str:
    """Of self, or of what lies below it."""
    if not re.fullmatch(r"self(\.\w+)*", bare):
        return ""
    for name in bare.split(".")[1:]:
        schema = (schema.get("properties") or {}).get(name) or {}
    return "" if "format" in schema else _OF_SCHEMA.get(str(schema.get("type")), "")


def _flat(bare: str) -> str:
    """The expression with blanks for all that is in brackets; every place stays where it was."""
    return "".join(_outside(bare))


def _outside(bare: str) -> Iterator[str]:
    depth = 0
    for each in bare:
        depth -= each in _CLOSE
        yield each if depth == 0 else " "
        depth += each in _OPEN


def _question(flat: str) -> int:
    """Where a conditional asks, which is neither an optional field nor an optional index."""
    found = re.search(r"(?<![.\[])\?", flat)
    return found.start() if found else -1
