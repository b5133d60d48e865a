"""Conditions by Kubernetes' conventions: one per type, and a transition time that moves only with status.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from __future__ import annotations

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339


def set_condition(
    conditions: list[Json],
    type: str,
    status: str | bool,
    reason: str,
    message: str = "",
    *,
    generation: int | None = None,
    now: str | None = None,
) -> bool:
    """Sets one condition in place; whether anything changed."""
    if isinstance(status, bool):
        status = "True" if status else "False"
    wanted: Json = {"type": type, "status": status, "reason": reason, "message": message}
    if generation is not None:
        wanted["observedGeneration"] = generation
    for condition in conditions:
        if condition.get("type") != type:
            continue
        if all(condition.get(name) == value for name, value in wanted.items()):
            return False
        if condition.get("status") != status:
            condition["lastTransitionTime"] = now or now_rfc3339()
        condition.update(wanted)
        return True
    conditions.append({**wanted, "lastTransitionTime": now or now_rfc3339()})
    return True


def get_condition(source: Json | list[Json], type: str) -> Json | None:
    """A condition of an object, or of a list of conditions."""
    conditions = source if isinstance(source, list) else (source.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == type), None)


def is_true(source: Json | list[Json], type: str) -> bool:
    """Whether the condition is there and True."""
    condition = get_condition(source, type)
    return condition is not None and condition.get("status") == "True"
