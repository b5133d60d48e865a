"""A cluster joins, is accepted, keeps its identity, reports itself; its add-ons get theirs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from addon_framework.api.cluster import ClusterClaim, ManagedCluster
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CONFIGMAPS, CSRS, LEASES, SECRETS
from addon_framework.api.names import CLUSTER_NAME_LABEL
from addon_framework.api.time import parse_time
from addon_framework.api.work import ManifestWork
from addon_framework.kube import Client, Forbidden, load_kubeconfig
from addon_framework.spoke.names import AGENT_NAMESPACE, HUB_SECRET
from addon_framework.spoke.registration.credentials import client_config
from addon_framework.spoke.registration.secrets import key_pair, write
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.objects import config_map

CLUSTER = ManagedCluster.RESOURCE


async def requests(fleet: Fleet) -> list[str]:
    listed = await fleet.hub.list(CSRS, label_selector=f"{CLUSTER_NAME_LABEL}={fleet.cluster}")
    return [csr["metadata"]["name"] for csr in listed["items"]]


async def test_a_cluster_joins_and_reports_itself(fleet: Fleet) -> None:
    claim = f"claim-{fleet.mark}"
    fleet.start_agent()
    asked = await fleet.until(lambda: fleet.hub.get(CLUSTER, fleet.cluster))
    assert asked["spec"]["hubAcceptsClient"] is False
    assert asked["spec"]["managedClusterClientConfigs"][0]["url"] == fleet.spoke.server
    await fleet.spoke.create(
        ClusterClaim.RESOURCE,
        {
            "apiVersion": ClusterClaim.RESOURCE.api_version,
            "kind": "ClusterClaim",
            "metadata": {"name": claim},
            "spec": {"value": "v"},
        },
    )
    await fleet.accept()

    await fleet.until_condition(CLUSTER, fleet.cluster, "ManagedClusterJoined")
    cluster = await fleet.until_condition(CLUSTER, fleet.cluster, "ManagedClusterConditionAvailable")
    assert cluster["status"]["version"]["kubernetes"].startswith("v1.")
    assert {"name": claim, "value": "v"} in cluster["status"]["clusterClaims"]
    data = await fleet.identity()
    assert set(data) == {"kubeconfig", "tls.crt", "tls.key", "cluster-name", "agent-name"}
    assert data["cluster-name"].decode() == fleet.cluster
    assert len(await requests(fleet)) == 1
    await fleet.until_gone(fleet.spoke, SECRETS, f"{HUB_SECRET}-pending", AGENT_NAMESPACE)

    await fleet.spoke.delete(ClusterClaim.RESOURCE, claim)

    async def forgotten() -> bool:
        status = (await fleet.hub.get(CLUSTER, fleet.cluster))["status"]
        return {"name": claim, "value": "v"} not in (status.get("clusterClaims") or [])

    await fleet.until(forgotten)


async def test_the_identity_may_do_its_work_and_nothing_else(fleet: Fleet) -> None:
    await fleet.join()
    name = await fleet.work("rights", [config_map(f"r-{fleet.mark}", "default", a="b")])
    await fleet.applied(name)
    async with Client(client_config(await fleet.identity())) as identity:
        assert (await identity.list(ManifestWork.RESOURCE, fleet.cluster))["items"]
        for forbidden in (
            identity.list(ManifestWork.RESOURCE),
            identity.list(CLUSTER),
            identity.list(SECRETS, fleet.cluster),
            identity.list(CONFIGMAPS, fleet.cluster),
            identity.delete(ManifestWork.RESOURCE, name, fleet.cluster),
            identity.create(ManifestWork.RESOURCE, {"metadata": {"name": "x"}}, fleet.cluster),
            identity.patch(CLUSTER, fleet.cluster, {"spec": {"hubAcceptsClient": True}}),
        ):
            with pytest.raises(Forbidden):
                await forbidden


async def test_the_lease_is_renewed_as_often_as_the_cluster_says(fleet: Fleet) -> None:
    await fleet.join()
    await fleet.hub.patch(CLUSTER, fleet.cluster, {"spec": {"leaseDurationSeconds": 1}})
    seen = set()

    async def renewed() -> bool:
        lease = await fleet.hub.get(LEASES, "managed-cluster-lease", fleet.cluster)
        seen.add(lease["spec"]["renewTime"])
        return len(seen) > 3

    await fleet.until(renewed)
    await fleet.kill()
    await fleet.until_condition(CLUSTER, fleet.cluster, "ManagedClusterConditionAvailable", "Unknown")
    fleet.start_agent()
    await fleet.until_condition(CLUSTER, fleet.cluster, "ManagedClusterConditionAvailable")


async def test_a_kill_while_the_hub_decides_loses_nothing(fleet: Fleet) -> None:
    fleet.start_agent()
    await fleet.until(lambda: fleet.hub.get(CLUSTER, fleet.cluster))
    await fleet.kill()
    await fleet.accept()
    before = await requests(fleet)
    fleet.start_agent()  # nobody approves again: it must find the answer to its first request
    await fleet.until_condition(CLUSTER, fleet.cluster, "ManagedClusterConditionAvailable")
    assert await requests(fleet) == before


async def test_a_kill_anywhere_on_the_way_converges(fleet: Fleet) -> None:
    for _ in range(8):
        fleet.start_agent()
        listed = len(await requests(fleet))  # a few requests' worth of time
        await fleet.kill()
        assert listed <= 1
    await fleet.join()
    assert len(await requests(fleet)) == 1


async def test_the_certificate_is_renewed_in_use(fleet: Fleet) -> None:
    await fleet.join()
    first = key_pair(await fleet.identity())
    assert first is not None
    leaf = first.leaf()
    fleet.shift = (leaf.not_valid_after_utc - leaf.not_valid_before_utc) * 0.9
    # The agent sleeps for an hour at most; an event of the secret has it look at its clock now.
    await fleet.spoke.patch(SECRETS, HUB_SECRET, {"metadata": {"labels": {"poke": "1"}}}, AGENT_NAMESPACE)

    async def renewed() -> bool:
        pair = key_pair(await fleet.identity())
        return pair is not None and pair != first

    await fleet.until(renewed)
    second = await fleet.identity()
    assert second["kubeconfig"]
    assert second["agent-name"]
    fleet.shift = timedelta()
    name = await fleet.work("renewed", [config_map(f"renewed-{fleet.mark}", "default", a="b")])
    await fleet.applied(name)
    assert len(await requests(fleet)) == 2


async def test_an_expired_identity_is_obtained_anew(fleet: Fleet) -> None:
    await fleet.join()
    await fleet.kill()
    before = await fleet.identity()
    fleet.shift = timedelta(days=400)
    fleet.start_agent()
    await fleet.until(lambda: _more_than(fleet, 1))
    fleet.shift = timedelta()
    await fleet.accept()

    async def replaced() -> bool:
        return (await fleet.identity())["tls.crt"] != before["tls.crt"]

    await fleet.until(replaced)
    assert (await fleet.identity())["agent-name"] == before["agent-name"]


async def _more_than(fleet: Fleet, count: int) -> bool:
    return len(await requests(fleet)) > count


async def test_an_identity_of_another_hub_is_not_used(fleet: Fleet) -> None:
    await fleet.join()
    await fleet.kill()
    data = await fleet.identity()
    other = data["kubeconfig"].replace(fleet.hub.server.encode(), b"https://127.0.0.1:1")
    await write(fleet.spoke, HUB_SECRET, AGENT_NAMESPACE, {**data, "kubeconfig": other}, {})
    fleet.start_agent()
    await fleet.until(lambda: _more_than(fleet, 1))
    await fleet.accept()

    async def right() -> bool:
        stored = client_config(await fleet.identity())
        return stored.server == load_kubeconfig(fleet.bootstrap).server

    await fleet.until(right)


async def test_a_denied_request_is_said_and_not_repeated_at_once(fleet: Fleet) -> None:
    fleet.start_agent()
    await fleet.until(lambda: fleet.hub.get(CLUSTER, fleet.cluster))
    (name,) = await requests(fleet)
    csr = await fleet.hub.get(CSRS, name)
    csr["status"] = {"conditions": [{"type": "Denied", "status": "True", "reason": "No", "message": "no"}]}
    await fleet.hub.update(CSRS, csr, subresource="approval")
    await fleet.until_gone(fleet.spoke, SECRETS, f"{HUB_SECRET}-pending", AGENT_NAMESPACE)
    assert await requests(fleet) == [name]
    assert get_condition(await fleet.hub.get(CLUSTER, fleet.cluster), "ManagedClusterJoined") is None


async def test_registration_and_work_may_be_two_processes(fleet: Fleet) -> None:
    fleet.start_agent(["work"], "work")
    fleet.start_agent(["registration"])
    await fleet.accept()
    await fleet.until_condition(CLUSTER, fleet.cluster, "ManagedClusterConditionAvailable")
    name = await fleet.work("two", [config_map(f"two-{fleet.mark}", "default", a="b")])
    await fleet.applied(name)
    await fleet.hub.delete(ManifestWork.RESOURCE, name, fleet.cluster)
    await fleet.until_gone(fleet.hub, ManifestWork.RESOURCE, name, fleet.cluster)


async def test_lease_times_are_the_agents(fleet: Fleet) -> None:
    await fleet.join()
    lease = await fleet.hub.get(LEASES, "managed-cluster-lease", fleet.cluster)
    assert abs((parse_time(lease["spec"]["renewTime"]) - fleet.now()).total_seconds()) < 30
