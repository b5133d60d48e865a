"""Macros and optional selection of CEL, which the engine's grammar lacks, rewritten in terms that it has."""

from __future__ import annotations

import re


def rewrite(source: str) -> str:
    """Macros and optional selection, which the engine's grammar lacks, in terms that it has."""
    return _sizes(_macros(_optional_selection(source)))


_MACRO = re.compile(
    r"""(?P<text>r?"(?:\\.|[^"\\])*"|r?'(?:\\.|[^'\\])*')|\bcel\.bind\(|\.opt(?:Flat)?Map\("""
)


_SIZE = re.compile(r"""(r?"(?:\\.|[^"\\])*"|r?'(?:\\.|[^'\\])*')|\bsize\(""")


def _sizes(source: str) -> str:
    return _SIZE.sub(lambda match: match[1] or "sizeOf(", source)


def _macros(source: str) -> str:
    at = 0
    while True:
        match = _MACRO.search(source, at)
        if match is None:
            return source
        if match["text"] is not None:
            at = match.end()
            continue
        end = _closing(source, match.end() - 1)
        parts = _arguments(source[match.end() : end])
        name = match.group()
        if name.startswith("cel") and len(parts) == 3:
            start = match.start()
            call = f"[{parts[1]}].map({parts[0]}, {parts[2]})[0]"
        elif name.startswith(".") and len(parts) == 2:
            start = _operand_start(source, match.start())
            operand = source[start : match.start()]
            inner = f"[{operand}.value()].map({parts[0]}, {parts[1]})[0]"
            found = inner if "Flat" in name else f"optional.of({inner})"
            call = f"({operand}.hasValue() ? {found} : optional.none())"
        else:
            at = match.end()
            continue
        source, at = source[:start] + call + source[end + 1 :], start


def _arguments(text: str) -> list[str]:
    """Split at the commas that are not inside brackets or strings."""
    parts, depth, start, quote_ = [], 0, 0, ""
    for index, each in enumerate(text):
        if quote_:
            quote_ = "" if each == quote_ and text[index - 1] != "\\" else quote_
        elif each in "'\"":
            quote_ = each
        elif each == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
        else:
            depth += (each in "([{") - (each in ")]}")
    return [*parts, text[start:].strip()]


def _optional_selection(source: str) -> str:
    """a.?b is optionalField(a, "b"); a[?b] is optionalField(a, b)."""
    while True:
        place = _optional_place(source)
        if place is None:
            return source
        start = _operand_start(source, place)
        operand = source[start:place]
        if source[place] == ".":
            name = re.match(r"\.\?\s*([A-Za-z_]\w*)", source[place:])
            if name is None:
                return source
            call, end = f'optionalField({operand}, "{name[1]}")', place + name.end()
        else:
            end = _closing(source, place) + 1
            call = f"optionalField({operand}, {source[place + 2 : end - 1]})"
        source = source[:start] + call + source[end:]


def _optional_place(source: str) -> int | None:
    for match in re.finditer(r"""r?"(?:\\.|[^"\\])*"|r?'(?:\\.|[^'\\])*'|\.\?|\[\?""", source):
        if match.group() in (".?", "[?"):
            return match.start()
    return None


def _closing(source: str, place: int) -> int:
    depth = 0
    for index in range(place, len(source)):
        depth += (source[index] in "([{") - (source[index] in ")]}")
        if depth == 0:
            return index
    return len(source) - 1


def _operand_start(source: str, end: int) -> int:
    """Where the member expression that ends here begins: names, dots, calls and indexes."""
    index = end
    while index > 0:
        before = source[index - 1]
        if before in ")]":
            depth = 0
            while index > 0:
                index -= 1
                depth += (source[index] in ")]}") - (source[index] in "([{")
                if depth == 0:
                    break
        elif before.isalnum() or before in "_.":
            index -= 1
        else:
            break
    return index
