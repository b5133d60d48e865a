"""What may not change any more, because it could only be ignored or leave something behind. Pure.

A volume and its claim cannot be changed, and what a cache has in a directory of nodes is found, and cleaned,
only as long as the runtime names that directory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.kube import key_of
from addons.cache_runtime.agent import volumes
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.copies import is_copy, is_own
from addons.cache_runtime.hub.names import NO_COPY

_ANEW = "delete the Dataset and its runtime and create them anew"
_Path = tuple[str | int, ...]


def refused(old: Json, new: Json, bind: Callable[[Json], Binding]) -> list[str]:
    """Of a Dataset or runtime whose volume is there; `bind` pairs either version of it with the other object.

    Both versions must be valid.
    """
    before = bind(old)
    found = []
    for path in _differences(old.get("spec") or {}, new.get("spec") or {}):
        try:
            why = _why(before, bind(_with(old, new, path)))
        except (ValueError, KeyError, IndexError, TypeError):
            continue  # half of a change need not make sense; the whole of it is looked at below
        if why:
            found.append(f"{_title(new)}: {_field(path)}: cannot change: {why}; {_ANEW}")
    if not found and (why := _why(before, bind(new))):
        found.append(f"{_title(new)}: spec: cannot change like that: {why}; {_ANEW}")
    return found


def _why(before: Binding, after: Binding) -> str:
    wanted, made = ((volumes.persistent_volume(b)["spec"], volumes.claim(b)["spec"]) for b in (after, before))
    if wanted != made:
        return "pods have the data by a volume that cannot change any more"
    left = _directories(before) - _directories(after)
    return f"what is in {', '.join(sorted(left))} of nodes would stay there for ever" if left else ""


def _directories(binding: Binding) -> set[str]:
    containers = binding.backend.clean(binding.cache).pod["containers"]
    args = [arg for container in containers for arg in container.get("args") or []]
    return {arg.removeprefix("--remove=") for arg in args if arg.startswith("--remove=")}


def _differences(old: Any, new: Any, at: _Path = ()) -> Iterator[_Path]:
    """Paths of what is not the same in both, as deep as both have something there."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            if name in old and name in new:
                yield from _differences(old[name], new[name], (*at, name))
            else:
                yield (*at, name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, pair in enumerate(zip(old, new, strict=True)):
            yield from _differences(*pair, (*at, number))
    elif old != new:
        yield at


def _with(old: Json, new: Json, path: _Path) -> Json:
    """The old object with one field as in the new one."""
    made = copy.deepcopy({**old, "spec": old.get("spec") or {}})
    to: Any = made["spec"]
    source: Any = new.get("spec") or {}
    for step in path[:-1]:
        to, source = to[step], source[step]
    if isinstance(source, dict) and path[-1] not in source:
        del to[path[-1]]
    else:
        to[path[-1]] = source[path[-1]]
    return made


def _field(path: _Path) -> str:
    return "spec" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _title(obj: Json) -> str:
    return f"{obj.get('kind')} {key_of(obj)}"


def overwritten(obj: Json, old: Json) -> str:
    """Why a work of the hub's may not make its own of what is here already; "" for any other change.

    It would go with the work.
    """
    if not old.get("metadata") or not is_own(old) or not is_copy(obj):
        return ""
    kind, name = obj.get("kind"), obj["metadata"].get("name")
    return (
        f"{kind} {obj['metadata'].get('namespace')}/{name} of this cluster {NO_COPY}, which would "
        "replace it; rename or delete one of them"
    )
