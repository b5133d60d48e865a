"""The add-on `resource-scorer` as the framework sees it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from addon_framework.plugins import AddonDescription, AgentContext, Lease, agent_manifests, hookimpl

if TYPE_CHECKING:
    from addon_framework.api.meta import Json

NAME = "resource-scorer"
SETTINGS_ENV, OWNER_ENV = "RESOURCE_SCORER_VARIABLES", "RESOURCE_SCORER_OWNER_UID"


class ResourceScorer:
    """Publishes what a cluster has free as AddOnPlacementScore `resource-usage-score`; see `scores`."""

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        """Alive as long as the agent renews its Lease."""
        return AddonDescription(
            name=NAME,
            display_name="Resource scorer",
            description="Scores clusters by free CPU, memory, GPUs and TPUs",
            health=Lease,
        )

    @hookimpl
    def addon_manifests(self, cluster: Json, addon: Json, values: Mapping[str, Any]) -> Sequence[Json]:
        """One agent that reads nodes and pods. Bad variables are refused here, where the user sees it."""
        from addons.resource_scorer.scores import VARIABLES, settings_from

        variables = {name: str(values[name]) for name in VARIABLES if name in values}
        settings_from(variables)
        env = {OWNER_ENV: addon["metadata"].get("uid", "")}
        if variables:
            env[SETTINGS_ENV] = json.dumps(variables, sort_keys=True)
        return agent_manifests(
            NAME,
            values["install_namespace"],
            values["cluster_name"],
            spoke_rules=[
                {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["get", "list", "watch"]}
            ],
            env=env,
        )

    @hookimpl
    def addon_hub_permissions(self) -> Sequence[Json]:
        """Its scores, in its own cluster namespace."""
        group = ["cluster.open-cluster-management.io"]
        return [
            {
                "apiGroups": group,
                "resources": ["addonplacementscores"],
                "verbs": ["get", "list", "watch", "create", "patch"],
            },
            {"apiGroups": group, "resources": ["addonplacementscores/status"], "verbs": ["get", "patch"]},
        ]

    @hookimpl
    async def addon_agent(self, context: AgentContext) -> None:
        """Runs until cancelled."""
        from addon_framework.kube import Manager
        from addons.resource_scorer.agent import ScoreController
        from addons.resource_scorer.scores import settings_from

        if context.hub is None:
            raise RuntimeError(f"{NAME} publishes on the hub and needs HUB_KUBECONFIG")
        controller = ScoreController(
            context.spoke,
            context.cluster_name,
            settings_from(json.loads(os.environ.get(SETTINGS_ENV, "{}"))),
            addon_name=context.addon_name,
            owner_uid=os.environ.get(OWNER_ENV, ""),
        )
        manager = Manager(context.hub, name=NAME)
        manager.add(controller)
        await manager.run()
