"""What a class declares by name: commands in its pods, and data operations. Pure."""

from __future__ import annotations

from addon_framework.api.meta import Json
from runtimes.cacheclass.parts import class_title, executing
from runtimes.interface import Cache, Exec

_LEAST = 20.0  # seconds that a command may take at least


def command(cache: Cache, name: str, inputs: str = "") -> Exec | None:
    """Of the executionEntries of the part that runs them; None where the class has none of that name."""
    part = executing(cache)
    entry = ((part.definition.get("executionEntries") or {}) if part else {}).get(name)
    if part is None or not entry:
        return None
    timeout = max(_LEAST, float(entry.get("timeout") or 0))
    return Exec(part.role, entry["command"], timeout, inputs)


def operation_of(cache: Cache, name: str) -> tuple[int, Json | None]:
    """The first of the dataOperationSpecs of that name, and where it stands."""
    listed = (cache.profile or {}).get("dataOperationSpecs") or []
    return next(((number, each) for number, each in enumerate(listed) if each.get("name") == name), (0, None))


def refused(cache: Cache, name: str, otherwise: str) -> str:
    """Fluid takes such a class, and refuses the operation."""
    number, operation = operation_of(cache, name)
    if operation is None:
        return ""
    where = f"{class_title(cache)}: dataOperationSpecs[{number}]"
    field = "spec.dataset" if name == "DataBackup" else "from"  # as each is told
    return f"{field}: {where}: {name} is not supported by a class's own command; without it {otherwise}"
