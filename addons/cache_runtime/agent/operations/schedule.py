"""Policies and schedules, as far as they can be judged before Kubernetes does. Pure."""

from __future__ import annotations

import re

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.operations.kinds import RefusedError, invalid, title

_FIELDS = re.compile(r"(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|\S+(\s+\S+){4})")
_LONGEST = 35  # of a name: with our suffix at most the 52 characters that a CronJob may have


def check_policy(op: Json) -> None:
    """Cron has a schedule, and nothing else has one. Raises RefusedError."""
    spec, where = op.get("spec") or {}, f"{title(op)}: spec"
    kept = spec.get("ttlSecondsAfterFinished")
    if kept is not None and kept < 0:
        raise invalid(op, "spec.ttlSecondsAfterFinished", "must not be negative")
    if spec.get("policy") == "OnEvent" and kept is not None:
        raise RefusedError(
            "DataOperationNotValid",
            f"{where}.ttlSecondsAfterFinished: has no meaning with policy OnEvent, which never ends",
        )
    policy, schedule = spec.get("policy") or "Once", str(spec.get("schedule") or "").strip()
    if policy != "Cron":
        if schedule:
            raise RefusedError(
                "DataOperationNotValid", f"{where}.schedule: has no meaning with policy {policy}; use Cron"
            )
        return
    if not schedule:
        raise RefusedError("ScheduleNotSpecified", f"{where}.schedule: policy Cron needs one")
    if not _FIELDS.fullmatch(schedule):
        raise RefusedError(
            "DataOperationNotValid", f"{where}.schedule: {schedule!r} must be five fields, or like @daily"
        )
    if len(op["metadata"]["name"]) > _LONGEST:
        raise RefusedError(
            "DataOperationNotValid",
            f"{title(op)}: metadata.name: with policy Cron at most {_LONGEST} characters",
        )
