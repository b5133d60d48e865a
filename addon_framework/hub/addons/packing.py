"""Packs objects into ManifestWorks below the size limit, moving as few of them as possible. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from addon_framework.api.meta import Json

MAX_WORK_BYTES = 500 * 1024
FILL_BYTES = MAX_WORK_BYTES * 8 // 10

Identity = tuple[str, str, str, str]


class TooLarge(ValueError):
    """One object is larger than a ManifestWork may be."""


def identity(obj: Json) -> Identity:
    """API group, kind, namespace and name: what makes two manifests the same object."""
    metadata = obj.get("metadata") or {}
    group = obj.get("apiVersion", "").rpartition("/")[0]
    return group, obj.get("kind", ""), metadata.get("namespace", ""), metadata.get("name", "")


def pack(
    objects: Sequence[Json], present: Mapping[int, Sequence[Identity]], limit: int = FILL_BYTES
) -> dict[int, list[Json]]:
    """Give every object a work by its index.

    An object stays in the work that has it while there is room; the others go, largest first, to the emptiest
    work with room. Inside a work, objects keep the order they were rendered in.
    """
    size = {identity(obj): len(orjson.dumps(obj)) for obj in objects}
    for obj in objects:
        if size[identity(obj)] > limit:
            kind, name = obj.get("kind"), (obj.get("metadata") or {}).get("name")
            raise TooLarge(
                f"{kind} {name} has {size[identity(obj)]} bytes; a ManifestWork holds at most {limit}: "
                "split the object, or have the agent fetch it"
            )
    home = {found: index for index, identities in sorted(present.items()) for found in identities}
    used: dict[int, int] = {}
    place: dict[Identity, int] = {}
    rest: list[Identity] = []
    for found in size:
        index = home.get(found)
        if index is not None and used.get(index, 0) + size[found] <= limit:
            place[found] = index
            used[index] = used.get(index, 0) + size[found]
        else:
            rest.append(found)
    for found in sorted(rest, key=lambda item: (-size[item], item)):
        fitting = [index for index in used if used[index] + size[found] <= limit]
        index = min(fitting, key=lambda i: (used[i], i)) if fitting else _next_free(used)
        place[found] = index
        used[index] = used.get(index, 0) + size[found]
    works: dict[int, list[Json]] = {index: [] for index in sorted(used)}
    for obj in objects:
        works[place[identity(obj)]].append(obj)
    return works


def _next_free(used: Mapping[int, int]) -> int:
    return next(index for index in range(len(used) + 1) if index not in used)
