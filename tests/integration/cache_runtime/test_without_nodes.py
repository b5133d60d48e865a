"""References and operations against an API server alone, which may be the real one.

No kubelet is there, so the test says that a worker is ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import kubernetes
import pytest

from addon_framework.api.conditions import is_true
from addon_framework.api.core import (
    NAMESPACES,
    NETWORKPOLICIES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SERVICEACCOUNTS,
    STATEFULSETS,
)
from addon_framework.api.data import (
    CacheRuntime,
    CacheRuntimeClass,
    DataBackup,
    DataLoad,
    Dataset,
    JuiceFSRuntime,
    LocalRuntime,
    ThinRuntime,
    ThinRuntimeProfile,
)
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import ApiError, Client, NotFound, wait_for
from addon_framework.testing import eventually
from tests.integration.cache_runtime.conftest import agent_alone

DATASETS = Dataset.RESOURCE


@pytest.fixture
async def agent(client: Client, crds_installed: None) -> AsyncIterator[None]:
    """With its own rights, and its webhooks."""
    async with agent_alone(client):
        yield


def obj(resource: Resource, namespace: str, name: str, spec: Json) -> Json:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


async def until(client: Client, resource: Resource, namespace: str, name: str, text: str) -> Json:
    """Waits until an object's status says something."""
    found = await wait_for(
        client,
        resource,
        name,
        namespace,
        until=lambda obj: obj is not None and text in str(obj.get("status")),
        timeout=90,
    )
    assert found is not None
    return found


async def test_a_reference_and_what_is_refused(client: Client, namespace: str, agent: None) -> None:
    team = f"{namespace}-team"
    await client.create(NAMESPACES, {"metadata": {"name": team}})
    source = {"mountPoint": "s3://models/llama", "path": "/", "options": {"endpoint": "http://127.0.0.1:1"}}
    await client.create(DATASETS, obj(DATASETS, namespace, "llama", {"mounts": [source]}))
    await client.create(
        LocalRuntime.RESOURCE, obj(LocalRuntime.RESOURCE, namespace, "llama", {"replicas": 1})
    )
    await wait_for(
        client, STATEFULSETS, "llama-worker", namespace, until=lambda found: found is not None, timeout=90
    )
    policy = await client.get(NETWORKPOLICIES, "llama-worker", namespace)
    assert policy["metadata"]["ownerReferences"][0]["kind"] == "LocalRuntime"
    peers = {"spec": {"peers": {"addresses": ["10.20.0.7:9465"]}}}
    await client.patch(LocalRuntime.RESOURCE, "llama", peers, namespace)
    await wait_for(
        client, NETWORKPOLICIES, "llama-worker", namespace, until=lambda found: found is None, timeout=90
    )
    ready = {"status": {"replicas": 1, "readyReplicas": 1, "currentReplicas": 1, "availableReplicas": 1}}
    await client.patch(STATEFULSETS, "llama-worker", ready, namespace, subresource="status")
    await until(client, DATASETS, namespace, "llama", "'Bound'")

    mount = {"mountPoint": f"dataset://{namespace}/llama/sub"}
    await client.create(DATASETS, obj(DATASETS, team, "copy", {"mounts": [mount]}))
    await until(client, DATASETS, team, "copy", "'Bound'")
    volume = await client.get(PERSISTENTVOLUMES, f"{team}-copy")
    assert volume["spec"]["hostPath"]["path"].endswith("/llama/data"), "nothing in it that others write"
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "data", "mountPath": "/x", "subPath": "x"}]
    spec = {
        "containers": [{"name": "main", "image": "busybox", "volumeMounts": mounts}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "copy"}}],
        "automountServiceAccountToken": False,
    }
    await eventually(lambda: client.get(SERVICEACCOUNTS, "default", team), swallow=NotFound)
    pod = await client.create(PODS, obj(PODS, team, "reader", spec))
    found = {m["mountPath"]: m.get("subPath") for m in pod["spec"]["containers"][0]["volumeMounts"]}
    assert found == {"/data": "sub", "/x": "sub/x"}
    await client.delete(PODS, "reader", team)
    claim = await client.get(PERSISTENTVOLUMECLAIMS, "copy", team)
    assert claim["metadata"]["labels"]["fluid.io/dataset.referring-namespace"] == namespace
    runtime = await until(client, ThinRuntime.RESOURCE, team, "copy", "valueFile")
    assert runtime["spec"] == {}
    theirs = await until(client, DATASETS, namespace, "llama", "datasetRef")
    assert theirs["status"]["datasetRef"] == [f"{team}/copy"]

    refused: list[tuple[Resource, Json, str]] = [
        (DataLoad.RESOURCE, {"dataset": {"name": "copy"}}, f"refers to {namespace}/llama"),
        (DataBackup.RESOURCE, {"dataset": "copy", "backupPath": "s3://x"}, "spec.backupPath"),
    ]
    for resource, spec, text in refused:
        with pytest.raises(ApiError, match=text):
            await client.create(resource, obj(resource, team, "op", spec))
    unnamed = obj(DataLoad.RESOURCE, namespace, "", {"dataset": {"name": "llama"}, "options": {"x": "1"}})
    unnamed["metadata"] = {"generateName": "load-", "namespace": namespace}
    with pytest.raises(ApiError, match=r"spec\.options: unknown x"):
        await client.create(DataLoad.RESOURCE, unnamed)
    backup = {"dataset": "llama", "backupPath": "local:///backup"}
    await client.create(DataBackup.RESOURCE, obj(DataBackup.RESOURCE, namespace, "b", backup))
    await until(client, DataBackup.RESOURCE, namespace, "b", "waiting for the cache's pods to be ready")

    await client.delete(DATASETS, "llama", namespace)
    await until(client, DATASETS, namespace, "llama", f"Datasets {team}/copy refer to it")
    await client.delete(DATASETS, "copy", team)
    for where, name in ((team, "copy"), (namespace, "llama")):
        await wait_for(client, DATASETS, name, where, until=lambda found: found is None, timeout=90)


def mounted_by(image: str) -> Json:
    return {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}


@pytest.mark.parametrize(
    ("resource", "spec", "workload"),
    [
        pytest.param(LocalRuntime.RESOURCE, {"replicas": 1}, "llama-worker", id="local"),
        pytest.param(JuiceFSRuntime.RESOURCE, {"replicas": 1}, "llama-fuse", id="juicefs"),
        pytest.param(
            ThinRuntime.RESOURCE, {"replicas": 1, "profileName": "{namespace}"}, "llama-worker", id="thin"
        ),
        pytest.param(CacheRuntime.RESOURCE, {"runtimeClassName": "{namespace}"}, "llama-worker", id="cache"),
    ],
)
async def test_workers_are_scaled_by_the_scale_subresource(
    client: Client, namespace: str, agent: None, resource: Resource, spec: Json, workload: str
) -> None:
    about: list[tuple[Resource, Json]] = [
        (
            ThinRuntimeProfile.RESOURCE,
            {
                "spec": {
                    "fileSystemType": "fuse",
                    "fuse": {"image": "example.org/fuse"},
                    "worker": {"enabled": True, "image": "example.org/worker"},
                }
            },
        ),
        (
            CacheRuntimeClass.RESOURCE,
            {
                "fileSystemType": "fuse",
                "topology": {"worker": mounted_by("example.org/w"), "client": mounted_by("example.org/c")},
            },
        ),
    ]
    for kind, body in about:
        named = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": namespace}}
        await client.create(kind, {**named, **body})
    source = {"mountPoint": "s3://models/llama", "path": "/", "options": {"endpoint": "http://127.0.0.1:1"}}
    await client.create(DATASETS, obj(DATASETS, namespace, "llama", {"mounts": [source]}))
    said = {name: v.format(namespace=namespace) if isinstance(v, str) else v for name, v in spec.items()}
    await client.create(resource, obj(resource, namespace, "llama", said))
    await until(client, resource, namespace, "llama", "'selector'")
    await client.patch(resource, "llama", {"spec": {"replicas": 3}}, namespace, subresource="scale")
    await until(client, resource, namespace, "llama", "WorkersScaledOut")
    workers = await client.get(STATEFULSETS, workload, namespace)
    assert workers["spec"]["replicas"] == 3
    scale = await client.request("GET", resource.path(namespace, "llama", "scale"))
    assert scale["spec"]["replicas"] == 3
    selected = scale["status"]["selector"]
    template = workers["spec"]["template"]["metadata"]["labels"]
    assert all(template[k] == v for k, v in (each.split("=") for each in selected.split(",")))
    for kind, _ in about:
        await client.delete(kind, namespace)


async def test_nodes_say_what_cache_they_hold_until_it_is_gone(
    client: Client, namespace: str, agent: None
) -> None:
    host = f"{namespace}-node"
    await client.create(NODES, {"metadata": {"name": host, "labels": {"zone": "a"}}})
    source = {"mountPoint": "s3://models/llama", "path": "/", "options": {"endpoint": "http://127.0.0.1:1"}}
    spec = {"mounts": [source], "placement": "Exclusive"}
    await client.create(DATASETS, obj(DATASETS, namespace, "llama", spec))
    tier = {"mediumtype": "SSD", "path": "/var/cache", "quota": "2Gi"}
    runtime = LocalRuntime.RESOURCE
    spec = {"replicas": 1, "tieredstore": {"levels": [tier]}}
    await client.create(runtime, obj(runtime, namespace, "llama", spec))
    workers = await wait_for(
        client, STATEFULSETS, "llama-worker", namespace, until=lambda found: found is not None, timeout=90
    )
    assert workers is not None
    pod = {
        "metadata": {"name": "w", "labels": workers["spec"]["template"]["metadata"]["labels"]},
        "spec": {"nodeName": host, "containers": [{"name": "worker", "image": "none"}]},
    }
    await client.create(PODS, pod, namespace)
    labelled = await wait_for(
        client, NODES, host, until=lambda node: "fluid_exclusive" in str(node), timeout=90
    )
    assert labelled is not None
    expected = {
        f"fluid.io/s-{namespace}-llama": "true",
        f"fluid.io/s-local-{namespace}-llama": "true",
        f"fluid.io/s-h-local-d-{namespace}-llama": "2GiB",
        f"fluid.io/s-h-local-t-{namespace}-llama": "2GiB",
        "fluid.io/dataset-num": "1",
        "fluid_exclusive": f"{namespace}_llama",
        "zone": "a",
    }
    assert expected.items() <= labelled["metadata"]["labels"].items()

    spec = {"tieredstore": {"levels": [{**tier, "quota": "3Gi"}]}}
    await client.patch(runtime, "llama", {"spec": spec}, namespace)
    await wait_for(client, NODES, host, until=lambda node: "3GiB" in str(node), timeout=90)

    await client.delete(DATASETS, "llama", namespace)
    said = f"waiting for worker pods to end: w on node {host}"
    await until(client, DATASETS, namespace, "llama", said)
    await client.delete(NODES, host)  # where nothing can be cleaned any more
    await client.delete(PODS, "w", namespace, grace_period=0)
    await wait_for(client, DATASETS, "llama", namespace, until=lambda found: found is None, timeout=90)


async def test_a_node_is_labelled_for_a_client_while_pods_on_it_use_the_data(
    client: Client, namespace: str, agent: None
) -> None:
    hosts, runtime = [f"{namespace}-node-{n}" for n in (1, 2)], ThinRuntime.RESOURCE
    for host in hosts:
        await client.create(NODES, {"metadata": {"name": host}})
    source = {"mountPoint": "s3://models/llama", "options": {"endpoint": "http://127.0.0.1:1"}}
    await client.create(DATASETS, obj(DATASETS, namespace, "llama", {"mounts": [source]}))
    wrong = {"profileName": "s3fs", "fuse": {"cleanPolicy": "Sometimes"}}
    with pytest.raises(ApiError, match=r"spec\.fuse\.cleanPolicy: 'Sometimes' is none of OnRuntimeDeleted"):
        await client.create(runtime, obj(runtime, namespace, "llama", wrong))
    spec = {"profileName": "s3fs", "fuse": {"cleanPolicy": "OnDemand"}}
    await client.create(runtime, obj(runtime, namespace, "llama", spec))
    await until(client, DATASETS, namespace, "llama", "'Bound'")
    volume = await client.get(PERSISTENTVOLUMES, f"{namespace}-llama")
    assert volume["spec"]["hostPath"]["type"] == "Directory"

    async def says(value: str | None) -> None:
        label = f"fluid.io/f-{namespace}-llama"

        def there(node: Json | None) -> bool:
            return node is not None and (node["metadata"].get("labels") or {}).get(label) == value

        await wait_for(client, NODES, hosts[0], until=there, timeout=90)
        assert label not in ((await client.get(NODES, hosts[1]))["metadata"].get("labels") or {})

    pod = {
        "spec": {
            "nodeName": hosts[0],
            "containers": [{"name": "main", "image": "busybox"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "llama"}}],
            "automountServiceAccountToken": False,
        }
    }
    await eventually(lambda: client.get(SERVICEACCOUNTS, "default", namespace), swallow=NotFound)
    await says(None)
    for name in ("one", "two"):
        await client.create(PODS, {"metadata": {"name": name}, **pod}, namespace)
        await says("true")
    await client.delete(PODS, "one", namespace, grace_period=0)
    ended = {"status": {"phase": "Succeeded"}}
    await says("true")
    await client.patch(PODS, "two", ended, namespace, subresource="status")
    await says("idle")
    for host in hosts:
        await client.delete(NODES, host)
    await client.delete(DATASETS, "llama", namespace)
    await wait_for(client, DATASETS, "llama", namespace, until=lambda found: found is None, timeout=90)


async def test_what_has_no_effect_is_warned_of_and_stays_in_a_condition(
    client: Client, namespace: str, agent: None, kubeconfig: Path
) -> None:
    source = {"mountPoint": "s3://models/llama", "path": "/", "shared": True}
    await client.create(
        LocalRuntime.RESOURCE, obj(LocalRuntime.RESOURCE, namespace, "llama", {"replicas": 1})
    )
    dataset = obj(DATASETS, namespace, "llama", {"mounts": [source]})
    said = f"Dataset {namespace}/llama: spec.mounts[0].shared: has no effect: a copy is of the Dataset alone"
    assert said in await asyncio.to_thread(created, kubeconfig, dataset)
    await until(client, DATASETS, namespace, "llama", said)
    await client.patch(DATASETS, "llama", {"spec": {"mounts": [{**source, "shared": False}]}}, namespace)
    await wait_for(
        client,
        DATASETS,
        "llama",
        namespace,
        until=lambda found: found is not None and not is_true(found, "FieldsWithoutEffect"),
        timeout=90,
    )

    copy = obj(DATASETS, namespace, "copy", {"mounts": [{"mountPoint": f"dataset://{namespace}/llama"}]})
    copy["spec"]["placement"] = "Shared"
    said = (
        f"Dataset {namespace}/copy: spec.placement: has no effect: it is of the Dataset that is referred to"
    )
    assert said in await asyncio.to_thread(created, kubeconfig, copy)
    await until(client, DATASETS, namespace, "copy", "FieldsWithoutEffect")


def created(kubeconfig: Path, obj: Json) -> str:
    """Creates an object as kubectl does; what the server says besides."""
    api = kubernetes.client.CustomObjectsApi(kubernetes.config.new_client_from_config(str(kubeconfig)))
    where = (DATASETS.group, DATASETS.version, obj["metadata"]["namespace"], DATASETS.plural)
    _, status, headers = api.create_namespaced_custom_object_with_http_info(*where, obj)
    assert status == 201
    return str(headers.get("Warning", ""))
