"""File systems of JuiceFS with their metadata in a file, Redis or PostgreSQL: made, filled, warmed, limited.

Everything is real: juicefs, the metadata engines, the bucket.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon_framework.api.core import PODS
from addon_framework.api.meta import Json
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, RUNTIMES, Fleet
from tests.integration.cache_runtime.metadata_engines import ENGINES, PASSWORD, missing, running

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root"),
    pytest.mark.timeout(240),
]
FILES = {"config.json": b"{}", "sub/weights": os.urandom(3_000_000)}
SUMS = "cd /models && sha256sum config.json sub/weights"


@pytest.fixture(params=ENGINES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of the metadata."""
    if said := missing(request.param):
        pytest.skip(f"{said} is not installed")
    with running(request.param, tmp_path) as url:
        yield url


def volume(fleet: Fleet) -> str:
    """The name of the file system, which is its directory of the bucket."""
    return f"files-{fleet.namespace}"


def blocks(fleet: Fleet) -> int:
    """How many there are."""
    listed = fleet.store.client().list_objects_v2(Bucket="models", Prefix=f"{volume(fleet)}/chunks/")
    return int(listed["KeyCount"])


def dataset(fleet: Fleet, name: str, where: str = "", options: Json | None = None, *, write: bool) -> Json:
    """A directory of the file system, as users of Fluid write it."""
    keys = {"metaurl": "metaurl", "access-key": "accessKeyId", "secret-key": "secretAccessKey"}
    mount = {
        "mountPoint": f"juicefs:///{where}",
        "name": volume(fleet),
        "options": {"storage": "minio", "bucket": f"{fleet.store.endpoint}/models", **(options or {})},
        "encryptOptions": [
            {"name": option, "valueFrom": {"secretKeyRef": {"name": "keys", "key": key}}}
            for option, key in keys.items()
        ],
    }
    modes = ["ReadWriteMany" if write else "ReadOnlyMany"]
    return fleet.object(
        DATASETS,
        name,
        {
            "mounts": [mount],
            "accessModes": modes,
        },
    )


def runtime(fleet: Fleet, name: str, **annotations: str) -> Json:
    """With the node's directory in which a file of metadata would be."""
    made = fleet.runtime(
        "juicefs",
        name,
        fuse={"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]},
        volumes=[{"name": "shared", "hostPath": {"path": "/shared", "type": "DirectoryOrCreate"}}],
    )
    made["metadata"]["annotations"] = annotations
    return made


def seen_in_arguments(secret: str) -> list[str]:
    """Processes of this machine that show it to everybody."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            try:
                arguments = (process / "cmdline").read_bytes()
            except OSError:
                continue
            found += [process.name] if secret.encode() in arguments else []
    return found


def juicefs(fleet: Fleet, address: str, *command: str) -> str:
    """What the program says, asked from outside."""
    shared = fleet.host / "shared"
    program = Path(sys.executable).parent / "juicefs"
    url = address.replace("/shared/", f"{shared}/")
    done = subprocess.run(
        [program, *command[:2], url, *command[2:]], check=True, capture_output=True, text=True
    )
    return done.stdout


async def test_made_filled_warmed_and_limited(fleet: Fleet, address: str) -> None:
    await fleet.secret(metaurl=address)
    await fleet.create(dataset(fleet, "all", write=True), runtime(fleet, "all"))
    await fleet.phase(DATASETS, "all", "Bound")
    for path, content in FILES.items():
        (fleet.host / "incoming" / path).parent.mkdir(parents=True, exist_ok=True)
        (fleet.host / "incoming" / path).write_bytes(content)
    writer = fleet.reader("all", "mkdir -p /models/llama && cp -r /incoming/. /models/llama/ && sync")
    for each in (writer["spec"]["containers"][0]["volumeMounts"][0], writer["spec"]["volumes"][0]):
        (each.get("persistentVolumeClaim") or each).pop("readOnly")
    incoming = {"name": "incoming", "hostPath": {"path": "/incoming", "type": "Directory"}}
    writer["spec"]["volumes"].append(incoming)
    mounted = {"name": "incoming", "mountPath": "/incoming"}
    writer["spec"]["containers"][0]["volumeMounts"].append(mounted)
    await fleet.create(writer)
    await fleet.output("reader-all")
    assert blocks(fleet) > 0

    # A volume that exists: one directory of it, of which the cache is filled by a warm-up.
    await fleet.create(dataset(fleet, "llama", "llama", {"quota": "1Gi"}, write=False))
    await fleet.create(runtime(fleet, "llama"))
    await fleet.phase(DATASETS, "llama", "Bound")
    assert not seen_in_arguments(PASSWORD)
    assert "1.0 GiB" in juicefs(fleet, address, "quota", "get", "--path", "/llama")
    await fleet.create(fleet.load("llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")
    size = sum(map(len, FILES.values()))

    def told(dataset: Json) -> bool:
        numbers = dataset["status"].get("numbers") or {}
        return numbers.get("cachedBytes", 0) >= size and "sourceBytes" in numbers

    known = (await fleet.until(DATASETS, "llama", told))["status"]
    assert size <= known["numbers"]["sourceBytes"] < size + 100_000, "in blocks of 4 KiB, as JuiceFS counts"
    assert float(known["cacheStates"]["cachedPercentage"].rstrip("%")) > 95
    await fleet.create(fleet.reader("llama", SUMS))
    assert len((await fleet.output("reader-llama")).splitlines()) == 2
    for name in ("all", "llama"):
        await fleet.delete(PODS, f"reader-{name}")
        await fleet.delete(DATASETS, name)
        await fleet.gone(RUNTIMES["juicefs"], name)
    assert blocks(fleet) > 0, "what users have is not the cache's"


@pytest.mark.parametrize("address", ["redis"], indirect=True)
async def test_a_gateway_speaks_s3(address: str, fleet: Fleet) -> None:
    """The metadata are there until the Dataset has gone: without them clients do not end by themselves."""
    import boto3

    keys = {"MINIO_ROOT_USER": "gateway", "MINIO_ROOT_PASSWORD": "gateway-secret"}
    await fleet.secret(metaurl=address, **keys)
    annotation = {"data.boundaryless.io/gateway": "keys"}
    await fleet.create(dataset(fleet, "all", write=True), runtime(fleet, "all", **annotation))
    await fleet.phase(DATASETS, "all", "Bound")
    endpoint = f"all-gateway.{fleet.namespace}:9000"
    status = (await fleet.client.get(RUNTIMES["juicefs"], "all", fleet.namespace))["status"]
    assert status["apiGateway"]["endpoint"] == endpoint
    pod = await fleet.client.get(PODS, "all-gateway-0", fleet.namespace)
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{pod['status']['podIP']}:9000",
        region_name="us-east-1",
        aws_access_key_id="gateway",
        aws_secret_access_key="gateway-secret",
    )
    client.put_object(Bucket=volume(fleet), Key="by/s3", Body=b"one file, two ways")
    await fleet.create(fleet.reader("all", "cat /models/by/s3"))
    assert (await fleet.output("reader-all")).strip() == "one file, two ways"
