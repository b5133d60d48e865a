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
SCORERS, SECRETS = (
    "scorers",
    "scorerSecrets",
)  # variables: URLs of external scorers, Secrets with their tokens
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
            hosted=True,  # it writes nothing on the cluster that it scores
        )

    @hookimpl
    def addon_manifests(self, cluster: Json, addon: Json, values: Mapping[str, Any]) -> Sequence[Json]:
        """One agent that reads nodes, pods and devices. Bad variables are refused here, where one sees it."""
        from addons.resource_scorer.scores import VARIABLES, names_in, settings_from

        variables = {name: str(values[name]) for name in (*VARIABLES, SCORERS) if name in values}
        settings_from(variables)
        scorers = names_in(variables.get(SCORERS, ""))
        if bad := [url for url in scorers if not url.startswith(("http://", "https://"))]:
            raise ValueError(
                f"customizedVariables {SCORERS}: {bad[0]!r} is no URL of a scorer's configuration"
            )
        tokens = names_in(str(values.get(SECRETS, "")))
        env = {OWNER_ENV: addon["metadata"].get("uid", "")}
        if variables:
            env[SETTINGS_ENV] = json.dumps(variables, sort_keys=True)
        namespace, watch = values["install_namespace"], ["get", "list", "watch"]
        mode = values.get("install_mode", "Default")
        return [
            *agent_manifests(
                NAME,
                namespace,
                values["cluster_name"],
                spoke_rules=[
                    {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": watch},
                    {
                        "apiGroups": ["resource.k8s.io"],
                        "resources": ["resourceslices", "resourceclaims"],
                        "verbs": watch,
                    },
                    {"apiGroups": ["metrics.k8s.io"], "resources": ["nodes"], "verbs": ["get", "list"]},
                    # The list of scorers that upstream's dynamic-scoring-framework delivers.
                    {
                        "apiGroups": [""],
                        "resources": ["configmaps"],
                        "resourceNames": ["dynamic-scoring-config"],
                        "verbs": watch,
                    },
                ],
                env=env,
                install_mode=mode,
            ),
            # Hosted elsewhere it reads them as the maker of its kubeconfig lets it.
            *(_may_read(tokens, namespace) if tokens and mode == "Default" else ()),
        ]

    @hookimpl
    def addon_hub_permissions(self) -> Sequence[Json]:
        """Its scores, in its own cluster namespace."""
        group = ["cluster.open-cluster-management.io"]
        return [
            {
                "apiGroups": group,
                "resources": ["addonplacementscores"],
                "verbs": ["get", "list", "watch", "create", "patch", "delete"],
            },
            {"apiGroups": group, "resources": ["addonplacementscores/status"], "verbs": ["get", "patch"]},
        ]

    @hookimpl
    async def addon_agent(self, context: AgentContext) -> None:
        """Runs until cancelled."""
        from addon_framework.kube import Manager
        from addons.resource_scorer.agent import ScoreController, device_resources
        from addons.resource_scorer.external import ExternalScores
        from addons.resource_scorer.publish import Publisher
        from addons.resource_scorer.scores import names_in, settings_from

        if context.hub is None:
            raise RuntimeError(f"{NAME} publishes on the hub and needs HUB_KUBECONFIG")
        variables = json.loads(os.environ.get(SETTINGS_ENV, "{}"))
        publisher = Publisher(
            context.hub,
            context.cluster_name,
            addon_name=context.addon_name,
            owner_uid=os.environ.get(OWNER_ENV, ""),
        )
        spoke, urls = context.spoke, names_in(variables.get(SCORERS, ""))
        devices = await device_resources(spoke)
        manager = Manager(context.hub, name=NAME)
        manager.add(ScoreController(spoke, publisher, settings_from(variables), devices=devices))
        manager.add(ExternalScores(spoke, publisher, context.install_namespace, urls))
        await manager.run()


def _may_read(secrets: Sequence[str], namespace: str) -> list[Json]:
    """Tokens for external scorers: these Secrets beside the agent, and no other."""
    name, group = f"{NAME}-tokens", "rbac.authorization.k8s.io"
    metadata = {"name": name, "namespace": namespace}
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": list(secrets), "verbs": ["get"]}
    subject = {"kind": "ServiceAccount", "name": f"{NAME}-agent", "namespace": namespace}
    version = f"{group}/v1"
    return [
        {"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": dict(metadata),
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [subject],
        },
    ]
