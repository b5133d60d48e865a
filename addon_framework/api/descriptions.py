"""What `kubectl explain` says of a field: the string below it in its class.

    quota: str = ""
    '''How many bytes it may hold, such as 10Gi.'''

Without one it is what the field's type says of itself: `msgspec.Meta(description=...)`, or the docstring of
a class.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap


@functools.cache
def field_texts(cls: type) -> dict[str, str]:
    """By attribute, with those of its bases; none where there is no source."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__[:-1]):
        if each.__module__ != "msgspec":
            found |= _own(each)
    return found


def _own(cls: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = " ".join(below.value.value.split())
    return found
