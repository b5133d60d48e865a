"""Expressions of CEL as text: strings out of the way, arguments told apart. Pure."""

from __future__ import annotations

import re

_STRINGS = re.compile(r"""r?"(?:\\.|[^"\\])*"|r?'(?:\\.|[^'\\])*'""")


def hidden(source: str) -> str:
    """The expression with nothing in its strings; every place stays where it was."""
    return _STRINGS.sub(lambda match: f"'{' ' * (len(match.group()) - 2)}'", source)


def commas(bare: str, start: int) -> tuple[list[int], int]:
    """Those that part the arguments which begin here, and where they end; `bare` has its strings hidden."""
    found: list[int] = []
    depth = 0
    for index in range(start, len(bare)):
        each = bare[index]
        if each in "([{":
            depth += 1
        elif each in ")]}":
            if depth == 0:
                return found, index
            depth -= 1
        elif each == "," and depth == 0:
            found.append(index)
    return [], len(bare)


def operand_start(bare: str, end: int) -> int:
    """Where the member expression that ends here begins: names, dots, calls and indexes."""
    index = end
    while index > 0:
        before = bare[index - 1]
        if before in ")]":
            depth = 0
            while index > 0:
                index -= 1
                depth += (bare[index] in ")]}") - (bare[index] in "([{")
                if depth == 0:
                    break
        elif before == "'":
            index = bare.rindex("'", 0, index - 1)
        elif before.isalnum() or before in "_.":
            index -= 1
        else:
            break
    return index
