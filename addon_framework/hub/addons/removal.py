"""An add-on goes: its pre-delete hooks run first, for as long as the deadline allows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime

import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.conditions import set_condition
from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL
from addon_framework.api.work import ManifestWork
from addon_framework.hub.addons.health import Verdict
from addon_framework.hub.addons.predelete import CONDITION, PRE_DELETE, hook_work, seconds_left, verdict
from addon_framework.hub.addons.works import same_work
from addon_framework.hub.events import EventRecorder
from addon_framework.kube import Controller, Key
from addon_framework.kube.ensure import set_finalizers, write_status

log = structlog.get_logger(__name__)
MANAGER = "boundaryless-addon-manager"


async def finish(
    controller: Controller,
    addon: Json,
    hooks: Sequence[Json],
    *,
    problem: str,
    deadline: float,
    now: datetime,
) -> float | None:
    """Ship the hooks, say in the add-on's status what is waited for, and let the add-on go in the end.

    With neither hooks nor a `problem` in rendering them there is nothing to wait for.
    """
    client, key = controller.client, Key(addon["metadata"]["namespace"], addon["metadata"]["name"])
    left = seconds_left(addon, deadline, now)
    found = Verdict("False", "HookManifestNotCompleted", f"the deletion waits: {problem}")
    if hooks:
        work = hook_work(addon, hooks)
        cache = controller.cache(ManifestWork.RESOURCE, label_selector=ADDON_NAME_LABEL)
        live = cache.get(Key(key.namespace, work["metadata"]["name"]))
        if left > 0 and (live is None or not same_work(live, work)):
            await client.apply(work, field_manager=MANAGER, resource=ManifestWork.RESOURCE)
        found = verdict(live, hooks)
    if left > 0 and found.status == "False" and (hooks or problem):
        status = copy.deepcopy(addon.get("status") or {})
        text = f"{found.message}; after {deadline:.0f} s it goes on without"
        set_condition(status.setdefault("conditions", []), CONDITION, found.status, found.reason, text)
        await write_status(client, ManagedClusterAddOn.RESOURCE, addon, status)
        return left + 0.1
    if found.status == "False" and (hooks or problem):
        log.warning("add-on goes without its pre-delete work", addon=key.name, cluster=key.namespace)
        events = EventRecorder(client, MANAGER)
        await events.record(addon, "PreDeleteDeadlineExceeded", found.message, warning=True)
    finalizers = [each for each in addon["metadata"]["finalizers"] if each != PRE_DELETE]
    await set_finalizers(client, ManagedClusterAddOn.RESOURCE, addon, finalizers)
    return None
