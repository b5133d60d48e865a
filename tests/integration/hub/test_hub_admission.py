"""Rights that only stand for something: to accept a cluster, to move it between sets, to bind a set, to have
works applied as an account."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from addon_framework.api.cluster import ManagedCluster, ManagedClusterSetBinding
from addon_framework.api.core import CLUSTERROLEBINDINGS, CLUSTERROLES
from addon_framework.api.names import CLUSTER_SET_LABEL
from addon_framework.api.work import ManifestWork
from addon_framework.hub.install import bootstrap_kubeconfig, install
from addon_framework.kube import ApiError, Client, Forbidden
from addon_framework.kube.config import load_kubeconfig
from addon_framework.testing import eventually
from tests.integration.hub.conftest import led_by_nobody
from tests.integration.hub.objects import Json, binding

CLUSTER = ManagedCluster.RESOURCE
WORK = ManifestWork.RESOURCE
RBAC = "rbac.authorization.k8s.io"
EDITOR = [
    {
        "apiGroups": ["cluster.open-cluster-management.io"],
        "resources": ["managedclusters", "managedclustersetbindings"],
        "verbs": ["get", "create", "update", "patch", "delete"],
    },
    {
        "apiGroups": [WORK.group],
        "resources": ["manifestworks"],
        "verbs": ["get", "create", "update", "patch", "delete"],
    },
]


def standing_for(group: str, resource: str, verb: str, name: str) -> Json:
    return {"apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": [name]}


class Somebody:
    """A user with some rights, and the clusters that are removed again."""

    def __init__(self, admin: Client, name: str, client: Client) -> None:
        self.admin, self.name, self.client = admin, name, client

    async def may(self, *rules: Json) -> None:
        """Exactly this, and what every editor may."""
        role = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": self.name},
            "rules": [*EDITOR, *rules],
        }
        bound = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": self.name},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": self.name},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": self.name}],
        }
        for obj in (role, bound):
            await self.admin.apply(obj, field_manager="test")


@pytest.fixture
async def somebody(client: Client, crds_installed: None) -> AsyncIterator[Somebody]:
    await led_by_nobody(client)  # their webhooks have a say, too
    await install(client)
    name = f"u{uuid.uuid4().hex[:8]}"
    config = client.config
    acting = Client(type(config)(**{**vars(config), "impersonate": name}))
    async with acting:
        who = Somebody(client, name, acting)
        await who.may()
        # A real server puts policies in force, and believes new roles, a moment later.
        await eventually(lambda: refused(acting, cluster(name, accepted=True), "accept"), swallow=ApiError)
        yield who
        for resource in (CLUSTERROLEBINDINGS, CLUSTERROLES):
            await client.delete(resource, name)


def cluster(name: str, *, accepted: bool = False, in_set: str = "") -> Json:
    labels = {CLUSTER_SET_LABEL: in_set} if in_set else {}
    return {
        "apiVersion": CLUSTER.api_version,
        "kind": CLUSTER.kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {"hubAcceptsClient": accepted},
    }


async def refused(client: Client, obj: Json, why: str) -> bool:
    """Whether creating it is refused, with these words."""
    try:
        await client.create(CLUSTER, obj, dry_run=True)
    except Forbidden as error:
        return why in error.message
    return False


async def until_done(attempt: object) -> None:
    await eventually(attempt, swallow=Forbidden)  # type: ignore[arg-type]


async def test_to_accept_a_cluster_takes_the_right_to(somebody: Somebody) -> None:
    name, client = f"c{uuid.uuid4().hex[:8]}", somebody.client
    await client.create(CLUSTER, cluster(name))
    try:
        with pytest.raises(Forbidden, match=f"{somebody.name} may not accept the cluster"):
            await client.patch(CLUSTER, name, {"spec": {"hubAcceptsClient": True}})
        await client.patch(CLUSTER, name, {"metadata": {"labels": {"any": "thing"}}})
        accept = standing_for("register.open-cluster-management.io", "managedclusters/accept", "update", name)
        await somebody.may(accept)
        await until_done(lambda: client.patch(CLUSTER, name, {"spec": {"hubAcceptsClient": True}}))
        assert await refused(client, cluster(f"{name}-x", accepted=True), "may not accept")
        await somebody.may()
        # What is accepted stays so under other hands; and to deny takes no right.
        await client.patch(CLUSTER, name, {"metadata": {"labels": {"any": "other"}}})
        await client.patch(CLUSTER, name, {"spec": {"hubAcceptsClient": False}})
    finally:
        await somebody.admin.delete(CLUSTER, name)


async def test_to_move_a_cluster_takes_the_rights_to_both_sets(somebody: Somebody) -> None:
    name, client = f"c{uuid.uuid4().hex[:8]}", somebody.client

    def join(which: str) -> Json:
        group = "cluster.open-cluster-management.io"
        return standing_for(group, "managedclustersets/join", "create", which)

    def move(to: str | None) -> object:
        return client.patch(CLUSTER, name, {"metadata": {"labels": {CLUSTER_SET_LABEL: to}}})

    assert await refused(client, cluster(name, in_set="one"), "ManagedClusterSet one")
    await somebody.may(join("one"))
    await until_done(lambda: client.create(CLUSTER, cluster(name, in_set="one")))
    try:
        with pytest.raises(Forbidden, match="ManagedClusterSet two"):
            await move("two")  # type: ignore[misc]
        await somebody.may(join("two"))

        async def one_is_closed() -> bool:
            with pytest.raises(Forbidden, match="ManagedClusterSet one"):
                await move(None)  # type: ignore[misc]
            return True

        await eventually(one_is_closed, swallow=ApiError)
        await somebody.may(join("one"), join("two"))
        await until_done(lambda: move("two"))
    finally:
        await somebody.admin.delete(CLUSTER, name)


async def test_to_bind_a_set_takes_the_right_to(somebody: Somebody, namespace: str) -> None:
    client, resource = somebody.client, ManagedClusterSetBinding.RESOURCE
    group = "cluster.open-cluster-management.io"
    with pytest.raises(Forbidden, match="may not bind ManagedClusterSet one"):
        await client.create(resource, binding(namespace, "one"))
    await somebody.may(standing_for(group, "managedclustersets/bind", "create", "one"))
    await until_done(lambda: client.create(resource, binding(namespace, "one")))
    other = binding(namespace, "one")
    other["metadata"]["name"] = "two"
    with pytest.raises(Forbidden, match="must be that of the set, one"):
        await client.create(resource, other)


async def test_to_have_a_work_applied_as_an_account_takes_the_right_to(
    somebody: Somebody, namespace: str
) -> None:
    client = somebody.client

    def work(account: str = "") -> Json:
        subject = {"type": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": account}}
        says = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}}
        spec: Json = {"workload": {"manifests": [says]}}
        if account:
            spec["executor"] = {"subject": subject}
        return {
            "apiVersion": WORK.api_version,
            "kind": WORK.kind,
            "metadata": {"name": "w", "namespace": namespace},
            "spec": spec,
        }

    async def is_refused(account: str) -> bool:
        text = f"{somebody.name} may not have works applied as system:serviceaccount:default:{account}"
        with pytest.raises(Forbidden, match=text):
            await client.create(WORK, work(account), dry_run=True)
        return True

    await eventually(lambda: is_refused("root"), swallow=ApiError)
    right = standing_for(WORK.group, "manifestworks", "execute-as", "system:serviceaccount:default:deployer")
    await somebody.may(right)
    await until_done(lambda: client.create(WORK, work("deployer")))
    executor = work("root")["spec"]["executor"]
    with pytest.raises(Forbidden, match="may not have works applied as system:serviceaccount:default:root"):
        await client.patch(WORK, "w", {"spec": {"executor": executor}}, namespace)
    await somebody.may()  # what is not another executor, an agent's finalizers say, takes no such right
    await client.patch(WORK, "w", {"metadata": {"labels": {"some": "label"}}}, namespace)
    await client.patch(WORK, "w", {"spec": {"executor": None}}, namespace)


async def test_who_asks_to_join_cannot_accept_itself(client: Client, somebody: Somebody) -> None:
    name = f"c{uuid.uuid4().hex[:8]}"
    config = load_kubeconfig(await bootstrap_kubeconfig(client))
    async with Client(config) as bootstrap:
        assert await refused(bootstrap, cluster(name, accepted=True), "may not accept the cluster")
        await bootstrap.create(CLUSTER, cluster(name), dry_run=True)
