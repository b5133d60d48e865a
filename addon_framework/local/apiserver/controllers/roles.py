"""Aggregated ClusterRoles: their rules are the union of those that their label selectors find.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
"""

from __future__ import annotations

import asyncio

from addon_framework.api.meta import Json
from addon_framework.api.selectors import selects
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.rbac import GROUP
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.schemas import copy_json
from addon_framework.local.apiserver.store import Event, Store
from addon_framework.local.apiserver.system import own_write

_RESOURCE = f"clusterroles.{GROUP}"


class RoleAggregator:
    """Recomputes every aggregated role when one that concerns any of them changes; there are few."""

    def __init__(self, store: Store, registry: Registry, objects: Objects) -> None:
        self._store, self._objects = store, objects
        self._kind = registry.kinds[(GROUP, "clusterroles")]
        self._changed = asyncio.Event()
        self._changed.set()
        self._selectors: dict[str, list[Json]] = {}  # of the aggregated roles
        store.listen(self._on_event)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            roles = self._store.list(_RESOURCE)
            aggregated = [role for role in roles if role.get("aggregationRule")]
            self._selectors = {role["metadata"]["name"]: _selectors(role) for role in aggregated}
            for role in aggregated:
                self._sync(role, self._selectors[role["metadata"]["name"]], roles)

    def _on_event(self, event: Event) -> None:
        """A hub has a role for every cluster, which concern no aggregated one."""
        if event.resource == _RESOURCE and any(
            role.get("aggregationRule") or self._selected(role)
            for role in (event.old, event.obj)
            if role is not None
        ):
            self._changed.set()

    def _selected(self, role: Json) -> bool:
        labels = role["metadata"].get("labels") or {}
        return any(selects(s, labels) for each in self._selectors.values() for s in each)

    def _sync(self, role: Json, selectors: list[Json], roles: list[Json]) -> None:
        rules: list[Json] = []
        for other in roles:
            labels = other["metadata"].get("labels") or {}
            found = any(selects(selector, labels) for selector in selectors)
            if found and other["metadata"]["name"] != role["metadata"]["name"]:
                rules += [rule for rule in other.get("rules") or () if rule not in rules]
        if rules != (role.get("rules") or []):
            changed = copy_json(role)
            changed["rules"] = rules
            key = ("", role["metadata"]["name"])
            write = own_write(self._kind, key, manager="clusterrole-aggregation-controller")
            self._objects.update(write, changed)


def _selectors(role: Json) -> list[Json]:
    return (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
