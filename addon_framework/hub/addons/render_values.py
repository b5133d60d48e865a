"""What an add-on class sees while it is made a template: variables, and objects of which little is known."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NoReturn

CLUSTER_NAME, INSTALL_NAMESPACE = "{{CLUSTER_NAME}}", "{{INSTALL_NAMESPACE}}"
_NAME = re.compile(r"[a-zA-Z_][_a-zA-Z0-9]*")  # as customizedVariables may be called


class Inexpressible(Exception):
    """The class wants to know what a template cannot know; the message says what."""


class Variables(dict[str, Any]):
    """`values` in which whatever is asked for becomes a variable of the template.

    `defaults` are the variables with their values by default, in the order in which they were asked for;
    `found` those of them that were not `given`. The `fixed` ones are their defaults instead.
    """

    def __init__(self, given: Mapping[str, str], fixed: Collection[str] = ()) -> None:
        super().__init__()
        self.defaults: dict[str, str] = {}
        self.notes: list[str] = []
        self.found: list[str] = []
        self._fixed = fixed
        for name, default in given.items():
            self[name] = self._variable(name, default)

    def __missing__(self, name: str) -> str:
        self[name] = self._variable(name, "")
        self.notes.append(f"variable {name} is empty by default: set it, or say --variable {name}=DEFAULT")
        return str(self[name])

    def get(self, name: str, default: Any = None) -> Any:
        """A default that is text becomes the variable's; anything else stays what it is in every cluster."""
        if name in self:
            return self[name]
        if isinstance(default, str) and name not in self._fixed:
            self[name] = self._variable(name, default)
            self.found.append(name)
            return self[name]
        note = f"{name} is fixed at {default!r}; --variable {name}=DEFAULT makes it a variable, which is text"
        if name in self._fixed:
            note = f"{name} is fixed at {default!r}: the class computes with it, which a template cannot"
        if note not in self.notes:
            self.notes.append(note)
        return default

    def _variable(self, name: str, default: str) -> str:
        if not _NAME.fullmatch(name):
            raise Inexpressible(f"values[{name!r}]: variables are called with letters, digits and _")
        self.defaults[name] = default
        return f"{{{{{name}}}}}"


class Known(dict[str, Any]):
    """An object of which only these fields are known; asking for another one is said or refused.

    With a default of the author's own, `get` answers with that.
    """

    def __init__(self, path: str, fields: Mapping[str, Any], notes: list[str]) -> None:
        super().__init__(fields)
        self._path, self._notes = path, notes

    def __missing__(self, name: str) -> NoReturn:
        self._refuse(name)

    def get(self, name: str, *default: Any) -> Any:
        """As of a dict."""
        if name in self.keys():
            return self[name]
        if not default:
            self._refuse(name)
        note = f"{self._path}.{name} is not known to a template: {default[0]!r} is in its place"
        if note not in self._notes:
            self._notes.append(note)
        return default[0]

    def __contains__(self, name: object) -> bool:
        return name in self.keys() or self._refuse(str(name))

    def __iter__(self) -> Iterator[str]:
        self._refuse("*")

    def _refuse(self, name: str) -> NoReturn:
        raise Inexpressible(
            f"it reads {self._path}.{name}, which differs from cluster to cluster; of a cluster a template "
            "knows its name only. Make it a variable (values), to be set by an AddOnDeploymentConfig"
        )
