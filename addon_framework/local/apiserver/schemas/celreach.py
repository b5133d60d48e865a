"""Which parts of its variables an expression can reach, so that only those are copied into the engine. Pure.

Copying costs more than evaluating, and objects are large: a policy mostly asks whether some fields are there.
"""

from __future__ import annotations

import re
from typing import Any

Reach = dict[str, Any] | None  # by field, what is reached below it; None: all of it

_PATH = re.compile(r"(\bhas\s*\(\s*)?(?<![\w.])([a-zA-Z_]\w*)((?:\.[a-zA-Z_]\w*)*)(\s*\()?")
_PRESENCE = re.compile(r"\s*\)")
_NULL = re.compile(r"\s*[!=]=\s*null\b")


def reach(bare: str) -> dict[str, Reach]:
    """By variable; `bare` is an expression whose strings are hidden."""
    found: dict[str, Reach] = {}
    for match in _PATH.finditer(bare):
        within_has, root, dotted, called = match.groups()
        fields = dotted.split(".")[1:]
        if called:
            if not fields:
                continue  # a function
            fields.pop()  # a method, of all that is before it
        asked = (within_has and _PRESENCE.match(bare, match.end())) or _NULL.match(bare, match.end())
        found[root] = _with(found.get(root, {}), fields, whole=bool(called) or not asked)
    return found


def reached(value: Any, part: Reach) -> Any:
    """The part of a value; what is only asked to be there is there without its fields."""
    if part is None or not isinstance(value, dict):
        return value
    return {name: reached(value[name], below) for name, below in part.items() if name in value}


def _with(part: Reach, fields: list[str], *, whole: bool) -> Reach:
    if part is None or (whole and not fields):
        return None
    if fields:
        part[fields[0]] = _with(part.get(fields[0], {}), fields[1:], whole=whole)
    return part
