"""An AlluxioRuntime from nothing to a pod that reads, and back. Alluxio itself cannot be had here.

Its image is a program that speaks its commands (tests/standins/alluxio.py) and, for its client,
a real FUSE mount by rclone. What is ours is real: pods, services, ports, commands in pods, status.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from addon_framework.api.core import PODS, SERVICES
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError
from addon_framework.kube.execute import ExecuteError, execute
from addon_framework.local.node.config import Image
from addon_framework.testing import eventually
from tests.integration.cache_runtime.conftest import INSTALL_NAMESPACE
from tests.integration.cache_runtime.fleet import BACKUPS, DATALOADS, DATASETS, RUNTIMES, Fleet
from tests.standins.installing import FILES, install

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
ENTRY_POINT = """#!/bin/sh
case "$1" in
  master-only) exec alluxio serve ;;
  fuse) exec rclone mount "$HOME_OF_ALLUXIO/files" "$3" --allow-other --read-only ;;
  *) exec sleep 100000 ;;
esac
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the image."""
    home = tmp_path_factory.mktemp("alluxio")
    (home / "files").mkdir()
    (home / "files" / "hello").write_text("from Alluxio")
    install(home, "alluxio", "alluxio")
    (home / "entrypoint.sh").write_text(ENTRY_POINT)
    (home / "entrypoint.sh").chmod(0o755)
    return home


@pytest.fixture(scope="module")
def more_images(home: Path) -> dict[str, Image]:
    """Alluxio's."""
    env = {"HOME_OF_ALLUXIO": str(home), "ALLUXIO_HOME": "/tmp", "ALLUXIO_BACKUPS": "/alluxio_backups"}
    root = {"/entrypoint.sh": str(home / "entrypoint.sh")}
    path = [str(home), f"{sys.prefix}/bin"]
    return {"alluxio/alluxio-dev": Image(path=path, env=env, files=[str(home), *FILES], root=root)}


def mount(fleet: Fleet, name: str) -> Json:
    """A prefix of the bucket, with the option by which Alluxio knows the endpoint."""
    made = fleet.dataset(name)["spec"]["mounts"][0]
    options = {"alluxio.underfs.s3.endpoint": fleet.store.endpoint}
    return {**made, "mountPoint": f"s3://models/{name}", "path": f"/{name}", "options": options}


def runtime(fleet: Fleet) -> Json:
    """With one worker, and a tier of the node."""
    level = {"mediumtype": "SSD", "path": "/var/lib/boundaryless/cache", "quota": "1Gi"}
    return fleet.object(RUNTIMES["alluxio"], "data", {"replicas": 1, "tieredstore": {"levels": [level]}})


async def state(fleet: Fleet) -> Json:
    """What the master knows: its mounts, and what it was asked."""
    where = (fleet.client, fleet.namespace, "data-master-0", "alluxio-master")
    answer: Json = json.loads(await execute(*where, ["alluxio", "state"], timeout=20))
    return answer


async def may_execute(fleet: Fleet, namespace: str) -> bool:
    """Whether the agent may run commands in a namespace's pods."""
    asked = {"namespace": namespace, "resource": "pods", "subresource": "exec", "verb": "create"}
    user = f"system:serviceaccount:{INSTALL_NAMESPACE}:cache-runtime-agent"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": asked},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool((await fleet.client.request("POST", path, body=review))["status"]["allowed"])


async def refused(fleet: Fleet) -> bool:
    return not await may_execute(fleet, fleet.namespace)


async def mounted(fleet: Fleet, *paths: str) -> bool:
    """Whether these are, in a master's first life or a later one."""
    return sorted((await state(fleet))["mounts"]) == sorted(paths)


async def test_from_nothing_to_a_pod_that_reads(fleet: Fleet, host_files: Path) -> None:
    await fleet.secret()
    for name, content in (("a", b"12345"), ("b", b"67"), ("c", b"8")):
        fleet.store.client().put_object(Bucket="models", Key=f"{name}/file", Body=content)
    dataset = fleet.object(DATASETS, "data", {"mounts": [mount(fleet, "a"), mount(fleet, "b")]})
    await fleet.create(dataset, runtime(fleet))
    bound = await fleet.phase(DATASETS, "data", "Bound")
    assert [m["mountPoint"] for m in bound["status"]["mounts"]] == ["s3://models/a", "s3://models/b"]
    service = await fleet.client.get(SERVICES, "data-master-0", fleet.namespace)
    rpc = next(port["port"] for port in service["spec"]["ports"] if port["name"] == "rpc")
    assert rpc >= 20000
    assert bound["status"]["hcfs"]["endpoint"] == f"alluxio://data-master-0.{fleet.namespace}:{rpc}"
    assert await mounted(fleet, "/", "/a", "/b")

    def told(obj: Json) -> bool:
        states = obj["status"].get("cacheStates") or {}
        return (states.get("cached"), states.get("cacheCapacity")) == ("512.00MiB", "2.00GiB")

    await fleet.until(DATASETS, "data", told)
    assert await may_execute(fleet, fleet.namespace)
    assert not await may_execute(fleet, "default"), "where no cache needs it"

    await fleet.until(DATASETS, "data", lambda d: d["status"].get("ufsTotal") == "7.00B")

    # Mounts of a Dataset in use come and go.
    change = {"spec": {"mounts": [mount(fleet, "b"), mount(fleet, "c")]}}
    await fleet.client.patch(DATASETS, "data", change, fleet.namespace)
    await fleet.until(
        DATASETS,
        "data",
        lambda d: (
            [m["mountPoint"] for m in d["status"]["mounts"]] == ["s3://models/b", "s3://models/c"]
            and d["status"]["phase"] == "Bound"
        ),
    )
    assert await mounted(fleet, "/", "/b", "/c")

    # A master that starts again knows no sources until they are mounted again.
    before = (await fleet.client.get(PODS, "data-master-0", fleet.namespace))["metadata"]["uid"]
    await fleet.client.delete(PODS, "data-master-0", fleet.namespace)
    await fleet.until(PODS, "data-master-0", lambda pod: pod["metadata"]["uid"] != before)
    again = (ApiError, ExecuteError)
    await eventually(lambda: mounted(fleet, "/", "/b", "/c"), interval=0.5, swallow=again)

    await fleet.create(fleet.load("data", target=[{"path": "/b", "replicas": 1}], loadMetadata=True))
    await fleet.phase(DATALOADS, "data", "Complete")
    asked = [" ".join(words) for words in (await state(fleet))["log"]]
    assert "fs distributedLoad --replication 1 /b" in asked
    assert "fs ls -Dalluxio.user.file.metadata.sync.interval=0 -R /b" in asked

    await fleet.create(fleet.reader("data", "cat /models/hello"))
    assert (await fleet.output("reader-data")).strip() == "from Alluxio"
    await fleet.delete(PODS, "reader-data")
    await fleet.delete(DATASETS, "data")
    await fleet.gone(DATASETS, "data")
    await fleet.gone(RUNTIMES["alluxio"], "data")
    await eventually(lambda: refused(fleet))
    assert not (host_files / "var/lib/boundaryless/cache" / fleet.namespace).exists()


async def test_a_dataset_begins_from_the_backup_of_another(fleet: Fleet, host_files: Path) -> None:
    # What only Alluxio can list, so that the numbers are its own.
    source = {"mountPoint": "oss://bucket/a", "name": "a", "path": "/a"}
    dataset = fleet.object(DATASETS, "data", {"mounts": [source]})
    await fleet.create(dataset, runtime(fleet), fleet.backup("b", "local:///backups", dataset="data"))
    done = await fleet.phase(BACKUPS, "b", "Complete")
    node = done["status"]["infos"]["BackupLocationNodeName"]
    kept = host_files / "backups" / f"metadata-backup-data-{fleet.namespace}.gz"
    assert kept.read_bytes() == b"journal"
    await fleet.delete(DATASETS, "data")
    await fleet.gone(DATASETS, "data")

    dataset["spec"]["dataRestoreLocation"] = {"path": "local:///backups", "nodeName": node}
    await fleet.create(dataset, runtime(fleet))
    there = await fleet.until(
        DATASETS, "data", lambda d: (d.get("status") or {}).get("ufsTotal") == "1.50KiB"
    )
    assert there["status"]["fileNum"] == "42"
    await fleet.phase(DATASETS, "data", "Bound")
