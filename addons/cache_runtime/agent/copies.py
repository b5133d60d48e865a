"""What the hub sends of a Dataset for the fleet, and what a cluster has of its own by the same name. Pure.

The two are never paired: a runtime or an operation of the fleet would work on data that are not the fleet's.
"""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.meta import Json
from addon_framework.api.work import AppliedManifestWork
from addons.cache_runtime.hub.names import COPY_ANNOTATION, NO_COPY

_APPLIED = AppliedManifestWork.RESOURCE.kind


def is_copy(obj: Json) -> bool:
    """Whether a hub made it of a Dataset for the fleet."""
    return COPY_ANNOTATION in (obj["metadata"].get("annotations") or {})


def is_own(obj: Json) -> bool:
    """Whether it is the cluster's. What hubs made that did not mark their copies yet belongs to a work."""
    owners = obj["metadata"].get("ownerReferences") or []
    return not is_copy(obj) and not any(owner.get("kind") == _APPLIED for owner in owners)


def apart(one: Json, other: Json) -> bool:
    """Whether one of the two is the fleet's and the other the cluster's."""
    return (is_copy(one) and is_own(other)) or (is_own(one) and is_copy(other))


def stranger(kind: str, obj: Json, others: Iterable[tuple[str, Json]]) -> str:
    """Why a copy cannot be what it is for here: one of the others, with their kinds, is the cluster's own."""
    if not is_copy(obj):
        return ""
    own = next(((name, other) for name, other in others if is_own(other)), None)
    if own is None:
        return ""
    metadata, name = own[1]["metadata"], obj["metadata"].get("name")
    return (
        f"{own[0]} {metadata['namespace']}/{metadata['name']} of this cluster {NO_COPY}, which {kind} "
        f"{name} is for; rename or delete one of them"
    )
