"""Who lets a cluster in, and what is left of its rights when it is let out again."""

from __future__ import annotations

import pytest

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import is_true
from addon_framework.api.core import CSRS
from addon_framework.api.names import AUTO_ACCEPTED_ANNOTATION, CLUSTER_NAME_LABEL, CLUSTER_SET_LABEL
from addon_framework.api.work import ManifestWork
from addon_framework.hub.roles import BOOTSTRAP_ACCOUNT, BOOTSTRAP_NAMESPACE
from addon_framework.kube import Client, Forbidden
from addon_framework.spoke.registration.credentials import client_config
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.greeter import SCORES
from tests.integration.spoke.objects import config_map
from tests.integration.spoke.test_spoke_addons import install, registered

CLUSTER, AVAILABLE = ManagedCluster.RESOURCE, "ManagedClusterConditionAvailable"
BOOTSTRAP_USER = f"system:serviceaccount:{BOOTSTRAP_NAMESPACE}:{BOOTSTRAP_ACCOUNT}"


async def until_gone_for(fleet: Fleet, identity: Client, name: str) -> None:
    """Until the add-on's agent may no longer do what it could."""

    async def refused() -> bool:
        try:
            await identity.list(SCORES, fleet.cluster)
        except Forbidden:
            return True
        return False

    await fleet.until(refused)
    resource, reason = ManagedClusterAddOn.RESOURCE, "ClusterNotAccepted"
    await fleet.until_condition(resource, name, "RegistrationApplied", "False", reason, fleet.cluster)


async def hub_with(fleet: Fleet, *users: str) -> None:
    fleet.auto_approve = users
    await fleet.kill("hub")
    await fleet.start_hub()


async def test_a_user_on_the_list_lets_its_clusters_in_once(fleet: Fleet) -> None:
    await hub_with(fleet, BOOTSTRAP_USER)
    fleet.start_agent()  # and no person does anything
    cluster = await fleet.until_condition(CLUSTER, fleet.cluster, AVAILABLE)
    assert cluster["spec"]["hubAcceptsClient"] is True
    assert cluster["metadata"]["annotations"][AUTO_ACCEPTED_ANNOTATION]
    await fleet.applied(await fleet.work("auto", [config_map(f"auto-{fleet.mark}", "default", a="b")]))

    await fleet.hub.patch(CLUSTER, fleet.cluster, {"spec": {"hubAcceptsClient": False}})
    await hub_with(fleet, BOOTSTRAP_USER)  # it sees the old request again, and that it has been answered
    denied = await fleet.until_condition(CLUSTER, fleet.cluster, "HubAcceptedManagedCluster", "False")
    assert denied["spec"]["hubAcceptsClient"] is False
    await fleet.accept()
    await fleet.until_condition(CLUSTER, fleet.cluster, "HubAcceptedManagedCluster")


async def test_a_user_who_is_not_on_the_list_waits_for_a_person(fleet: Fleet) -> None:
    await hub_with(fleet, "somebody-else")
    fleet.start_agent()
    await fleet.until(lambda: fleet.hub.get(CLUSTER, fleet.cluster))
    # The hub has looked at it when its default set is there.

    async def looked_at() -> bool:
        cluster = await fleet.hub.get(CLUSTER, fleet.cluster)
        return "cluster.open-cluster-management.io/clusterset" in (cluster["metadata"].get("labels") or {})

    await fleet.until(looked_at)
    selector = f"{CLUSTER_NAME_LABEL}={fleet.cluster}"
    (csr,) = (await fleet.hub.list(CSRS, label_selector=selector))["items"]
    assert not is_true(csr, "Approved")
    assert (await fleet.hub.get(CLUSTER, fleet.cluster))["spec"]["hubAcceptsClient"] is False


async def test_a_rejected_cluster_takes_its_addons_rights_along(fleet: Fleet) -> None:
    await fleet.join()
    name = await install(fleet)
    async with (
        Client(client_config(await registered(fleet, name))) as agent,
        Client(client_config(await fleet.identity())) as identity,
    ):
        await fleet.until(lambda: agent.list(SCORES, fleet.cluster))
        await fleet.hub.patch(CLUSTER, fleet.cluster, {"spec": {"hubAcceptsClient": False}})
        await until_gone_for(fleet, agent, name)
        await fleet.until_condition(CLUSTER, fleet.cluster, "HubAcceptedManagedCluster", "False")
        with pytest.raises(Forbidden):
            await identity.list(ManifestWork.RESOURCE, fleet.cluster)
        await fleet.accept()
        await fleet.until(lambda: agent.list(SCORES, fleet.cluster))
        reason = "SetPermissionApplied"
        await fleet.until_condition(
            ManagedClusterAddOn.RESOURCE, name, "RegistrationApplied", "True", reason, fleet.cluster
        )


async def test_a_cluster_does_not_move_itself_into_another_set(fleet: Fleet) -> None:
    await fleet.join()
    async with Client(client_config(await fleet.identity())) as identity:

        async def is_in_default() -> bool:
            labels = (await identity.get(CLUSTER, fleet.cluster))["metadata"].get("labels") or {}
            return bool(labels.get(CLUSTER_SET_LABEL) == "default")

        async def moves_to(cluster_set: str | None) -> bool:
            own = await identity.get(CLUSTER, fleet.cluster)
            own["metadata"]["labels"][CLUSTER_SET_LABEL] = cluster_set
            if cluster_set is None:
                del own["metadata"]["labels"][CLUSTER_SET_LABEL]
            with pytest.raises(Forbidden, match="may not add clusters to, or remove them from"):
                await identity.update(CLUSTER, own)
            return True

        await fleet.until(is_in_default)
        await fleet.until(lambda: moves_to("finance"))  # again after a Conflict
        await fleet.until(lambda: moves_to(None))
        assert await is_in_default()
