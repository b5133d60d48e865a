"""Types of CEL expressions, told from their text."""

from __future__ import annotations

import pytest

from addon_framework.local.apiserver.schemas.celtype import type_of

SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "b": {"type": "boolean"},
        "s": {"type": "string", "description": "plain"},
        "d": {"type": "string", "format": "date"},
        "any": {"x-kubernetes-int-or-string": True},
    },
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1", "int"),
        ("-1.5e3", "double"),
        ("null", "null_type"),
        ("'a == b'", "string"),
        ("[1, 2]", "list"),
        ("{'a': true}", "map"),
        ("self.n", "int"),
        ("self.b", "bool"),
        ("self.s", "string"),
        ("(self.n + 1)", "int"),
        ("'a' + self.s", "string"),
        ("self.n * 2 > 3", "bool"),
        ("!has(self.n)", "bool"),
        ("self.s in ['a']", "bool"),
        ("has(self.n) ? 1 : 2", "int"),
        ("has(self.n) ? 'x' : self.b ? 'y' : 'z'", ""),
        ("has(self.n) ? self.?s.orValue('') : 'z'", ""),
        ("e1", ""),
        ("has(self.n) ? self.b : true", "bool"),
        ("size(self.s) + 1", "int"),
        ("self.list.filter(x, x > 1)", "list"),
        # Anything, as far as can be told from here.
        ("self.any", ""),
        ("self.d", ""),
        ("self.list.all(x, x > 1)", ""),
        ("self.?n.orValue(1)", ""),
        ("has(self.n) ? 1 : self.b", ""),
        ("variables.x", ""),
        ("self[?0].hasValue()", ""),
        ("", ""),
    ],
)
def test_26_types(expression: str, expected: str) -> None:
    assert type_of(expression, SCHEMA) == expected
