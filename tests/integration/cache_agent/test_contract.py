"""What others rely on of a Bound Dataset, by Fluid's names, against an API server alone.

No kubelet is there, so the test says that a worker is ready, and no operation ends by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from addon_framework.api.core import JOBS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STATEFULSETS
from addon_framework.api.data import (
    CacheRuntimeClass,
    DataMigrate,
    DataProcess,
    Dataset,
    LocalRuntime,
    ThinRuntimeProfile,
)
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import ApiError, Client, wait_for
from tests.integration.cache_runtime.conftest import agent_alone

DATASETS, LOCAL = Dataset.RESOURCE, LocalRuntime.RESOURCE
MIGRATES, PROCESSES = DataMigrate.RESOURCE, DataProcess.RESOURCE
PROFILE, CLASS = ThinRuntimeProfile.RESOURCE, CacheRuntimeClass.RESOURCE
MOUNT: Json = {"mountPoint": "s3://models/llama", "path": "/", "options": {"endpoint": "http://127.0.0.1:1"}}


class Cluster:
    """One with a Dataset `llama`, Bound."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client, self.namespace = client, namespace

    async def create(self, resource: Resource, name: str, spec: Json) -> Json:
        metadata = {"name": name, "namespace": self.namespace}
        head = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
        return await self.client.create(resource, {**head, "spec": spec})

    async def until(self, resource: Resource, name: str, wanted: str, **said: object) -> Json:
        """Waits until a field of the status is what is said; {} is one that is not there."""

        def there(obj: Json | None) -> bool:
            status = (obj or {}).get("status") or {}
            return obj is not None and all((status.get(k) or {}) == v for k, v in said.items())

        found = await wait_for(
            self.client, resource, name, self.namespace, until=there, timeout=40, what=wanted
        )
        assert found is not None
        return found

    async def worker_is_ready(self) -> None:
        await wait_for(
            self.client,
            STATEFULSETS,
            "llama-worker",
            self.namespace,
            until=lambda o: o is not None,
            timeout=40,
        )
        counts = ("replicas", "readyReplicas", "currentReplicas", "availableReplicas")
        ready = {"status": dict.fromkeys(counts, 1)}
        await self.client.patch(STATEFULSETS, "llama-worker", ready, self.namespace, subresource="status")


@pytest.fixture
async def cluster(client: Client, namespace: str, crds_installed: None) -> AsyncIterator[Cluster]:
    """With the agent, by its own rights, and its webhooks."""
    async with agent_alone(client):
        made = Cluster(client, namespace)
        await made.create(DATASETS, "llama", {"mounts": [MOUNT]})
        await made.create(LOCAL, "llama", {"replicas": 1})
        await made.worker_is_ready()
        await made.until(DATASETS, "llama", "bound", phase="Bound")
        yield made
        await client.delete(DATASETS, "llama", namespace)
        await wait_for(client, DATASETS, "llama", namespace, until=lambda o: o is None, timeout=40)


async def test_volume_and_claim_are_fluids(cluster: Cluster) -> None:
    namespace = cluster.namespace
    dataset = await cluster.client.get(DATASETS, "llama", namespace)
    volume = await cluster.client.get(PERSISTENTVOLUMES, f"{namespace}-llama")
    claim = await cluster.client.get(PERSISTENTVOLUMECLAIMS, "llama", namespace)
    for each in (volume, claim):
        assert each["metadata"]["annotations"]["CreatedBy"] == "fluid"
        assert each["metadata"]["labels"][f"fluid.io/s-{namespace}-llama"] == "true"
        assert each["metadata"]["labels"]["fluid.io/dataset-id"] == f"{namespace}-llama"
        assert each["spec"]["storageClassName"] == "fluid"
        assert each["spec"]["accessModes"] == ["ReadOnlyMany"]
    assert volume["spec"]["capacity"]["storage"] == "100Pi"
    assert (volume["spec"]["claimRef"]["namespace"], volume["spec"]["claimRef"]["name"]) == (
        namespace,
        "llama",
    )
    assert claim["spec"]["volumeName"] == f"{namespace}-llama"
    assert dataset["status"]["runtimes"][0] == {
        "name": "llama",
        "namespace": namespace,
        "category": "Accelerate",
        "type": "local",
    }


async def test_a_dataset_names_the_operations_that_work_on_it(cluster: Cluster) -> None:
    script = {"image": "busybox", "command": ["sh"], "source": "sleep 600"}
    spec = {"dataset": {"name": "llama", "mountPath": "/data"}, "processor": {"script": script}}
    await cluster.create(PROCESSES, "long", spec)
    await cluster.until(PROCESSES, "long", "executing", phase="Executing")
    await cluster.until(DATASETS, "llama", "named", operationRef={"DataProcess": "long"})
    await cluster.client.delete(PROCESSES, "long", cluster.namespace)
    await cluster.until(DATASETS, "llama", "not named", operationRef={})


@pytest.mark.parametrize("schedule", ["", "@daily"])
async def test_while_data_is_migrated_the_phase_says_so(cluster: Cluster, schedule: str) -> None:
    source = {"externalStorage": {"uri": "http://127.0.0.1:1/files/"}}
    target = {"dataset": {"name": "llama", "namespace": cluster.namespace}}
    when = {"policy": "Cron", "schedule": schedule} if schedule else {}
    await cluster.create(MIGRATES, "in", {"from": source, "to": target, "parallelism": 2, **when})
    if schedule:  # nothing runs before its time
        await cluster.until(MIGRATES, "in", "scheduled", phase="Pending")
        await cluster.until(DATASETS, "llama", "free", phase="Bound", operationRef={})
    else:
        await cluster.until(MIGRATES, "in", "executing", phase="Executing")
        job = await cluster.client.get(JOBS, "in-migrate-migrate", cluster.namespace)
        assert job["spec"]["parallelism"] == 2
        await cluster.until(
            DATASETS, "llama", "migrating", phase="DataMigrating", operationRef={"DataMigrate": "in"}
        )
    await cluster.client.delete(MIGRATES, "in", cluster.namespace)
    await cluster.until(DATASETS, "llama", "bound again", phase="Bound", operationRef={})


async def test_a_runtime_is_scaled_by_its_subresource(cluster: Cluster) -> None:
    path = f"{LOCAL.path(cluster.namespace, 'llama')}/scale"
    said = await cluster.client.request("GET", path)
    assert said["spec"]["replicas"] == 1
    await cluster.client.patch(
        LOCAL, "llama", {"spec": {"replicas": 2}}, cluster.namespace, subresource="scale"
    )
    found = await wait_for(
        cluster.client,
        STATEFULSETS,
        "llama-worker",
        cluster.namespace,
        until=lambda o: o is not None and o["spec"]["replicas"] == 2,
        timeout=40,
    )
    assert found is not None
    runtime = await cluster.until(LOCAL, "llama", "counted", desiredWorkerNumberScheduled=2)
    assert runtime["status"]["selector"]


async def test_a_profile_or_class_that_could_never_work_is_refused_whoever_uses_it(cluster: Cluster) -> None:
    name, refused = cluster.namespace, pytest.raises
    profile = {
        "apiVersion": PROFILE.api_version,
        "kind": PROFILE.kind,
        "metadata": {"name": name},
        "spec": {"fileSystemType": "fuse.own", "fuse": {"image": "own", "imagePullPolicy": "Sometimes"}},
    }
    with refused(ApiError, match=rf"Profile {name}: spec\.fuse\.imagePullPolicy: 'Sometimes' must be one of"):
        await cluster.client.create(PROFILE, profile)
    component = {"template": {"spec": {"containers": [{"name": "c", "image": "c:1"}]}}}
    described = {
        "apiVersion": CLASS.api_version,
        "kind": CLASS.kind,
        "metadata": {"name": name},
        "fileSystemType": "own",
        "topology": {"worker": component},
    }
    with refused(ApiError, match=rf"Class {name}: topology\.client: is needed"):
        await cluster.client.create(CLASS, described)
    described["topology"] = {"worker": component, "client": component}
    await cluster.client.create(CLASS, described)
    worse = {"topology": {"client": {"template": {"spec": {"containers": []}}}}}
    with refused(
        ApiError, match=rf"Class {name}: topology\.client\.template\.spec\.containers: at least one"
    ):
        await cluster.client.patch(CLASS, name, worse)
    await cluster.client.delete(CLASS, name)
