"""A test plug-in: an add-on with an agent that writes a score to the hub and lives by its Lease."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from addon_framework.api.cluster import AddOnPlacementScore
from addon_framework.api.meta import Json
from addon_framework.kube import AlreadyExists
from addon_framework.plugins import AddonDescription, AgentContext, Lease, agent_manifests, hookimpl

SCORES = AddOnPlacementScore.RESOURCE


class Greeter:
    """Its install namespace is its own, so that tests on one spoke do not meet."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=self.name, health=Lease, install_namespace=self.name, hosted=True)

    @hookimpl
    def addon_manifests(self, values: Mapping[str, Any]) -> list[Json]:
        mode = values["install_mode"]
        return agent_manifests(
            self.name, values["install_namespace"], values["cluster_name"], install_mode=mode
        )

    @hookimpl
    def addon_hub_permissions(self) -> list[Json]:
        verbs = ["get", "list", "watch", "create", "update", "patch"]
        return [{"apiGroups": [SCORES.group], "resources": [SCORES.plural], "verbs": verbs}]

    @hookimpl
    async def addon_agent(self, context: AgentContext) -> None:
        assert context.hub is not None
        score = {
            "apiVersion": SCORES.api_version,
            "kind": SCORES.kind,
            "metadata": {"name": self.name, "namespace": context.cluster_name},
        }
        try:
            await context.hub.create(SCORES, score)
        except AlreadyExists:
            pass
        await asyncio.Event().wait()
