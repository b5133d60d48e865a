"""All that a spoke's identity can do on its hub: what the hub says of it, and what it does when it is tried.

The table is OCM's, for the agents of one cluster. Everything the hub serves is tried, so that a right that
slips in anywhere, or a kind that comes, is found.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import LEASES, NAMESPACES
from addon_framework.api.work import ManifestWork
from addon_framework.kube import ApiError, Client, Forbidden
from addon_framework.spoke.registration.credentials import client_config
from tests.integration.spoke.conftest import Fleet

Right = tuple[str, str, str]  # verb, group, resource
ADDON, CLUSTER = "addon.open-cluster-management.io", "cluster.open-cluster-management.io"
WORK, REGISTER = "work.open-cluster-management.io", "register.open-cluster-management.io"


def rights(group: str, resource: str, verbs: str) -> set[Right]:
    return {(verb, group, resource) for verb in verbs.split()}


OWN_NAMESPACE = (
    rights("coordination.k8s.io", "leases", "get list watch update")
    | rights(ADDON, "managedclusteraddons", "get list watch")
    | rights(ADDON, "managedclusteraddons/status", "patch update")
    | rights("events.k8s.io", "events", "create patch update")
    | rights("", "events", "create patch update")
    | rights(WORK, "manifestworks", "get list watch update patch")
    | rights(WORK, "manifestworks/status", "patch update")
)
EVERYWHERE = rights("certificates.k8s.io", "certificatesigningrequests", "create get list watch") | rights(
    REGISTER, "managedclusters/clientcertificates", "renew"
)
OWN_CLUSTER = rights(CLUSTER, "managedclusters", "get list update watch") | rights(
    CLUSTER, "managedclusters/status", "patch update"
)
QUESTIONS = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}  # about oneself
VERBS = ("get", "list", "create", "update", "patch", "delete", "deletecollection")
NOBODY = "nobody-has-this-name"


@pytest.fixture
async def identity(fleet: Fleet) -> AsyncIterator[Client]:
    await fleet.join()
    async with Client(client_config(await fleet.identity())) as client:
        yield client


async def told(identity: Client, namespace: str) -> tuple[set[Right], set[tuple[Right, str]]]:
    """Rights in a namespace, and those on single objects with their names, as the hub tells them."""
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status = (await identity.request("POST", path, body=review))["status"]
    assert not status.get("incomplete")
    general: set[Right] = set()
    named: set[tuple[Right, str]] = set()
    for rule in status["resourceRules"]:
        for group in rule.get("apiGroups") or [""]:
            for resource in rule["resources"]:
                if resource in QUESTIONS:
                    continue
                found = {(verb, group, resource) for verb in rule["verbs"]}
                names = rule.get("resourceNames") or []
                general |= set() if names else found
                named |= {(right, name) for right in found for name in names}
    return general, named


async def served(hub: Client) -> list[tuple[str, str, str, bool, list[str]]]:
    """Everything the hub serves: path, group, resource, whether it is namespaced, and its verbs."""
    groups = (await hub.request("GET", "/apis"))["groups"]
    roots = [("", "/api/v1")]
    roots += [(g["name"], f"/apis/{v['groupVersion']}") for g in groups for v in g["versions"]]
    found = []
    for group, root in roots:
        for resource in (await hub.request("GET", root))["resources"]:
            found.append((root, group, resource["name"], resource["namespaced"], resource["verbs"]))
    return found


async def allowed(identity: Client, verb: str, collection: str, resource: str, name: str) -> bool:
    """Tries it, as a dry run; anything but Forbidden came past the authorization."""
    plural, _, subresource = resource.partition("/")
    path = f"{collection}/{plural}"
    if verb not in ("list", "create", "deletecollection") or subresource:
        path += f"/{name}" + (f"/{subresource}" if subresource else "")
    method = {"list": "GET", "get": "GET", "create": "POST", "update": "PUT", "patch": "PATCH"}.get(
        verb, "DELETE"
    )
    params = {} if method == "GET" else {"dryRun": "All"}
    if verb == "deletecollection":
        params["labelSelector"] = "nobody=has-this-label"
    headers = {"Content-Type": "application/merge-patch+json"} if verb == "patch" else None
    body = {} if method in ("POST", "PUT", "PATCH") else None
    try:
        await identity.request(method, path, body=body, params=params, headers=headers)
    except Forbidden:
        return False
    except ApiError as error:
        return error.status != 0
    return True


async def tried(fleet: Fleet, identity: Client, namespace: str) -> tuple[set[Right], set[Right]]:
    """What of all that is served can be done, in the namespace and outside of any."""
    inside: set[Right] = set()
    outside: set[Right] = set()

    async def attempt(verb: str, root: str, group: str, resource: str, scope: str) -> None:
        collection = f"{root}/namespaces/{namespace}" if scope else root
        if await allowed(identity, verb, collection, resource, NOBODY):
            (inside if scope else outside).add((verb, group, resource))

    attempts = []
    for root, group, resource, namespaced, verbs in await served(fleet.hub):
        if resource in QUESTIONS:
            continue
        for verb in set(VERBS) & set(verbs):
            if namespaced:
                attempts.append(attempt(verb, root, group, resource, namespace))
                if verb == "list":  # across all namespaces
                    attempts.append(attempt(verb, root, group, resource, ""))
            else:
                attempts.append(attempt(verb, root, group, resource, ""))
    assert len(attempts) > 300
    await asyncio.gather(*attempts)
    return inside, outside


async def test_the_hub_says_what_the_table_says(fleet: Fleet, identity: Client) -> None:
    own = {(right, fleet.cluster) for right in OWN_CLUSTER}
    assert await told(identity, fleet.cluster) == (OWN_NAMESPACE | EVERYWHERE, own)
    for elsewhere in ("default", "kube-system", "open-cluster-management", "open-cluster-management-hub"):
        assert await told(identity, elsewhere) == (EVERYWHERE, own)


async def test_what_is_tried_goes_as_the_table_says(fleet: Fleet, identity: Client) -> None:
    inside, outside = await tried(fleet, identity, fleet.cluster)
    assert inside == {right for right in OWN_NAMESPACE if right[0] in VERBS}
    cluster_wide = {right for right in EVERYWHERE if right[0] in VERBS}
    assert outside == cluster_wide


async def test_another_clusters_namespace_is_closed(fleet: Fleet, identity: Client) -> None:
    other = f"other-{fleet.mark}"
    await fleet.hub.create(
        ManagedCluster.RESOURCE,
        {
            "apiVersion": ManagedCluster.RESOURCE.api_version,
            "kind": "ManagedCluster",
            "metadata": {"name": other},
            "spec": {"hubAcceptsClient": True},
        },
    )
    try:
        await fleet.until_condition(ManagedCluster.RESOURCE, other, "HubAcceptedManagedCluster")
        await fleet.until(lambda: fleet.hub.get(LEASES, "managed-cluster-lease", other))
        inside, _ = await tried(fleet, identity, other)
        assert inside == set()
        assert await told(identity, other) == await told(identity, "default")
        with pytest.raises(Forbidden):
            await identity.get(ManagedCluster.RESOURCE, other)
    finally:
        await fleet.hub.delete(ManagedCluster.RESOURCE, other)
        await fleet.until_gone(fleet.hub, ManagedCluster.RESOURCE, other)


async def test_its_own_cluster_it_reads_and_updates_but_cannot_remove(fleet: Fleet, identity: Client) -> None:
    root = "/apis/cluster.open-cluster-management.io/v1"
    found = {
        (verb, CLUSTER, resource)
        for resource in ("managedclusters", "managedclusters/status")
        for verb in ("get", "update", "patch", "delete")
        if await allowed(identity, verb, root, resource, fleet.cluster)
    }
    assert found == OWN_CLUSTER - {
        ("list", CLUSTER, "managedclusters"),
        ("watch", CLUSTER, "managedclusters"),
    }
    only_it = await identity.list(ManagedCluster.RESOURCE, field_selector=f"metadata.name={fleet.cluster}")
    assert [c["metadata"]["name"] for c in only_it["items"]] == [fleet.cluster]


async def test_nobody_gets_more_by_what_the_cluster_holds(fleet: Fleet, identity: Client) -> None:
    """Works and add-ons in the namespace add no right; those of add-ons go to groups of their own."""
    await fleet.work(
        "more", [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"m-{fleet.mark}"}}]
    )
    addon = {
        "apiVersion": ManagedClusterAddOn.RESOURCE.api_version,
        "kind": "ManagedClusterAddOn",
        "metadata": {"name": f"a-{fleet.mark}", "namespace": fleet.cluster},
        "spec": {},
    }
    await fleet.hub.create(ManagedClusterAddOn.RESOURCE, addon)
    assert (await told(identity, fleet.cluster))[0] == OWN_NAMESPACE | EVERYWHERE
    assert await identity.list(ManifestWork.RESOURCE, fleet.cluster)
    with pytest.raises(Forbidden):
        await identity.get(NAMESPACES, fleet.cluster)
