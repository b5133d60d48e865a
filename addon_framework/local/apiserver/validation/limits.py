"""What values of built-in types may be, by type: limits.yaml, and the checks that take more than a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.data import described
from addon_framework.local.apiserver.schemas import Cause, SchemaNode, builtin_type, cause
from addon_framework.local.apiserver.validation.words import judge_of

Check = Callable[[Json, str], Iterator[Cause]]  # of a value; the path of its fields, such as "spec."
Change = Callable[[Json, Json], Iterator[Cause]]  # of an object against what it was
_NOTHING = ("", 0, None)


class Limits(NamedTuple):
    """Of one type; `judged` are required fields that are not there but have checks that say so."""

    checks: tuple[Check, ...] = ()
    judged: frozenset[str] = frozenset()


_NO_LIMITS = Limits()


def _unique(field: str, key: str, lenient: bool) -> Check:
    def check(value: Json, path: str) -> Iterator[Cause]:
        seen: list[Any] = []
        for index, item in enumerate(value.get(field) or ()):
            mark = item.get(key) if key else item
            if mark in seen:
                yield cause.duplicate(f"{path}{field}[{index}]" + (f".{key}" if key else ""), mark)
            if mark or not lenient:
                seen.append(mark)

    return check


def _one(field: str, word: str, demanded: bool) -> Check:
    """The check that one word asks for; what is `demanded` and empty needs no second word."""
    bare = word.rstrip("!?[]")
    marks = word[len(bare) :]
    if bare.startswith("uniq"):
        return _unique(field, bare.partition("=")[2], "?" in marks)
    judge = judge_of(bare)
    absent = "!" in marks or bare == "req"
    lenient = "?" in marks or (demanded and not absent)
    zero: Any = None if bare == "present" else 0 if bare.startswith(("positive", "min", "range")) else ""

    def check(value: Json, path: str) -> Iterator[Cause]:
        found = value.get(field)
        if "[]" in marks:
            for index, item in enumerate(found or ()):
                yield from judge(item, f"{path}{field}[{index}]")
        elif found is None and absent:
            yield from judge(zero, path + field)
        elif found is not None and not (lenient and found in _NOTHING):
            yield from judge(found, path + field)

    return check


def _limits_of(fields: Mapping[str, str]) -> Limits:
    checks, judged = [], set()
    for field, text in fields.items():
        words = text.split()
        demanded = "req" in [word.rstrip("!") for word in words]
        if demanded or any(word == "ok" or "!" in word for word in words):
            judged.add(field)
        checks += [_one(field, word, demanded) for word in words if word != "ok"]
    return Limits(tuple(checks), frozenset(judged))


@cache
def _limits() -> dict[str, Limits]:
    from addon_framework.local.apiserver.validation import checks  # they judge parts by these limits, too

    tables = described(__package__, "limits.yaml")
    found = {name: _limits_of(fields) for name, fields in tables.items()}
    for name, check in checks.CHECKS.items():
        known = found.get(name, _NO_LIMITS)
        found[name] = known._replace(checks=(*known.checks, check))
    return found


def errors(value: Any, type_name: str, path: str = "") -> list[Cause]:
    """Why a value is none of that built-in type: what is missing, and what breaks a limit."""
    causes: list[Cause] = []
    judge(value, builtin_type(type_name), path, causes)
    return causes


def judge(value: Any, node: SchemaNode, path: str, causes: list[Cause]) -> None:
    """The same of any place in a built-in kind. Of its status nothing is demanded."""
    if isinstance(value, dict):
        if node.atomic_children:
            return
        limits, below = _limits().get(node.name, _NO_LIMITS), f"{path}." if path else ""
        for key in node.required:
            if value.get(key) in (None, "", []) and key not in limits.judged:
                causes.append(cause.required(f"{below}{key}"))
        for check in limits.checks:
            causes += check(value, below)
        for key, item in value.items():
            if isinstance(item, (dict, list)) and (path or key != "status"):
                child = node.properties.get(key) or node.additional
                if child is not None:
                    judge(item, child, f"{below}{key}", causes)
    elif isinstance(value, list) and node.items is not None:
        # These the server names by the list's owner.
        owner = path.rpartition(".")[0] if node.items.name == "core.v1.DownwardAPIVolumeFile" else ""
        for index, item in enumerate(value):
            if isinstance(item, (dict, list)):
                judge(item, node.items, owner or f"{path}[{index}]", causes)
