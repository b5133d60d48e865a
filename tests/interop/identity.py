"""Steps about who the spoke's agents are on the hub: their certificate, and what it opens."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import CSRS, SECRETS
from addon_framework.api.meta import Json
from addon_framework.api.names import CLUSTER_NAME_LABEL
from addon_framework.api.work import ManifestWork
from addon_framework.kube import Client, Forbidden
from addon_framework.spoke.names import AGENT_NAMESPACE, HUB_SECRET
from addon_framework.spoke.registration import secrets as agent_secrets
from addon_framework.spoke.registration.credentials import client_config
from tests.interop.fleet import CLUSTER, Fleet
from tests.unit.hub.certificates import csr_to_create

USER = f"system:open-cluster-management:{CLUSTER}"


async def credentials(fleet: Fleet) -> dict[str, bytes]:
    """What the registration agent keeps."""
    return agent_secrets.contents(await fleet.on_spoke(SECRETS, HUB_SECRET, AGENT_NAMESPACE))


async def renew(fleet: Fleet) -> None:
    """With its certificate a cluster gets the next one without a person; another's name it does not get."""
    data = await credentials(fleet)
    name = data["agent-name"].decode()
    async with Client(client_config(data)) as agent:
        own = await agent.create(CSRS, _request(f"{USER}:{name}"))
        another = await agent.create(CSRS, _request(f"{USER}:another"))
    assert data["cluster-name"].decode() == CLUSTER

    async def signed() -> bool:
        found = await fleet.hub.get(CSRS, own["metadata"]["name"])
        return bool((found.get("status") or {}).get("certificate"))

    await fleet.until(signed)
    refused = await fleet.hub.get(CSRS, another["metadata"]["name"])
    assert not (refused.get("status") or {}).get("conditions"), refused["status"]


def _request(user: str) -> Json:
    labels = {CLUSTER_NAME_LABEL: CLUSTER}
    groups = [USER, "system:open-cluster-management:managed-clusters"]
    return csr_to_create(ec.generate_private_key(ec.SECP256R1()), f"{CLUSTER}-", labels, user, groups)


async def reject(fleet: Fleet) -> None:
    """A cluster that is denied sees no works any more; accepted again it does.

    Before it has works: OCM lets it keep its access until they are gone.
    """
    async with Client(client_config(await credentials(fleet))) as agent:

        async def locked_out() -> bool:
            try:
                await agent.list(ManifestWork.RESOURCE, CLUSTER)
            except Forbidden:
                return True
            return False

        await agent.list(ManifestWork.RESOURCE, CLUSTER)
        await _set_accepted(fleet, False)
        await fleet.until_condition(
            ManagedCluster.RESOURCE, CLUSTER, "HubAcceptedManagedCluster", status="False"
        )
        await fleet.until(locked_out)
        await _set_accepted(fleet, True)
        await fleet.until_condition(ManagedCluster.RESOURCE, CLUSTER, "HubAcceptedManagedCluster")

        async def let_in() -> bool:
            return not await locked_out()

        await fleet.until(let_in)


async def _set_accepted(fleet: Fleet, accepted: bool) -> None:
    await fleet.hub.patch(ManagedCluster.RESOURCE, CLUSTER, {"spec": {"hubAcceptsClient": accepted}})
