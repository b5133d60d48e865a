"""An EFCRuntime from nothing to pods that read, and back. EFC itself cannot be had here.

Its images are a program that takes their arguments and files (tests/standins/efc.py): workers that keep what
clients bring, a client that is a real FUSE mount by rclone. A directory plays the NAS, and nobody the session
manager that EFC's clients need on their nodes. Pods, services, ports, endpoints and bytes are real.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from addon_framework.api.core import PODS
from addon_framework.api.meta import Json
from addon_framework.kube.execute import ExecuteError, execute
from addon_framework.local.node.config import Image
from addon_framework.testing import eventually
from tests.integration.cache_runtime.clients import FILES as READ
from tests.integration.cache_runtime.clients import reading, survives_kills
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, RUNTIMES, Fleet
from tests.integration.node.cluster import NodeProcess
from tests.standins.installing import FILES, install

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
EFC = RUNTIMES["efc"]
HOST = "id-x.cn-hangzhou.nas.aliyuncs.com"
SESSIONS = "runtime-mnt/efc-sock"
CACHE = "var/lib/boundaryless/cache"


@pytest.fixture(scope="module")
def nas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of it."""
    made = tmp_path_factory.mktemp("nas") / HOST / "share"
    for name, content in READ.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    return made


@pytest.fixture(scope="module")
def more_images(tmp_path_factory: pytest.TempPathFactory, nas: Path) -> dict[str, Image]:
    """EFC's. The master's program is called master.py, by which its probe knows it."""
    home = tmp_path_factory.mktemp("efc")
    entry = install(home, "entrypoint.sh", "efc")
    (home / "master.py").write_text("from tests.standins.efc import main; import sys; main(sys.argv[1:])")
    root, files = nas.parents[1], [str(home), str(nas.parents[1]), *FILES]
    image = Image(
        path=[str(home), f"{sys.prefix}/bin"], files=files, root={"/entrypoint.sh": entry},
        env={"EFC_NAS": str(root), "EFC_MASTER": str(home / "master.py")},
    )  # fmt: skip
    registry = "registry.cn-zhangjiakou.aliyuncs.com/nascache"
    return {f"{registry}/efc-{part}": image for part in ("master", "worker", "fuse")}


async def bound(fleet: Fleet, **spec: Json | str) -> None:
    """A Dataset of the NAS, once it is."""
    (fleet.host / SESSIONS).mkdir(parents=True, exist_ok=True)
    await fleet.create(fleet.object(DATASETS, "data", {"mounts": [{"mountPoint": f"nfs://{HOST}:/share"}]}))
    await fleet.create(fleet.runtime("efc", "data", **spec))
    await fleet.phase(DATASETS, "data", "Bound")


def kept(host: Path, namespace: str) -> list[str]:
    """Files that the worker of a node keeps."""
    return sorted(path.name for path in (host / CACHE / namespace / "data").iterdir())


async def known(fleet: Fleet, workers: int) -> bool:
    """Whether every client has the addresses of so many."""
    selector = "data.boundaryless.io/role=client"
    for pod in (await fleet.client.list(PODS, fleet.namespace, label_selector=selector))["items"]:
        where = (fleet.client, fleet.namespace, pod["metadata"]["name"], "efc-fuse")
        said = await execute(*where, ["cat", "/etc/efc/efc-worker-endpoints.json"], timeout=20)
        if len(json.loads(said)["containerendpoints"]) != workers:
            return False
    return True


async def test_from_nothing_to_a_pod_that_reads(fleet: Fleet) -> None:
    await bound(fleet)
    await eventually(lambda: known(fleet, 1), interval=0.5, swallow=ExecuteError)
    assert kept(fleet.host, fleet.namespace) == []
    await fleet.create(fleet.reader("data", "cat /models/deep/b.txt"))
    assert (await fleet.output("reader-data")).strip() == READ["deep/b.txt"].decode()
    assert kept(fleet.host, fleet.namespace) == ["%2Fdeep%2Fb.txt"]
    await fleet.delete(PODS, "reader-data")

    await fleet.create(fleet.load("data"))
    failed = await fleet.phase(DATALOADS, "data", "Failed")
    assert failed["status"]["conditions"][0]["reason"] == "DataOperationNotSupport"
    await fleet.gone(PODS, "reader-data")
    await fleet.ends("efc", "data")


async def test_a_killed_client_comes_back_under_its_users(fleet: Fleet) -> None:
    await bound(fleet)
    reader = await reading(fleet, "data")
    await survives_kills(fleet, reader, "data", "rclone")


async def test_clients_follow_workers_that_come_and_go(
    more_nodes: list[NodeProcess], fleet: Fleet, node: NodeProcess, nas: Path
) -> None:
    for each in more_nodes:
        (each.host / SESSIONS).mkdir(parents=True)
    await bound(fleet, worker={"networkMode": "ContainerNetwork"})
    script = "while true; do find /models/more -type f | xargs -r cat; sleep 0.2; done"
    await fleet.create(fleet.reader("data", script))
    await fleet.until(PODS, "reader-data", lambda pod: (pod.get("status") or {}).get("phase") == "Running")
    hosts = [each.host for each in (node, *more_nodes)]
    for replicas in (2, 1):
        scaled = {"spec": {"replicas": replicas}}
        await fleet.client.patch(EFC, "data", scaled, fleet.namespace, subresource="scale")
        await fleet.until(EFC, "data", lambda r, n=replicas: r["status"].get("workerNumberReady") == n)
        if replicas == 1:
            await fleet.gone(PODS, "data-worker-1")
        await eventually(lambda n=replicas: known(fleet, n), interval=0.5, swallow=ExecuteError)
        (nas / "more").mkdir(exist_ok=True)
        names = {f"of-{replicas}-{number}" for number in range(32)}  # of which each worker gets its part
        for name in names:
            (nas / "more" / name).write_text("12345")

        async def spread(count: int = replicas, names: set[str] = names) -> bool:
            places = [host for host in hosts if (host / CACHE / fleet.namespace / "data").exists()]
            held = [{n.removeprefix("%2Fmore%2F") for n in kept(h, fleet.namespace)} & names for h in places]
            return len([each for each in held if each]) == count and set[str]().union(*held) == names

        await eventually(spread, swallow=FileNotFoundError)
