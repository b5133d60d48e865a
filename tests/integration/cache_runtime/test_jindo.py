"""A JindoRuntime from nothing to pods that read, and back. JindoCache itself cannot be had here.

Its images are programs that take its files, variables and commands (tests/standins/jindo.py says what was
looked for): a master, workers that read the S3 server and keep what they have read, a client that is a real
FUSE mount by rclone. Pods, services, ports, commands in pods, bytes and numbers are real.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest

from addon_framework.api.core import PODS, SERVICES
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError
from addon_framework.kube.execute import ExecuteError, execute
from addon_framework.local.node.config import Image
from addon_framework.testing import eventually
from tests.integration.cache_runtime.clients import FILES as READ
from tests.integration.cache_runtime.clients import reading, survives_kills
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, RUNTIMES, Fleet
from tests.integration.cache_runtime.objectstore import ACCESS_KEY, SECRET_KEY
from tests.integration.node.cluster import NodeProcess
from tests.standins.installing import FILES, install

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
JINDO = RUNTIMES["jindo"]
KEYS = {"accessKeyId": "accessKeyId", "accessKeySecret": "secretAccessKey"}
UNMOUNTS = '#!/bin/sh\nexec umount -l "$FLUID_FUSE_MOUNTPOINT"\n'
MIB = 1 << 20
MODEL = {"one": random.Random(1).randbytes(MIB), "sub dir/two": random.Random(2).randbytes(2 * MIB)}


@pytest.fixture(scope="module")
def more_images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """Jindo's."""
    home = tmp_path_factory.mktemp("jindo")
    for name in ("jindo", "jindocache"):
        install(home, name, "jindo", name)
    stop = home / "prestop.sh"
    stop.write_text(UNMOUNTS)
    stop.chmod(0o755)
    root = {"/entrypoint.sh": install(home, "entrypoint.sh", "jindo", "entrypoint"), "/prestop.sh": str(stop)}
    made = Image(path=[str(home), f"{sys.prefix}/bin"], files=[str(home), *FILES], root=root)
    registry = "registry.cn-shanghai.aliyuncs.com/jindofs"
    return {f"{registry}/smartdata": made, f"{registry}/jindo-fuse": made}


def source(fleet: Fleet, name: str, files: dict[str, bytes], *, path: str = "", keys: bool = True) -> Json:
    """A mount of a prefix that has these files."""
    for file, content in files.items():
        fleet.store.client().put_object(Bucket="models", Key=f"jindo/{name}/{file}", Body=content)
    made: Json = {"mountPoint": f"s3://models/jindo/{name}", "name": name, "path": path or f"/{name}"}
    made["options"] = {"fs.s3.endpoint": fleet.store.endpoint}
    if keys:
        made["encryptOptions"] = [
            {"name": f"fs.s3.{option}", "valueFrom": {"secretKeyRef": {"name": "keys", "key": key}}}
            for option, key in KEYS.items()
        ]
    return made


async def bound(fleet: Fleet, *mounts: Json, runtime: Json | None = None) -> Json:
    """A Dataset of these mounts, once it is."""
    await fleet.secret(AccessKeyId=ACCESS_KEY, AccessKeySecret=SECRET_KEY)
    await fleet.create(fleet.object(DATASETS, "data", {"mounts": list(mounts)}))
    await fleet.create(runtime or fleet.runtime("jindo", "data"))
    return await fleet.phase(DATASETS, "data", "Bound")


def states(cached: str, percentage: str, capacity: str = "1.00GiB") -> Callable[[Json], bool]:
    """Whether a Dataset's are these."""
    wanted = {"cached": cached, "cachedPercentage": percentage, "cacheCapacity": capacity}

    def check(dataset: Json) -> bool:
        said: Any = dataset["status"].get("cacheStates")
        return bool(said == wanted)

    return check


async def master(fleet: Fleet) -> Json:
    """What it knows: its mounts, how they are cached, and what it was asked."""
    where = (fleet.client, fleet.namespace, "data-jindofs-master-0", "jindofs-master")
    answer: Json = json.loads(await execute(*where, ["jindocache", "state"], timeout=20))
    answer["log"] = [" ".join(words) for words in answer["log"]]
    return answer


async def test_from_nothing_to_a_pod_that_reads(fleet: Fleet) -> None:
    await bound(fleet, source(fleet, "a", MODEL))
    there = await fleet.until(DATASETS, "data", states("0.00B", "0.0%"))
    assert (there["status"]["ufsTotal"], there["status"]["fileNum"]) == ("3.00MiB", "2")
    service = await fleet.client.get(SERVICES, "data-jindofs-master-0", fleet.namespace)
    (rpc,) = (port["port"] for port in service["spec"]["ports"])
    assert there["status"]["hcfs"]["endpoint"] == f"data-jindofs-master-0.{fleet.namespace}:{rpc}"
    assert (await master(fleet))["sets"] == ["s3://models/jindo/a DISTRIBUTED"]

    await fleet.create(fleet.reader("data", "md5sum < /models/a/one; ls /models/a"))
    read, *listed = (await fleet.output("reader-data")).splitlines()
    assert (read.split()[0], listed) == (hashlib.md5(MODEL["one"]).hexdigest(), ["one", "sub dir"])
    await fleet.delete(PODS, "reader-data")
    await fleet.until(DATASETS, "data", states("1.00MiB", "33.3%"))

    await fleet.create(fleet.load("data", target=[{"path": "/a", "replicas": 1}], loadMetadata=True))
    await fleet.phase(DATALOADS, "data", "Complete")
    await fleet.until(DATASETS, "data", states("3.00MiB", "100.0%"))
    asked = (await master(fleet))["log"]
    assert "jindocache -load -meta -data -s -R -replica 1 jindo:///a" in asked
    await fleet.gone(PODS, "reader-data")
    await fleet.ends("jindo", "data")


async def test_mounts_of_a_dataset_in_use_come_and_go(fleet: Fleet) -> None:
    x, y, z = (source(fleet, name, {"file": name.encode()}) for name in "xyz")
    await bound(fleet, x, y)
    sees = "until cat /models/z/file 2>&-; do sleep 0.2; done; while [ -e /models/x ]; do sleep 0.2; done"
    await fleet.create(fleet.reader("data", sees))
    await fleet.until(PODS, "reader-data", lambda pod: (pod.get("status") or {}).get("phase") == "Running")

    async def mounted() -> bool:
        return (await master(fleet))["mounts"] == {f"/{name}": f"s3://models/jindo/{name}" for name in "yz"}

    await fleet.client.patch(DATASETS, "data", {"spec": {"mounts": [y, z]}}, fleet.namespace)
    await fleet.until(
        DATASETS,
        "data",
        lambda d: (
            [m["name"] for m in d["status"]["mounts"]] == ["y", "z"] and d["status"]["phase"] == "Bound"
        ),
    )
    assert await mounted()
    assert (await fleet.output("reader-data")).strip() == "z"
    await fleet.until(DATASETS, "data", lambda d: d["status"]["ufsTotal"] == "2.00B")

    # A master that starts again knows no sources until they are mounted again.
    before = (await fleet.client.get(PODS, "data-jindofs-master-0", fleet.namespace))["metadata"]["uid"]
    await fleet.client.delete(PODS, "data-jindofs-master-0", fleet.namespace)
    await fleet.until(PODS, "data-jindofs-master-0", lambda pod: pod["metadata"]["uid"] != before)
    await eventually(mounted, interval=0.5, swallow=(ApiError, ExecuteError))


async def test_memory_is_loaded_and_what_nobody_else_can_list_is_counted(fleet: Fleet) -> None:
    runtime = fleet.runtime("jindo", "data", secret="keys")  # Jindo's own keys, for all its mounts
    runtime["spec"]["tieredstore"] = {"levels": [{"mediumtype": "MEM", "path": "/dev/shm", "quota": "1Gi"}]}
    await bound(fleet, source(fleet, "a", MODEL, keys=False), runtime=runtime)
    await fleet.create(fleet.load("data"))
    await fleet.phase(DATALOADS, "data", "Complete")
    there = await fleet.until(DATASETS, "data", states("3.00MiB", "100.0%"))
    assert (there["status"]["ufsTotal"], there["status"]["fileNum"]) == ("3.00MiB", "2")
    await fleet.ends("jindo", "data")
    assert not (fleet.host / "dev/shm" / fleet.namespace).exists()


async def test_clients_without_a_cache_read_the_source(fleet: Fleet) -> None:
    off = {"disabled": True}
    runtime = fleet.runtime("jindo", "data", master=off, worker=off)
    there = await bound(fleet, source(fleet, "a", MODEL, path="/"), runtime=runtime)
    assert "hcfs" not in there["status"]
    await fleet.create(fleet.reader("data", "md5sum < '/models/sub dir/two'"))
    assert (await fleet.output("reader-data")).split()[0] == hashlib.md5(MODEL["sub dir/two"]).hexdigest()


async def test_a_killed_client_comes_back_under_its_users(fleet: Fleet) -> None:
    await bound(fleet, source(fleet, "deep", READ, path="/"))
    reader = await reading(fleet, "data")
    await survives_kills(fleet, reader, "data", "rclone")


async def test_workers_come_and_go(more_nodes: list[NodeProcess], fleet: Fleet) -> None:
    runtime = fleet.runtime("jindo", "data", networkmode="ContainerNetwork")
    await bound(fleet, source(fleet, "a", MODEL), runtime=runtime)
    await fleet.until(DATASETS, "data", states("0.00B", "0.0%"))
    for replicas, capacity in ((2, "2.00GiB"), (1, "1.00GiB")):
        scaled = {"spec": {"replicas": replicas}}
        await fleet.client.patch(JINDO, "data", scaled, fleet.namespace, subresource="scale")
        await fleet.until(JINDO, "data", lambda r, n=replicas: r["status"].get("workerNumberReady") == n)
        await fleet.until(
            DATASETS, "data", lambda d, c=capacity: d["status"]["cacheStates"].get("cacheCapacity") == c
        )
        if replicas == 2:
            await fleet.create(fleet.load("data", target=[{"path": "/", "replicas": 2}]))
            await fleet.phase(DATALOADS, "data", "Complete")
            await fleet.until(
                DATASETS, "data", lambda d: d["status"]["cacheStates"].get("cached") == "6.00MiB"
            )
    await fleet.until(DATASETS, "data", states("3.00MiB", "100.0%"))
