"""Macros and optional selection of CEL, which the engine's grammar lacks, rewritten in terms that it has."""

from __future__ import annotations

import re
from itertools import pairwise

from addon_framework.local.apiserver.schemas.celtext import commas, hidden, operand_start

_MACRO = re.compile(r"\bcel\.bind\(|\.opt(?:Flat)?Map\(")
_SIZE = re.compile(r"\bsize\(")
_OPTIONAL = re.compile(r"\.\?\s*([A-Za-z_]\w*)|\[\?")


def rewrite(source: str) -> str:
    """The expression without them."""
    source = _macros(_optional_selection(source))
    for match in reversed(list(_SIZE.finditer(hidden(source)))):
        source = f"{source[: match.start()]}sizeOf({source[match.end() :]}"
    return source


def _macros(source: str) -> str:
    at = 0
    while match := _MACRO.search(bare := hidden(source), at):
        found, end = commas(bare, match.end())
        parts = [source[a + 1 : b].strip() for a, b in pairwise([match.end() - 1, *found, end])]
        start, name = match.start(), match.group()
        if name.startswith("cel") and len(parts) == 3:
            call = f"[{parts[1]}].map({parts[0]}, {parts[2]})[0]"
        elif name.startswith(".") and len(parts) == 2:
            start = operand_start(bare, match.start())
            operand = source[start : match.start()]
            inner = f"[{operand}.value()].map({parts[0]}, {parts[1]})[0]"
            result = inner if "Flat" in name else f"optional.of({inner})"
            call = f"({operand}.hasValue() ? {result} : optional.none())"
        else:
            at = match.end()
            continue
        source, at = source[:start] + call + source[end + 1 :], start
    return source


def _optional_selection(source: str) -> str:
    """a.?b is optionalField(a, "b"); a[?b] is optionalField(a, b)."""
    while match := _OPTIONAL.search(bare := hidden(source)):
        start = operand_start(bare, match.start())
        operand, end = source[start : match.start()], match.end()
        field = f'"{match[1]}"'
        if match[1] is None:
            end = commas(bare, match.end())[1] + 1
            field = source[match.end() : end - 1]
        source = f"{source[:start]}optionalField({operand}, {field}){source[end:]}"
    return source
