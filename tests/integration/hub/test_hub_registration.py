"""Registration against an API server: double opt-in, what a cluster may do, rotation, leases."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster, ManagedClusterSet, ManagedClusterSetBinding
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import (
    CLUSTERROLES,
    CONFIGMAPS,
    CSRS,
    LEASES,
    NAMESPACES,
    ROLEBINDINGS,
    SECRETS,
)
from addon_framework.api.time import micro_time
from addon_framework.api.work import ManifestWork
from addon_framework.hub.install import CannotAccept, accept, bootstrap_kubeconfig, install
from addon_framework.kube import Client, Forbidden, NotFound
from addon_framework.testing import eventually
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import binding, cluster_object
from tests.unit.hub.certificates import csr_to_create

LABEL = "open-cluster-management.io/cluster-name"
GROUP_OF_ALL = "system:open-cluster-management:managed-clusters"


async def ask(client: Client, cluster: str, agent: str, key: ec.EllipticCurvePrivateKey) -> str:
    """Ask for the cluster's client certificate, as its agent does."""
    group = f"system:open-cluster-management:{cluster}"
    request = csr_to_create(key, f"{cluster}-", {LABEL: cluster}, f"{group}:{agent}", [group, GROUP_OF_ALL])
    made = await client.create(CSRS, request)
    return str(made["metadata"]["name"])


async def certificate(hub: Hub, name: str) -> bytes:
    async def issued() -> str:
        found = await hub.client.get(CSRS, name)
        return str((found.get("status") or {}).get("certificate") or "")

    return base64.b64decode(await hub.until(issued))


def as_agent(hub: Hub, cert: bytes, key: ec.EllipticCurvePrivateKey) -> Client:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert hub.client.config.ca is not None
    encode = {
        k: base64.b64encode(v).decode() for k, v in (("c", cert), ("k", pem), ("a", hub.client.config.ca))
    }
    return Client.from_kubeconfig_dict(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [
                {
                    "name": "x",
                    "cluster": {"server": hub.client.server, "certificate-authority-data": encode["a"]},
                }
            ],
            "users": [
                {
                    "name": "x",
                    "user": {"client-certificate-data": encode["c"], "client-key-data": encode["k"]},
                }
            ],
        }
    )


async def test_install_twice_changes_nothing(hub: Hub, client: Client) -> None:
    name = "system:open-cluster-management:bootstrap"
    before = await client.get(CLUSTERROLES, name)
    await install(client)
    assert (await client.get(CLUSTERROLES, name))["metadata"]["resourceVersion"] == (
        before["metadata"]["resourceVersion"]
    )


async def test_from_bootstrap_to_rotation(hub: Hub, client: Client) -> None:
    name, key = f"c{uuid.uuid4().hex[:8]}", ec.generate_private_key(ec.SECP256R1())
    hub._clusters.append(name)
    async with Client.from_kubeconfig_dict(await bootstrap_kubeconfig(client)) as bootstrap:
        with pytest.raises(Forbidden):
            await bootstrap.list(SECRETS)
        await bootstrap.create(ManagedCluster.RESOURCE, cluster_object(name))
        first = await ask(bootstrap, name, "agent1", key)
    with pytest.raises(CannotAccept, match="cluster nobody has not asked to join"):
        await accept(client, ["nobody"])
    with pytest.raises(NotFound):
        await client.get(NAMESPACES, name)
    waiting = f"{name}-waits"
    hub._clusters.append(waiting)
    await client.create(ManagedCluster.RESOURCE, cluster_object(waiting))
    with pytest.raises(CannotAccept, match="has not asked for a certificate yet, so nothing was changed"):
        await accept(client, [waiting])
    left = await client.get(ManagedCluster.RESOURCE, waiting)
    assert not (left.get("spec") or {}).get("hubAcceptsClient")

    assert await accept(client, [name]) == [name]
    assert await accept(client, [name]) == []
    cert = await certificate(hub, first)
    await hub.until(lambda: client.get(LEASES, "managed-cluster-lease", name))

    async with as_agent(hub, cert, key) as agent:
        own = await agent.get(ManagedCluster.RESOURCE, name)
        assert get_condition(own, "HubAcceptedManagedCluster")["reason"] == "HubClusterAdminAccepted"  # type: ignore[index]
        await agent.list(ManifestWork.RESOURCE, name)
        await agent.list(ManagedClusterAddOn.RESOURCE, name)
        for refused in (
            agent.list(SECRETS, name),
            agent.list(ManifestWork.RESOURCE),
            agent.list(ManagedCluster.RESOURCE),
            agent.list(ManifestWork.RESOURCE, "default"),
            agent.delete(ManifestWork.RESOURCE, "x", name),
        ):
            with pytest.raises(Forbidden):
                await refused
        renewal = await ask(agent, name, "agent1", key)
        assert await certificate(hub, renewal)  # nobody but the hub approved it
        imposter = await ask(agent, name, "agent2", key)
    await ask_nothing(hub)
    found = await client.get(CSRS, imposter)
    assert not (found.get("status") or {}).get("conditions")


async def ask_nothing(hub: Hub) -> None:
    """Let the manager handle everything before: a cluster made now is settled after."""
    await hub.cluster()


async def test_accepted_cluster_gets_its_set_and_its_namespace_roles(hub: Hub, client: Client) -> None:
    name = await hub.cluster()
    cluster = await client.get(ManagedCluster.RESOURCE, name)
    assert cluster["metadata"]["labels"]["cluster.open-cluster-management.io/clusterset"] == "default"
    for kind in ("registration", "work"):
        await client.get(ROLEBINDINGS, f"open-cluster-management:managedcluster:{name}:{kind}", name)
    namespace = await client.get(NAMESPACES, name)
    assert namespace["metadata"]["labels"][LABEL] == name


async def test_what_somebody_deletes_comes_back(hub: Hub, client: Client) -> None:
    name = await hub.cluster()
    binding_name = f"open-cluster-management:managedcluster:{name}:registration"
    made = await hub.until(lambda: client.get(ROLEBINDINGS, binding_name, name))
    await client.delete(ROLEBINDINGS, binding_name, name)
    again = await hub.until(lambda: client.get(ROLEBINDINGS, binding_name, name))
    assert again["metadata"]["uid"] != made["metadata"]["uid"]


async def test_denial_takes_rights_away_and_acceptance_gives_them_back(hub: Hub, client: Client) -> None:
    name = await hub.cluster()
    work = f"open-cluster-management:managedcluster:{name}:work"
    await client.patch(ManagedCluster.RESOURCE, name, {"spec": {"hubAcceptsClient": False}})

    async def denied() -> bool:
        cluster = await client.get(ManagedCluster.RESOURCE, name)
        condition = get_condition(cluster, "HubAcceptedManagedCluster")
        return condition is not None and condition["reason"] == "HubClusterAdminDenied"

    await hub.until(denied)
    with pytest.raises(NotFound):
        await client.get(ROLEBINDINGS, work, name)
    await client.patch(ManagedCluster.RESOURCE, name, {"spec": {"hubAcceptsClient": True}})
    await hub.until(lambda: client.get(ROLEBINDINGS, work, name))


async def test_a_namespace_that_is_going_is_waited_for(hub: Hub, client: Client) -> None:
    name = await hub.cluster(accepted=False)
    kept = {"name": "held", "finalizers": ["test/held"]}
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await client.create(CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": kept}, name)
    await client.delete(NAMESPACES, name)
    await client.patch(ManagedCluster.RESOURCE, name, {"spec": {"hubAcceptsClient": True}})

    async def said(reason: str) -> bool:
        cluster = await client.get(ManagedCluster.RESOURCE, name)
        condition = get_condition(cluster, "HubAcceptedManagedCluster")
        return condition is not None and condition["reason"] == reason

    await hub.until(lambda: said("NamespaceTerminating"))
    await client.patch(CONFIGMAPS, "held", {"metadata": {"finalizers": None}}, name)
    await hub.until(lambda: said("HubClusterAdminAccepted"))
    work = f"open-cluster-management:managedcluster:{name}:work"
    assert await client.get(ROLEBINDINGS, work, name)


async def test_a_lease_that_is_not_renewed_makes_cluster_and_addons_unknown(hub: Hub, client: Client) -> None:
    name = await hub.cluster()
    addon = {
        "apiVersion": ManagedClusterAddOn.RESOURCE.api_version,
        "kind": "ManagedClusterAddOn",
        "metadata": {"name": "some", "namespace": name},
        "spec": {},
    }
    await client.create(ManagedClusterAddOn.RESOURCE, addon)
    await hub.until(lambda: client.get(LEASES, "managed-cluster-lease", name))
    await client.patch(ManagedCluster.RESOURCE, name, {"spec": {"leaseDurationSeconds": 1}})

    async def unknown() -> bool:
        cluster = await client.get(ManagedCluster.RESOURCE, name)
        some = await client.get(ManagedClusterAddOn.RESOURCE, "some", name)
        conditions = (
            get_condition(cluster, "ManagedClusterConditionAvailable"),
            get_condition(some, "Available"),
        )
        taints = {t["key"].rpartition("/")[2] for t in cluster["spec"].get("taints") or []}
        label = cluster["metadata"]["labels"].get("feature.open-cluster-management.io/addon-some")
        return (
            all(c is not None and c["reason"] == "ManagedClusterLeaseUpdateStopped" for c in conditions)
            and taints == {"unreachable"}
            and label == "unreachable"
        )

    await hub.until(unknown)


async def test_a_cluster_with_another_clock_is_alive_as_long_as_it_renews(hub: Hub, client: Client) -> None:
    name = await hub.cluster()
    await hub.until(lambda: client.get(LEASES, "managed-cluster-lease", name))
    shift = timedelta(minutes=-30)

    async def renews() -> bool:
        """With a clock that is behind; the hub has seen that."""
        renewed = {"spec": {"renewTime": micro_time(datetime.now(UTC) + shift)}}
        await client.patch(LEASES, "managed-cluster-lease", renewed, name)
        clock = get_condition(
            await client.get(ManagedCluster.RESOURCE, name), "ManagedClusterConditionClockSynced"
        )
        assert clock is not None
        assert "past" in clock["message"]
        return bool(clock["status"] == "False")

    await hub.until(renews)  # while there is time
    await client.patch(ManagedCluster.RESOURCE, name, {"spec": {"leaseDurationSeconds": 1}})
    began = last = time.monotonic()

    async def past_its_grace() -> bool:
        """Renews for longer than a lease lives."""
        nonlocal began, last
        await renews()
        before, last = last, time.monotonic()
        if last - before > 4:  # too late on a busy machine, so that it was Unknown for a reason
            await hub.available(name)
            began = last
        cluster = await client.get(ManagedCluster.RESOURCE, name)
        available = get_condition(cluster, "ManagedClusterConditionAvailable")
        assert available is not None
        assert available["status"] == "True"
        return last - began > 6

    await eventually(past_its_grace, interval=0.5)

    async def unknown() -> bool:
        cluster = await client.get(ManagedCluster.RESOURCE, name)
        found = get_condition(cluster, "ManagedClusterConditionAvailable")
        return found is not None and found["status"] == "Unknown"

    await hub.until(unknown)  # it renews no more


async def test_the_two_sets_are_there_and_reverted(hub: Hub, client: Client) -> None:
    await hub.until(lambda: client.get(ManagedClusterSet.RESOURCE, "default"))
    selector = {
        "clusterSelector": {"selectorType": "LabelSelector", "labelSelector": {"matchLabels": {"a": "b"}}}
    }
    await hub.until(lambda: client.get(ManagedClusterSet.RESOURCE, "global"))
    await client.patch(ManagedClusterSet.RESOURCE, "global", {"spec": selector})

    async def reverted() -> bool:
        found = await client.get(ManagedClusterSet.RESOURCE, "global")
        return not any((found["spec"]["clusterSelector"].get("labelSelector") or {}).values())

    await hub.until(reverted)


async def test_bindings_say_whether_the_set_exists(hub: Hub, client: Client, namespace: str) -> None:
    await client.create(ManagedClusterSetBinding.RESOURCE, binding(namespace, "later"))

    async def reason() -> str:
        found = await client.get(ManagedClusterSetBinding.RESOURCE, "later", namespace)
        return str((get_condition(found, "Bound") or {}).get("reason"))

    async def missing() -> bool:
        return await reason() == "ClusterSetNotFound"

    async def bound() -> bool:
        return await reason() == "ClusterSetBound"

    await hub.until(missing)
    resource = ManagedClusterSet.RESOURCE
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "later"}}
    await hub.create(resource, obj)
    await hub.until(bound)


async def test_a_manager_killed_at_any_moment_converges(quiet_hub: Hub, client: Client) -> None:
    hub = quiet_hub
    name = await hub.cluster(available=False)
    for delay in (0.0, 0.01, 0.03, 0.06, 0.1):
        await hub.start()
        await asyncio.sleep(delay)  # the moment of the kill, not a wait for a result
        await hub.stop()
    await hub.start()
    await hub.until(lambda: client.get(LEASES, "managed-cluster-lease", name))
    bound = f"open-cluster-management:managedcluster:{name}:work"
    await hub.until(lambda: client.get(ROLEBINDINGS, bound, name))
