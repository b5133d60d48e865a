"""Add-ons' agents with service account tokens on the hub: OCM's agent with our hub, and ours with OCM's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from addon_framework.api.addon import AddOnDeploymentConfig, AddOnTemplate, ClusterManagementAddOn
from addon_framework.api.addon import ManagedClusterAddOn as Addon
from addon_framework.api.core import CLUSTERROLES, CONFIGMAPS, SECRETS, SERVICEACCOUNTS
from addon_framework.api.meta import Json
from addon_framework.kube import Client, Forbidden
from addon_framework.spoke.registration import secrets
from addon_framework.spoke.registration.credentials import client_config
from tests.interop import objects, scenario
from tests.interop.conftest import on_stage
from tests.interop.fleet import CLUSTER, Fleet
from tests.interop.objects import INSTALL_NAMESPACE, NAMESPACE, TEMPLATE
from tests.interop.ocm import OCM_NAMES
from tests.interop.parts import PARTS, REGISTRATION_AGENT, Cast

_FLAGS = {
    OCM_NAMES[REGISTRATION_AGENT]: "--addon-kubeclient-registration-auth=token",
    "our-agent": "--addon-auth=token",
}
CASTS = [Cast(frozenset({REGISTRATION_AGENT})), Cast(frozenset(PARTS) - {REGISTRATION_AGENT})]


def want_tokens(fleet: Fleet) -> None:
    """The registration agent, whosever it is, is started with its flag for tokens."""
    start = fleet.programs.start

    def with_flag(name: str, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        start(name, *command, *([_FLAGS[name]] if name in _FLAGS else []), env=env)

    fleet.programs.start = with_flag  # type: ignore[method-assign]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("tokens_by", CASTS, ids=str)
async def test_an_addon_by_token(tokens_by: Cast, ocm_programs: Path, tmp_path: Path) -> None:
    async with on_stage(tokens_by, tmp_path) as fleet:
        want_tokens(fleet)
        await scenario.join(fleet)
        await scenario.decide(fleet)
        await fleet.create(AddOnDeploymentConfig.RESOURCE, objects.addon_config(TEMPLATE, "hello"))
        await fleet.create(CLUSTERROLES, objects.hub_role())
        await fleet.create(AddOnTemplate.RESOURCE, objects.template())
        installed = objects.management_addon(TEMPLATE, by_template=True)
        await fleet.create(ClusterManagementAddOn.RESOURCE, installed)
        for kind in ("TokenInfrastructureReady", "TokenRefreshed", "RegistrationApplied"):
            addon = await fleet.until_condition(Addon.RESOURCE, TEMPLATE, kind, namespace=CLUSTER)
        account = await fleet.hub.get(SERVICEACCOUNTS, f"{TEMPLATE}-agent", CLUSTER)
        assert account["metadata"]["uid"] in str(addon["status"]["conditions"])

        async def identity() -> Json | None:
            secret = await fleet.spoke.get(SECRETS, f"{TEMPLATE}-hub-kubeconfig", INSTALL_NAMESPACE)
            return secret if {"kubeconfig", "token"} <= set(secret.get("data") or {}) else None

        config = client_config(secrets.contents(await fleet.until(identity)))
        async with Client(config) as agent:
            await fleet.until(lambda: agent.list(CONFIGMAPS, CLUSTER))
            with pytest.raises(Forbidden):
                await agent.list(CONFIGMAPS, NAMESPACE)
        await scenario.remove_addon(fleet, TEMPLATE)
        await fleet.until_gone(fleet.hub, SERVICEACCOUNTS, f"{TEMPLATE}-agent", CLUSTER)
