"""CephFS by a ThinRuntimeProfile as Fluid's add-on writes it: the cluster and ceph-fuse are real."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest

from addon_framework.api.core import PODS
from addon_framework.api.data import ThinRuntimeProfile
from addon_framework.api.meta import Json
from addon_framework.local.node.config import Image
from tests.integration.cache_runtime.ceph import PACKAGES, Ceph, missing
from tests.integration.cache_runtime.fleet import DATASETS, Fleet
from tests.integration.cache_runtime.test_backends import SUMS

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root"),
    pytest.mark.skipif(
        bool(missing()),
        reason=f"{', '.join(missing())}: not installed; apt-get install --no-install-recommends {PACKAGES}",
    ),
]
PROFILE = "cephfs-of-tests"
OPTIONS = ("fsid", "mon_host", "auth_client_required")
# What the image of Fluid's add-on does: its configuration from the Dataset's mount, then the client.
ENTRYPOINT = """#!/usr/bin/python3
import json, os, sys
config = json.load(open("/etc/fluid/config/config.json"))
options = config["mounts"][0]["options"]
home = os.environ["CEPH_HOME"]
key = open(options.pop("key")).read()
with open(f"{home}/ceph.conf", "w") as conf:
    conf.write("[global]\\n" + "".join(f"{name} = {value}\\n" for name, value in options.items()))
with open(f"{home}/keyring", "w") as keyring:
    keyring.write(f"[client.admin]\\nkey = {key}\\n")
os.makedirs(config["targetPath"], exist_ok=True)
arguments = ["-f", "-c", f"{home}/ceph.conf", "-k", f"{home}/keyring", "-n", "client.admin"]
arguments += [f"--run-dir={home}", f"--log-file={home}/log", f"--admin-socket={home}/asok"]
os.execvp("ceph-fuse", ["ceph-fuse", *arguments, config["targetPath"], "-o", os.environ["MOUNT_OPTIONS"]])
"""


@pytest.fixture(scope="module")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """With a cluster of its own."""
    made = Ceph(tmp_path_factory.mktemp("ceph"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def more_images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """What Fluid calls baowj/cephfs."""
    home = tmp_path_factory.mktemp("cephfs-image")
    entrypoint = home / "entrypoint"
    entrypoint.write_text(ENTRYPOINT)
    entrypoint.chmod(0o755)
    path = [str(home), "/usr/bin", "/bin"]
    return {"baowj/cephfs": Image(path=path, files=[str(home)])}


def profile() -> Json:
    """The shape of Fluid's."""
    fuse = {
        "image": "baowj/cephfs",
        "imageTag": "v0.1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["entrypoint"],
        "env": [{"name": "CEPH_HOME", "value": "/run/cephfs"}],
        "options": {"allow_other": ""},
        "volumeMounts": [{"name": "home", "mountPath": "/run/cephfs"}],
    }
    return {
        "apiVersion": ThinRuntimeProfile.RESOURCE.api_version,
        "kind": ThinRuntimeProfile.RESOURCE.kind,
        "metadata": {"name": PROFILE},
        "spec": {
            "fileSystemType": "ceph-fuse",
            "fuse": fuse,
            "volumes": [{"name": "home", "emptyDir": {"medium": "Memory"}}],
        },
    }


def dataset(fleet: Fleet, ceph: Ceph) -> Json:
    """The key comes from a Secret."""
    values = {"fsid": ceph.fsid, "mon_host": ceph.mon_host, "auth_client_required": "cephx"}
    mount = {
        "mountPoint": "ceph://127.0.0.1",
        "name": "ceph",
        "path": "/",
        "options": {name: values[name] for name in OPTIONS},
        "encryptOptions": [
            {"name": "key", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "cephKey"}}},
        ],
    }
    return fleet.object(DATASETS, "llama", {"mounts": [mount], "accessModes": ["ReadOnlyMany"]})


async def test_a_pod_reads_what_is_in_cephfs(fleet: Fleet, ceph: Ceph, model: dict[str, bytes]) -> None:
    ceph.write(model)
    await fleet.secret(cephKey=ceph.key)
    await fleet.create(profile())
    try:
        runtime = fleet.runtime("thin", "llama", profileName=PROFILE)
        await fleet.create(dataset(fleet, ceph), runtime)
        await fleet.phase(DATASETS, "llama", "Bound")
        pods = (await fleet.client.list(PODS, fleet.namespace))["items"]
        assert ceph.key not in str(pods)

        await fleet.create(fleet.reader("llama", f"{SUMS}; touch /models/new 2>&1 || true"))
        *lines, refused = (await fleet.output("reader-llama")).splitlines()
        seen = {line[34:].removeprefix("./"): line[:32] for line in lines}
        assert seen == {path: hashlib.md5(content).hexdigest() for path, content in model.items()}
        assert "Read-only file system" in refused
        await fleet.delete(PODS, "reader-llama")
        await fleet.ends("thin", "llama")
    finally:
        await fleet.delete(ThinRuntimeProfile.RESOURCE, PROFILE)
