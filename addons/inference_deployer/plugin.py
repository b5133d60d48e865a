"""The inference deployer: a model on the best clusters, and one door to all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from addon_framework.api.core import CONFIGMAPS, DAEMONSETS
from addon_framework.api.crd import generate
from addon_framework.api.inference import GROUP, InferenceDeployment, InferenceEndpoint
from addon_framework.api.meta import Json
from addon_framework.plugins import (
    AddonDescription,
    AgentContext,
    Lease,
    Registration,
    agent_manifests,
    hookimpl,
)

if TYPE_CHECKING:
    import click

    from addon_framework.kube import Controller

NAME = "inference-deployer"
ENGINE_HOST = "engineHost"  # the variable in an AddOnDeploymentConfig
GATEWAY_ROLE = "boundaryless:inference-gateway"
_RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]


class InferenceDeployer:
    """Add-on `inference-deployer`. Variable `engineHost`: serving (default), always, or never."""

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        """Who it is."""
        return AddonDescription(
            name=NAME,
            display_name="Inference deployer",
            description="Serves models with vLLM on the clusters that fit best",
            health=Lease(),
        )

    @hookimpl
    def addon_manifests(self, cluster: Json, addon: Json, values: Mapping[str, Any]) -> list[Json]:
        """The InferenceEndpoint kind, and the agent that fills in its status."""
        from addons.inference_deployer.agent.enginehosts import MODES, SERVING
        from addons.inference_deployer.agent.run import ENGINE_HOST_VARIABLE

        mode = str(values.get(ENGINE_HOST) or SERVING)
        if mode not in MODES:
            raise ValueError(f"variable {ENGINE_HOST} is {mode!r}; it must be one of {', '.join(MODES)}")
        namespace = str(values["install_namespace"])
        return [
            generate(InferenceEndpoint),
            *agent_manifests(
                NAME,
                namespace,
                str(values["cluster_name"]),
                spoke_rules=_spoke_rules(),
                env={ENGINE_HOST_VARIABLE: mode},
                hub_access=False,  # all it says goes through the work's feedback
            ),
            *_engine_host_role(namespace),
        ]

    @hookimpl
    def addon_registrations(self, cluster_name: str) -> Sequence[Registration]:
        """No identity on the hub: what it does not have, nobody can steal."""
        return []

    @hookimpl
    def addon_hub_permissions(self, cluster_name: str) -> Sequence[Json]:
        """None, see `addon_registrations`."""
        return []

    @hookimpl
    async def addon_agent(self, context: AgentContext) -> None:
        """Report endpoints, keep engine hosts."""
        from addons.inference_deployer.agent.run import run_agent

        await run_agent(context)

    @hookimpl
    def addon_hub_controllers(self) -> Sequence[Controller]:
        """InferenceDeployment to ManifestWorks."""
        from addons.inference_deployer.controller.controller import InferenceController

        return [InferenceController()]

    @hookimpl
    def addon_hub_manifests(self) -> list[Json]:
        """The InferenceDeployment kind, who may use it, and what a gateway may do."""
        rules = {
            "view": [{"apiGroups": [GROUP], "resources": ["inferencedeployments"], "verbs": _READ}],
            "edit": [{"apiGroups": [GROUP], "resources": ["inferencedeployments"], "verbs": ["*"]}],
        }
        gateway = [
            {"apiGroups": [GROUP], "resources": ["inferencedeployments"], "verbs": _READ},
            {"apiGroups": [GROUP], "resources": ["inferencedeployments/status"], "verbs": ["patch"]},
        ]
        aggregated = [
            _cluster_role(f"boundaryless:inference-{name}", rule, {f"{_RBAC}/aggregate-to-{name}": "true"})
            for name, rule in rules.items()
        ]
        return [generate(InferenceDeployment), *aggregated, _cluster_role(GATEWAY_ROLE, gateway, {})]

    @hookimpl
    def addon_commands(self) -> Sequence[click.Command]:
        """`fleetadm gateway run`."""
        from addons.inference_deployer.gateway.command import gateway

        return [gateway]


def _spoke_rules() -> list[Json]:
    return [
        {"apiGroups": [GROUP], "resources": ["inferenceendpoints"], "verbs": _READ},
        {"apiGroups": [GROUP], "resources": ["inferenceendpoints/status"], "verbs": ["patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": _READ},
        {"apiGroups": [""], "resources": ["pods", "services"], "verbs": _READ},
        {"apiGroups": ["data.fluid.io"], "resources": ["datasets", "dataloads"], "verbs": _READ},
    ]


def _engine_host_role(namespace: str) -> list[Json]:
    """The agent writes its engine hosts, in its own namespace only."""
    metadata = {"name": f"{NAME}-engine-host", "namespace": namespace}
    verbs = [*_READ, "create", "patch", "delete"]
    rules = [
        {"apiGroups": [resource.group], "resources": [resource.plural], "verbs": verbs}
        for resource in (CONFIGMAPS, DAEMONSETS)
    ]
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": f"{NAME}-agent", "namespace": namespace}],
        },
    ]


def _cluster_role(name: str, rules: list[Json], labels: dict[str, str]) -> Json:
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}
