"""Changes of a bound Dataset against an API server alone: what waits, for whom, and what is refused.

No kubelet is there, so the test makes the pods of a FUSE client and says that they are ready.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import DAEMONSETS, NODES, PODS, SECRETS
from addon_framework.api.data import Dataset, ThinRuntime
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import ApiError, Client, wait_for
from addon_framework.testing import eventually
from tests.integration.cache_runtime.conftest import agent_alone

DATASETS, THIN = Dataset.RESOURCE, ThinRuntime.RESOURCE
MOUNT: Json = {"mountPoint": "s3://models/llama", "path": "/", "options": {"endpoint": "http://127.0.0.1:1"}}
KEYS: Json = {"valueFrom": {"secretKeyRef": {"name": "keys", "key": "id"}}}
SECRET_MOUNT: Json = {
    **MOUNT,
    "encryptOptions": [{"name": "aws.accessKeyId", **KEYS}, {"name": "aws.secretKey", **KEYS}],
}


@pytest.fixture
async def agent(client: Client, crds_installed: None) -> AsyncIterator[None]:
    """With its own rights, and its webhooks."""
    async with agent_alone(client):
        yield


def obj(resource: Resource, namespace: str, name: str, spec: Json) -> Json:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


class Cluster:
    """A Dataset `data` with a client on a node, as a DaemonSet controller and a kubelet make it."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client, self.namespace, self.node = client, namespace, f"{namespace}-node"

    async def bound(self, mount: Json, **runtime: Json) -> None:
        await self.client.create(NODES, {"metadata": {"name": self.node}})
        secret = {"metadata": {"name": "keys", "namespace": self.namespace}, "stringData": {"id": "one"}}
        await self.client.create(SECRETS, secret)
        await self.client.create(DATASETS, obj(DATASETS, self.namespace, "data", {"mounts": [mount]}))
        spec = {"profileName": "s3fs", **runtime}
        await self.client.create(THIN, obj(THIN, self.namespace, "data", spec))
        await self.start_client("client-1")
        said = {
            "desiredNumberScheduled": 1,
            "currentNumberScheduled": 1,
            "numberReady": 1,
            "numberMisscheduled": 0,
        }
        await self.client.patch(
            DAEMONSETS, "data-fuse", {"status": said}, self.namespace, subresource="status"
        )
        await self.dataset(lambda d: (d.get("status") or {}).get("phase") == "Bound")

    async def start_client(self, name: str) -> None:
        made = await wait_for(
            self.client, DAEMONSETS, "data-fuse", self.namespace, until=lambda d: d is not None, timeout=90
        )
        assert made is not None
        template = made["spec"]["template"]["metadata"]
        await self.pod(name, labels=template["labels"], annotations=template["annotations"])

    async def pod(self, name: str, claim: str = "", ready: bool = True, **metadata: Json) -> None:
        spec: Json = {"nodeName": self.node, "containers": [{"name": "main", "image": "none"}]}
        if claim:
            spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
        await self.client.create(PODS, {"metadata": {"name": name, **metadata}, "spec": spec}, self.namespace)
        said = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}] if ready else []}
        await self.client.patch(PODS, name, {"status": said}, self.namespace, subresource="status")

    async def dataset(self, check: Callable[[Json], object]) -> Json:
        found = await wait_for(
            self.client,
            DATASETS,
            "data",
            self.namespace,
            until=lambda d: d is not None and bool(check(d)),
            timeout=90,
        )
        assert found is not None
        return found

    async def is_leaving(self, name: str) -> bool:
        pods = (await self.client.list(PODS, self.namespace))["items"]
        found = [p for p in pods if p["metadata"]["name"] == name]
        return not found or "deletionTimestamp" in found[0]["metadata"]


async def rotate(cluster: Cluster) -> None:
    await cluster.client.patch(SECRETS, "keys", {"stringData": {"id": "two"}}, cluster.namespace)


async def mounts(cluster: Cluster) -> None:
    spec = {"mounts": [{**SECRET_MOUNT, "mountPoint": "s3://models/other"}]}
    await cluster.client.patch(DATASETS, "data", {"spec": spec}, cluster.namespace)


async def options(cluster: Cluster) -> None:
    spec = {"mounts": [{**SECRET_MOUNT, "options": {"endpoint": "http://127.0.0.1:2"}}]}
    await cluster.client.patch(DATASETS, "data", {"spec": spec}, cluster.namespace)


async def image(cluster: Cluster) -> None:
    spec = {"fuse": {"image": "another", "imageTag": "v2"}}
    await cluster.client.patch(THIN, "data", {"spec": spec}, cluster.namespace)


async def resources(cluster: Cluster) -> None:
    spec = {"fuse": {"resources": {"requests": {"cpu": "1m"}}}}
    await cluster.client.patch(THIN, "data", {"spec": spec}, cluster.namespace)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (mounts, "Dataset.spec.mounts"),
        (options, "Dataset.spec.mounts"),
        (rotate, "the values of its Secrets"),
        (image, "ThinRuntime.spec.fuse"),
        (resources, "ThinRuntime.spec.fuse"),
    ],
)
async def test_a_change_waits_for_pods_that_use_the_client_and_for_nobody_else(
    client: Client,
    namespace: str,
    agent: None,
    change: Callable[[Cluster], Awaitable[None]],
    field: str,
) -> None:
    cluster = Cluster(client, namespace)
    await cluster.bound(SECRET_MOUNT)
    await cluster.pod("reader", claim="data")
    await change(cluster)
    told = await cluster.dataset(lambda d: is_true(d, "ChangesPending"))
    said = (get_condition(told, "ChangesPending") or {})["message"]
    assert said.startswith(f"{field} changed; it takes effect when these clients restart")
    assert f"on node {cluster.node} client-1, which pods reader use" in said
    assert told["status"]["phase"] == "Bound"
    assert told["status"]["mounts"][0]["mountPoint"] == "s3://models/llama"
    assert not await cluster.is_leaving("client-1")

    await client.delete(PODS, "reader", namespace, grace_period=0)
    await eventually(lambda: cluster.is_leaving("client-1"))
    await cluster.dataset(lambda d: not is_true(d, "ChangesPending"))
    await client.delete(PODS, "client-1", namespace, grace_period=0)
    await cluster.start_client("client-2")
    await cluster.dataset(
        lambda d: d["status"]["mounts"][0]["mountPoint"] == d["spec"]["mounts"][0]["mountPoint"]
    )
    assert not await cluster.is_leaving("client-2"), "it is made from what there is now"
    await end(cluster)


@pytest.mark.parametrize(
    ("resource", "spec", "text"),
    [
        (
            DATASETS,
            {"accessModes": ["ReadWriteMany"]},
            "spec.accessModes: cannot change: pods have the data by",
        ),
        (
            THIN,
            {"fuse": {"cleanPolicy": "OnDemand"}},
            "spec.fuse: cannot change: pods have the data by a volume",
        ),
        (THIN, {"profileName": "rclone"}, "spec.profileName: s3fs cannot become rclone while"),
    ],
)
async def test_what_could_only_be_ignored_is_refused_with_its_field(
    client: Client, namespace: str, agent: None, resource: Resource, spec: Json, text: str
) -> None:
    cluster = Cluster(client, namespace)
    await cluster.bound(SECRET_MOUNT)
    with pytest.raises(ApiError) as refused:
        await client.patch(resource, "data", {"spec": spec}, namespace)
    assert text in refused.value.message
    await end(cluster)


async def end(cluster: Cluster) -> None:
    """What no kubelet or controller does."""
    for pod in (await cluster.client.list(PODS, cluster.namespace))["items"]:
        await cluster.client.delete(PODS, pod["metadata"]["name"], cluster.namespace, grace_period=0)
    await cluster.client.delete(NODES, cluster.node)
    await cluster.client.delete(DATASETS, "data", cluster.namespace)
    await wait_for(
        cluster.client, DATASETS, "data", cluster.namespace, until=lambda found: found is None, timeout=90
    )
