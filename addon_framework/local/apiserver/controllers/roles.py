"""Aggregated ClusterRoles: their rules are the union of those that their label selectors find.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
"""

from __future__ import annotations

import asyncio

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.rbac import GROUP
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.schemas import copy_json
from addon_framework.local.apiserver.selectors import selector_from_object
from addon_framework.local.apiserver.store import Event, Store
from addon_framework.local.apiserver.system import SYSTEM
from addon_framework.local.apiserver.write import Write

_RESOURCE = f"clusterroles.{GROUP}"


class RoleAggregator:
    """Recomputes every aggregated role when any ClusterRole changes; there are few."""

    def __init__(self, store: Store, registry: Registry, objects: Objects) -> None:
        self._store, self._objects = store, objects
        self._kind = registry.kinds[(GROUP, "clusterroles")]
        self._changed = asyncio.Event()
        self._changed.set()
        store.listen(self._on_event)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            roles = self._store.list(_RESOURCE)
            for role in roles:
                if role.get("aggregationRule"):
                    self._sync(role, roles)

    def _on_event(self, event: Event) -> None:
        if event.resource == _RESOURCE:
            self._changed.set()

    def _sync(self, role: Json, roles: list[Json]) -> None:
        selectors = [
            selector_from_object(selector)
            for selector in role["aggregationRule"].get("clusterRoleSelectors") or ()
        ]
        rules: list[Json] = []
        for other in roles:
            labels = other["metadata"].get("labels") or {}
            if other["metadata"]["name"] != role["metadata"]["name"] and any(s(labels) for s in selectors):
                rules += [rule for rule in other.get("rules") or () if rule not in rules]
        if rules != (role.get("rules") or []):
            changed = copy_json(role)
            changed["rules"] = rules
            write = Write(SYSTEM, self._kind, self._kind.versions[0], "", role["metadata"]["name"])
            write.manager = "clusterrole-aggregation-controller"
            self._objects.update(write, changed)
