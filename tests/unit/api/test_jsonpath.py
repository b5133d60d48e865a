"""Kubernetes' JSONPath in the library's words."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.jsonpath import PathError, json_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        ("{.a.b}", [1]),
        ("$.a.b", [1]),
        (".l[0].n", ["x"]),
        (".l[*].n", ["x", "y"]),
        (".l[-1].n", ["y"]),
        (".l[0:1].n", ["x"]),
        (".m.a\\.b/c", [2]),
        (".m['a.b/c']", [2]),
        (".nope", []),
        (".l[?(@.v>1)].n", ["y"]),
        (".l[?(@.n)].v", [1, 2]),
        ("..n", ["x", "y"]),
        (".", [None]),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    value = {"a": {"b": 1}, "l": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "m": {"a.b/c": 2}}
    matches = [match.obj for match in json_path(path).finditer(value)]
    assert matches == ([value] if path == "." else found)


def test_bad_paths_are_refused() -> None:
    with pytest.raises(PathError, match="unexpected"):
        json_path(".a[")
