"""Rights that the agent gives itself in one namespace, for as long as a runtime there needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from addon_framework.api.core import CLUSTERROLES, ROLEBINDINGS
from addon_framework.api.meta import Json, owner_reference
from addon_framework.kube import Client, Forbidden, Key
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import FIELD_MANAGER, labels

T = TypeVar("T")
_SOON = (0.1, 0.5, 2.0)  # seconds after which the API server has surely heard of a RoleBinding


class Rights:
    """By binding a role that the add-on brought, such as admission.names.EXEC_ROLE."""

    def __init__(self, client: Client, install_namespace: str) -> None:
        self._client, self._install_namespace = client, install_namespace

    async def using(self, role: str, binding: Binding, act: Callable[[], Awaitable[T]]) -> T:
        """What `act` returns, once it is allowed."""
        for delay in _SOON:
            try:
                return await act()
            except Forbidden:
                await self._bind(role, binding)
                await asyncio.sleep(delay)
        return await act()

    async def _bind(self, role: str, binding: Binding) -> None:
        what = role.rpartition(":")[2]
        metadata: Json = {
            "name": f"{binding.cache.name}-{binding.backend.type}-{what}",
            "namespace": binding.cache.namespace,
            "labels": labels(Key(binding.cache.namespace, binding.cache.name), what),
            "ownerReferences": [owner_reference(binding.runtime)],
        }
        account = f"{FIELD_MANAGER}-agent"
        subject = {"kind": "ServiceAccount", "name": account, "namespace": self._install_namespace}
        bound = {
            "apiVersion": ROLEBINDINGS.api_version,
            "kind": ROLEBINDINGS.kind,
            "metadata": metadata,
            "roleRef": {"apiGroup": CLUSTERROLES.group, "kind": CLUSTERROLES.kind, "name": role},
            "subjects": [subject],
        }
        await self._client.apply(bound, field_manager=FIELD_MANAGER, resource=ROLEBINDINGS)
