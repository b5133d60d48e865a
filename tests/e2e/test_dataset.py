"""`fleetadm dataset`: data on both clusters, its status on the hub, a cluster leaves, nothing stays."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import boto3
import pytest

from addon_framework.local.fleet import Fleet
from addon_framework.local.fleet.state import FleetState
from addon_framework.testing import eventually
from tests.e2e.conftest import Run
from tests.e2e.test_fleet import kubectl
from tests.integration.cache_runtime.disks import remove

pytestmark = pytest.mark.timeout(240)
MB = 1_000_000
HUB = """
apiVersion: addon.open-cluster-management.io/v1alpha1
kind: ClusterManagementAddOn
metadata: {name: cache-runtime}
spec: {}
---
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSetBinding
metadata: {name: global, namespace: default}
spec: {clusterSet: global}
---
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: all, namespace: default}
spec: {}
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: default}
stringData: {accessKeyId: ACCESS, secretAccessKey: SECRET}
"""


def items(directory: Path, context: str, kinds: str, *where: str) -> list[str]:
    listed = json.loads(kubectl(directory, context, "get", kinds, *where, "-o", "json"))["items"]
    return [f"{obj['kind']} {obj['metadata']['name']}" for obj in listed]


def status(fleetadm: Run, directory: Path) -> dict[str, Any]:
    said = fleetadm("dataset", "get", "llama", "--dir", str(directory), "-o", "json").stdout
    found: dict[str, Any] = json.loads(said)["status"]
    return found


def bucket(state: FleetState) -> Any:
    """boto3's client of the fleet's store, which has the bucket `fleet`."""
    client = boto3.client(
        "s3",
        endpoint_url=state.store_endpoint,
        region_name="us-east-1",
        aws_access_key_id=state.store.access_key,
        aws_secret_access_key=state.store.secret_key,
    )
    client.create_bucket(Bucket="fleet")
    return client


async def test_on_both_clusters_with_one_command_and_gone_with_another(
    fleetadm: Run, directory: Path, tmp_path: Path
) -> None:
    where = ("--dir", str(directory))
    fleetadm("up", *where, "--spokes", "2")
    state = Fleet(directory).state
    store, endpoint = state.store, state.store_endpoint
    client = bucket(state)
    for number in range(3):
        client.put_object(Bucket="fleet", Key=f"llama/{number}", Body=os.urandom(5 * MB))
    objects = tmp_path / "hub.yaml"
    objects.write_text(HUB.replace("ACCESS", store.access_key).replace("SECRET", store.secret_key))
    kubectl(directory, "hub", "apply", "-f", str(objects))
    fleetadm("addon", "enable", "cache-runtime", "--clusters", "cluster1,cluster2", *where)

    source = ("--from", "s3://fleet/llama", "--secret", "keys", "--s3-endpoint", endpoint)
    fleetadm("dataset", "create", "llama", *source, "--placement", "all", "--wait", *where)
    found = status(fleetadm, directory)
    assert found["phase"] == "Bound"
    assert found["cacheStates"]["cachedPercentage"] == "100.0%"
    assert {entry["name"]: entry["originBytes"] for entry in found["clusters"]} == {
        "cluster1": 15 * MB,
        "cluster2": 15 * MB,
    }
    everything = {"bytes": 30 * MB, "totalBytes": 30 * MB, "files": 6, "totalFiles": 6}
    assert found["progress"] == everything
    cache = directory / "clusters/cluster1/node/host/var/lib/boundaryless/cache/default/llama"
    remove(cache.rename(cache.with_name("aside")))
    await eventually(lambda: _lost(directory, "cluster1") == "False", timeout=60)
    await eventually(lambda: status(fleetadm, directory).get("progress") == everything, timeout=60)
    works = kubectl(directory, "hub", "get", "manifestworks", "-A", "-o", "json")
    for value in (store.secret_key, base64.b64encode(store.secret_key.encode()).decode()):
        assert value not in works

    copied = ("--to", "s3://fleet/copy", "--secret", "keys", "--s3-endpoint", endpoint)
    fleetadm("dataset", "migrate", "llama", *copied, "--cluster", "cluster2", "--wait", *where)
    listed = client.list_objects_v2(Bucket="fleet", Prefix="copy/")["Contents"]
    assert [each["Size"] for each in listed] == [5 * MB] * 3
    assert items(directory, "cluster1", "datamigrates", "-A") == []

    chosen = [{"requiredClusterSelector": {"celSelector": {"celExpressions": [_is("cluster1")]}}}]
    patch = json.dumps({"spec": {"predicates": chosen}})
    kubectl(directory, "hub", "patch", "placement", "all", "--type", "merge", "-p", patch)
    await eventually(lambda: len(status(fleetadm, directory)["clusters"]) == 1, timeout=60)
    assert _left(directory, "cluster2") == []

    fleetadm("dataset", "delete", "llama", "--wait", *where)
    assert _left(directory, "cluster1") == []
    assert items(directory, "hub", "datasets,dataloads,datamigrates", "-A") == []

    # Nothing but clusters by name and the fleet's own keys: what else it takes is made, or said.
    kubectl(directory, "hub", "delete", "managedclustersetbindings", "--all", "-n", "default")
    source = ("--from", "s3://fleet/llama", "--secret", "object-store", "--s3-endpoint", endpoint)
    said = fleetadm("dataset", "create", "llama", *source, "--clusters", "cluster1", "--wait", *where)
    assert "ManagedClusterSetBinding default/global created" in said.stdout
    assert [entry["name"] for entry in status(fleetadm, directory)["clusters"]] == ["cluster1"]


def _lost(directory: Path, cluster: str) -> str:
    """Whether a cluster's Dataset has lost files; "" if it never has."""
    path = '{.status.conditions[?(@.type=="CacheLost")].status}'
    return kubectl(directory, cluster, "get", "dataset", "llama", "-n", "default", "-o", f"jsonpath={path}")


def _left(directory: Path, cluster: str) -> list[str]:
    """What is still there of the Dataset, on the hub and on the cluster."""
    on_hub = items(directory, "hub", "manifestworks,secrets,roles,rolebindings", "-n", cluster)
    on_spoke = items(
        directory, cluster, "datasets,localruntimes,dataloads,datamigrates,pvc,secrets", "-n", "default"
    )
    cache = directory / "clusters" / cluster / "node/host/var/lib/boundaryless/cache"
    files = [str(path) for path in cache.rglob("*") if path.is_file()]
    return [each for each in [*on_hub, *on_spoke, *files] if "llama" in each]


def _is(cluster: str) -> str:
    return f'managedCluster.metadata.name == "{cluster}"'
