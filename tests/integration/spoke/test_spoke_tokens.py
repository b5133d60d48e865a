"""Add-ons' agents with tokens of a service account on the hub, as their identity there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import CSRS, ROLEBINDINGS, ROLES, SECRETS, SERVICEACCOUNTS
from addon_framework.api.names import ADDON_NAME_LABEL, CONDITION_TOKENS
from addon_framework.kube import Client, Forbidden, Unauthorized
from addon_framework.spoke.registration import secrets
from addon_framework.spoke.registration.credentials import client_config
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.greeter import SCORES
from tests.integration.spoke.test_spoke_addons import install, mounted

ADDON = ManagedClusterAddOn.RESOURCE


async def with_token(fleet: Fleet, name: str, *, other_than: bytes = b"") -> dict[str, bytes]:
    """The add-on's Secret, once there is a (new) token in it."""

    async def probe() -> dict[str, bytes] | None:
        secret = await fleet.spoke.get(SECRETS, f"{name}-hub-kubeconfig", name)
        data = secrets.contents(secret)
        return data if data.get("token") and data["token"] != other_than else None

    found: dict[str, bytes] = await fleet.until(probe)
    return found


async def allowed(fleet: Fleet, data: dict[str, bytes]) -> bool:
    async with Client(client_config(data)) as agent:
        await agent.list(SCORES, fleet.cluster)
    return True


async def unauthorized(fleet: Fleet, agent: Client) -> bool:
    """kube-apiserver remembers for ten seconds that a token was good, but not its rights."""
    try:
        await agent.list(SCORES, fleet.cluster)
    except (Forbidden, Unauthorized) as error:
        return isinstance(error, Unauthorized)
    return False


async def test_from_a_token_to_the_end_of_its_account(fleet: Fleet, tmp_path: Path) -> None:
    fleet.addon_auth = "token"
    await fleet.join()
    name = await install(fleet)
    data = await with_token(fleet, name)
    assert set(data) == {"kubeconfig", "token", "cluster-name"}
    await fleet.until(lambda: allowed(fleet, data))
    await fleet.until_condition(ADDON, name, "TokenRefreshed", "True", "AddonTokenRefreshed", fleet.cluster)
    addon = await fleet.hub.get(ADDON, name, fleet.cluster)
    user = f"system:serviceaccount:{fleet.cluster}:{name}-agent"
    assert addon["status"]["kubeClientDriver"] == "token"
    assert [r["subject"] for r in addon["status"]["registrations"]] == [{"user": user}]
    selector = f"{ADDON_NAME_LABEL}={name}"
    async with Client.from_kubeconfig(mounted(tmp_path / "hub", data)) as agent:  # as the kubelet mounts it
        await agent.list(SCORES, fleet.cluster)
        for forbidden in (agent.list(SCORES), agent.list(ADDON, fleet.cluster), agent.list(CSRS)):
            with pytest.raises(Forbidden):
                await forbidden
        await fleet.hub.delete(ADDON, name, fleet.cluster)
        await fleet.until_gone(fleet.hub, ADDON, name, fleet.cluster)
        await fleet.until_gone(fleet.hub, SERVICEACCOUNTS, f"{name}-agent", fleet.cluster)
        for resource in (ROLES, ROLEBINDINGS):
            await fleet.until_gone(fleet.hub, resource, f"{name}-token-role", fleet.cluster)
        await fleet.until_gone(fleet.spoke, SECRETS, f"{name}-hub-kubeconfig", name)
        await fleet.until(lambda: unauthorized(fleet, agent))
    before = (await fleet.hub.list(CSRS, label_selector=selector))["items"]
    assert len(before) <= 1  # from before the agent said that it wants tokens


async def test_a_token_is_renewed_in_time_and_again_with_a_new_account(fleet: Fleet) -> None:
    fleet.addon_auth = "token"
    await fleet.join()
    name = await install(fleet)
    first = await with_token(fleet, name)
    fleet.shift = timedelta(hours=20)
    await fleet.kill()
    fleet.start_agent()
    second = await with_token(fleet, name, other_than=first["token"])
    fleet.shift = timedelta()
    for data in (first, second):  # no gap: the one before is good until its own end
        await fleet.until(lambda data=data: allowed(fleet, data))

    await fleet.hub.delete(SERVICEACCOUNTS, f"{name}-agent", fleet.cluster)
    third = await with_token(fleet, name, other_than=second["token"])
    await fleet.until(lambda: allowed(fleet, third))


async def test_a_rejected_cluster_has_no_tokens_either(fleet: Fleet) -> None:
    fleet.addon_auth = "token"
    await fleet.join()
    name = await install(fleet)
    first = await with_token(fleet, name)
    await fleet.until(lambda: allowed(fleet, first))
    await fleet.hub.patch(ManagedCluster.RESOURCE, fleet.cluster, {"spec": {"hubAcceptsClient": False}})
    await fleet.until_gone(fleet.hub, SERVICEACCOUNTS, f"{name}-agent", fleet.cluster)
    reason = "ClusterNotAccepted"
    await fleet.until_condition(ADDON, name, CONDITION_TOKENS, "False", reason, fleet.cluster)
    async with Client(client_config(first)) as agent:
        await fleet.until(lambda: unauthorized(fleet, agent))
    await fleet.accept()
    second = await with_token(fleet, name, other_than=first["token"])
    await fleet.until(lambda: allowed(fleet, second))


async def test_an_agent_may_change_from_certificates_to_tokens_and_back(fleet: Fleet) -> None:
    await fleet.join()
    name = await install(fleet)
    await fleet.until_condition(ADDON, name, "ClusterCertificateRotated", namespace=fleet.cluster)
    await fleet.kill()
    fleet.addon_auth = "token"
    fleet.start_agent()
    data = await with_token(fleet, name)
    assert "tls.key" not in data
    await fleet.until(lambda: allowed(fleet, data))
    await fleet.kill()
    fleet.addon_auth = "csr"
    fleet.start_agent()
    await fleet.until_gone(fleet.hub, SERVICEACCOUNTS, f"{name}-agent", fleet.cluster)

    async def by_certificate() -> bool:
        data = secrets.contents(await fleet.spoke.get(SECRETS, f"{name}-hub-kubeconfig", name))
        return "tls.crt" in data and "token" not in data and await allowed(fleet, data)

    await fleet.until(by_certificate)
