"""An add-on goes: its pre-delete hooks run first, for as long as the deadline allows; then what is hosted."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json, copy_json
from addon_framework.api.work import ManifestWork
from addon_framework.hub.addons.health import Verdict
from addon_framework.hub.addons.lookup import all_works_of
from addon_framework.hub.addons.places import OURS, Place, place_of
from addon_framework.hub.addons.predelete import (
    COMPLETED,
    CONDITION,
    EXCEEDED,
    WAITING,
    blocking,
    hook_work,
    seconds_left,
    verdict,
)
from addon_framework.hub.addons.works import same_work
from addon_framework.kube import Controller, key_of
from addon_framework.kube.ensure import remove, set_finalizers, write_status
from addon_framework.kube.events import EventRecorder

log = structlog.get_logger(__name__)
MANAGER = "boundaryless-addon-manager"


async def finish(
    controller: Controller,
    addon: Json,
    hooks: Mapping[Place, Sequence[Json]],
    *,
    problems: Sequence[str],
    notes: Sequence[str],
    deadline: float,
    now: datetime,
) -> float | None:
    """Ship the hooks, say in the add-on's status what is waited for, and let the add-on go in the end.

    `problems` keep the hooks from being known; without any, and without hooks, nothing is waited for. `notes`
    are what a person should know as long as it is.
    """
    told = get_condition(addon, CONDITION) or {}
    # What is said first: a cache that is behind must not have hooks shipped again that were taken away.
    if told.get("reason") not in (COMPLETED, EXCEEDED) and (problems or any(hooks.values())):
        left = seconds_left(addon, deadline, now)
        waiting = [*problems, *await _blocking(controller, addon, hooks, ship=left > 0)]
        found = verdict(waiting, [note for note in notes if note], deadline, left)
        status = copy_json(addon.get("status") or {})
        set_condition(status.setdefault("conditions", []), CONDITION, *found)
        if await write_status(controller.client, ManagedClusterAddOn.RESOURCE, addon, status):
            await _tell(controller, addon, found)
        return None if found.reason != WAITING or math.isinf(left) else left + 0.1
    works = all_works_of(controller, key_of(addon))
    hosted = [work for work in works if place_of(work).hosting]
    await asyncio.gather(*(remove(controller.client, ManifestWork.RESOURCE, work) for work in hosted))
    finalizers = [each for each in addon["metadata"].get("finalizers") or [] if each not in OURS]
    await set_finalizers(controller.client, ManagedClusterAddOn.RESOURCE, addon, finalizers)
    return None


async def _blocking(
    controller: Controller, addon: Json, hooks: Mapping[Place, Sequence[Json]], *, ship: bool
) -> list[str]:
    """Which hooks are not done yet; `ship` makes the works that run them."""
    works = {(place_of(w), w["metadata"]["name"]): w for w in all_works_of(controller, key_of(addon))}
    found = []
    for place, mine in hooks.items():
        work = hook_work(addon, place, mine)
        live = works.get((place, work["metadata"]["name"]))
        if mine and ship and (live is None or not same_work(live, work)):
            await controller.client.apply(work, field_manager=MANAGER, resource=ManifestWork.RESOURCE)
        found += blocking(place, live, mine)
    return found


async def _tell(controller: Controller, addon: Json, found: Verdict) -> None:
    if found.reason == EXCEEDED:
        metadata = addon["metadata"]
        log.warning(
            "add-on goes without its pre-delete work",
            addon=metadata["name"],
            cluster=metadata["namespace"],
            reason=found.message,
        )
    reason = {WAITING: "WaitingForPreDelete", COMPLETED: "PreDeleteCompleted"}.get(found.reason, found.reason)
    events = EventRecorder(controller.client, MANAGER)
    await events.record(addon, reason, found.message, warning=found.reason == EXCEEDED)
