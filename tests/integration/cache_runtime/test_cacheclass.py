"""A distributed cache that only a CacheRuntimeClass describes: SeaweedFS, as manifests/samples has it.

Its master and filer, a volume server and a FUSE client run as pods; the source is another SeaweedFS.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from addon_framework.api.core import CONFIGMAPS, DAEMONSETS, PODS, SERVICES, STATEFULSETS
from addon_framework.api.data import CacheRuntimeClass
from addon_framework.api.meta import Json
from addon_framework.kube.execute import execute
from tests.integration.cache_runtime.fleet import BACKUPS, DATALOADS, DATASETS, RUNTIMES, Fleet
from tests.integration.node.cluster import NodeProcess

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root"),
    pytest.mark.timeout(240),
]
SAMPLE = Path(__file__).parents[3] / "manifests" / "samples" / "seaweedfs.yaml"
CLASSES = CacheRuntimeClass.RESOURCE
TIER = "/var/lib/boundaryless/seaweedfs"


@pytest.fixture
async def described(fleet: Fleet) -> AsyncIterator[Json]:
    """The class of the sample, under a name of the test's own."""
    given = next(o for o in yaml.safe_load_all(SAMPLE.read_text()) if o["kind"] == "CacheRuntimeClass")
    given["metadata"]["name"] = f"seaweedfs-{fleet.namespace}"
    yield given
    await fleet.clean()
    await fleet.delete(CLASSES, given["metadata"]["name"])


def runtime(described: Json, fleet: Fleet, **worker: Any) -> Json:
    """With one worker, which may read an object store on this machine."""
    level = {"hostPath": {"paths": [TIER], "quotas": ["2Gi"]}}
    untrusted = "allowUntrustedRemoteEndpoints"
    body: Json = {
        "runtimeClassName": described["metadata"]["name"],
        "master": {"options": {"master.volumeSizeLimitMB": "64", f"filer.{untrusted}": "true"}},
        "worker": {"tieredStore": {"levels": [level]}, "options": {f"volume.{untrusted}": "true"}, **worker},
    }
    return fleet.object(RUNTIMES["cache"], "data", body)


async def test_from_a_class_to_a_pod_that_reads(fleet: Fleet, described: Json, host_files: Path) -> None:
    await fleet.secret()
    origin = fleet.store.client()
    model = {f"model-{n}.safetensors": os.urandom(12_000_000 + n) for n in range(2)} | {"config.json": b"{}"}
    for path, content in model.items():  # flat: see the sample
        origin.put_object(Bucket="models", Key=f"flat/{path}", Body=content)
    await fleet.create(fleet.dataset("data", source="s3://models/flat"), runtime(described, fleet))

    def unknown_class(dataset: Json) -> bool:
        ready = [c for c in (dataset.get("status") or {}).get("conditions") or [] if c["type"] == "Ready"]
        return any("does not exist in this cluster; create it" in c["message"] for c in ready)

    await fleet.until(DATASETS, "data", unknown_class)
    await fleet.create(described)
    bound = await fleet.phase(DATASETS, "data", "Bound")
    assert bound["status"]["runtimes"][0]["type"] == "cache"
    for resource, name in (
        (STATEFULSETS, "data-master"),
        (STATEFULSETS, "data-worker"),
        (DAEMONSETS, "data-client"),
        (SERVICES, "svc-data-master"),
        (CONFIGMAPS, "fluid-runtime-config-data"),
    ):
        await fleet.client.get(resource, name, fleet.namespace)
    size = sum(map(len, model.values()))
    await fleet.until(DATASETS, "data", lambda d: d["status"].get("fileNum") == str(len(model)))

    def cached(at_least: int) -> Any:
        return lambda d: (d["status"].get("numbers") or {}).get("cachedBytes", -1) >= at_least

    await fleet.until(DATASETS, "data", cached(0))
    await fleet.create(fleet.load("data"))
    await fleet.phase(DATALOADS, "data", "Complete")
    loaded = await fleet.until(DATASETS, "data", cached(size))
    assert loaded["status"]["cacheStates"]["cachedPercentage"] == "100.0%"
    assert loaded["status"]["numbers"]["capacityBytes"] == 2 << 30

    # What is read now comes from the workers: the bucket has nothing any more.
    for path in model:
        origin.delete_object(Bucket="models", Key=f"flat/{path}")
    await fleet.create(fleet.reader("data", "cd /models && sha256sum *"))
    expected = {f"{hashlib.sha256(content).hexdigest()}  {path}" for path, content in model.items()}
    assert set((await fleet.output("reader-data")).splitlines()) == expected

    status = (await fleet.client.get(RUNTIMES["cache"], "data", fleet.namespace))["status"]
    assert [status[part]["phase"] for part in ("master", "worker", "client")] == ["Ready"] * 3
    assert status["mountTime"]

    await fleet.delete(PODS, "reader-data")
    await fleet.delete(DATASETS, "data")
    await fleet.gone(DATASETS, "data")
    await fleet.gone(RUNTIMES["cache"], "data")
    assert not (host_files / f"{TIER.strip('/')}/{fleet.namespace}").exists()
    assert not (host_files / "var/lib/boundaryless/mounts" / fleet.namespace).exists()


async def test_mounts_of_a_cache_in_use_come_and_go(fleet: Fleet, described: Json) -> None:
    await fleet.secret()
    origin = fleet.store.client()
    for name in ("a", "b"):
        origin.put_object(Bucket="models", Key=f"class/{name}/file", Body=name.encode())

    def mounts(*names: str) -> list[Json]:
        one = fleet.dataset("data")["spec"]["mounts"][0]
        return [{**one, "mountPoint": f"s3://models/class/{n}", "name": n, "path": f"/{n}"} for n in names]

    await fleet.create(described, runtime(described, fleet))
    await fleet.create(fleet.object(DATASETS, "data", {"mounts": mounts("a")}))
    await fleet.phase(DATASETS, "data", "Bound")
    await fleet.client.patch(DATASETS, "data", {"spec": {"mounts": mounts("b")}}, fleet.namespace)
    await fleet.until(
        DATASETS,
        "data",
        lambda d: d["status"]["phase"] == "Bound" and [m["name"] for m in d["status"]["mounts"]] == ["b"],
        timeout=90,
    )
    command = ["python3", "/scripts/weed.py", "mount-sources"]
    said = await execute(fleet.client, fleet.namespace, "data-master-0", "weed", command, timeout=30)
    assert said.strip() == '{"mounted": ["/b"]}'
    await fleet.create(fleet.reader("data", "cat /models/b/file; echo; ls /models"))
    assert (await fleet.output("reader-data")).split() == ["b", "b"]


async def test_what_a_class_cannot_do_is_said_where_it_is_asked(fleet: Fleet, described: Json) -> None:
    described["dataOperationSpecs"].append({"name": "DataBackup", "command": ["weed"]})
    await fleet.secret()
    await fleet.create(described, fleet.dataset("data"), runtime(described, fleet))
    await fleet.phase(DATASETS, "data", "Bound")
    await fleet.create(fleet.backup("b", "local:///backups", dataset="data"))
    failed = await fleet.phase(BACKUPS, "b", "Failed")
    (told,) = [c for c in failed["status"]["conditions"] if c["type"] == "Failed"]
    assert "spec.dataset: CacheRuntimeClass" in told["message"]
    assert "dataOperationSpecs[1]: DataBackup is not supported" in told["message"]


async def test_workers_share_the_data_and_come_back_to_their_part(
    more_nodes: list[NodeProcess], node: NodeProcess, fleet: Fleet, described: Json
) -> None:
    """Two volume servers on two of three nodes: each has files of the load that the other has not."""
    await fleet.secret()
    origin = fleet.store.client()
    files = {f"shard-{n:02}": os.urandom(2_000_000 + n) for n in range(24)}
    for path, content in files.items():
        origin.put_object(Bucket="models", Key=f"spread/{path}", Body=content)
    await fleet.create(described, runtime(described, fleet, replicas=1))
    await fleet.create(fleet.dataset("data", source="s3://models/spread"))
    await fleet.phase(DATASETS, "data", "Bound")

    # A second one joins by the field that users scale by, before there is anything to share.
    change = {"spec": {"worker": {"replicas": 2}}}
    await fleet.client.patch(RUNTIMES["cache"], "data", change, fleet.namespace)
    await fleet.until(RUNTIMES["cache"], "data", lambda r: r["status"]["worker"].get("readyReplicas") == 2)
    await fleet.until(
        DATASETS, "data", lambda d: (d["status"].get("numbers") or {}).get("capacityBytes") == 4 << 30
    )
    await asyncio.to_thread(make_volumes, await fleet.client.get(PODS, "data-master-0", fleet.namespace))
    await fleet.create(fleet.load("data"))
    await fleet.phase(DATALOADS, "data", "Complete")
    size = sum(map(len, files.values()))

    def all_cached(dataset: Json) -> bool:
        return bool((dataset["status"].get("numbers") or {}).get("cachedBytes", 0) >= size)

    await fleet.until(DATASETS, "data", all_cached)
    held = {each.name: volumes(each, fleet.namespace) for each in (node, *more_nodes)}
    sharing = {name: there for name, there in held.items() if there}
    assert len(sharing) == 2, held
    assert all(there < size for there in sharing.values()), "each a part"
    assert sum(sharing.values()) >= size

    for path in files:  # what is read now can come from the workers only
        origin.delete_object(Bucket="models", Key=f"spread/{path}")
    await fleet.create(fleet.reader("data", "cd /models && sha256sum *"))
    expected = {f"{hashlib.sha256(content).hexdigest()}  {path}" for path, content in files.items()}
    assert set((await fleet.output("reader-data")).splitlines()) == expected
    await fleet.delete(PODS, "reader-data")

    lost = await fleet.client.get(PODS, "data-worker-0", fleet.namespace)
    await fleet.delete(PODS, "data-worker-0")
    back = await fleet.until(PODS, "data-worker-0", lambda p: is_another(p, lost) and is_ready(p))
    assert back["spec"]["nodeName"] == lost["spec"]["nodeName"], "where its part is"
    await fleet.create(fleet.reader("data", "cd /models && sha256sum *"))
    assert set((await fleet.output("reader-data")).splitlines()) == expected


def make_volumes(master: Json) -> None:
    """Three on each worker, before there are any: SeaweedFS would throw dice for where they are."""
    at = f"http://{master['status']['podIP']}:9333"
    with urllib.request.urlopen(f"{at}/dir/status", timeout=60) as answer:
        centers = json.load(answer)["Topology"]["DataCenters"]
    for server in (n for center in centers for rack in center["Racks"] for n in rack["DataNodes"]):
        with urllib.request.urlopen(f"{at}/vol/grow?count=3&dataNode={server['Url']}", timeout=30) as answer:
            assert json.load(answer)["count"] == 3


def volumes(node: NodeProcess, namespace: str) -> int:
    """Bytes of a worker's volumes on a node."""
    directory = node.host / TIER.strip("/") / namespace
    return sum(path.stat().st_size for path in directory.rglob("*.dat")) if directory.exists() else 0


def is_another(pod: Json, before: Json) -> bool:
    return bool(pod["metadata"]["uid"] != before["metadata"]["uid"])


def is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
