"""The program that copies a bucket into a JuiceFS volume of the node, on a disk that is full."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon_framework.api.data import DataLoad
from addon_framework.api.meta import Json, from_dict
from runtimes.interface import Cache
from runtimes.juicefs import JuiceFSBackend
from tests.integration.cache_runtime.disks import small_disk
from tests.integration.cache_runtime.faultyproxy import Asked, faulty
from tests.integration.cache_runtime.objectstore import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectStore

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
MIB = 1 << 20
KEYS = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", mib=64) as directory:
        yield directory


def loader(endpoint: str, disk: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment of the DataLoad's container."""
    named = (("aws.accessKeyId", "accessKeyId"), ("aws.secretKey", "secretAccessKey"))
    options = [
        {"name": option, "valueFrom": {"secretKeyRef": {"name": "keys", "key": key}}} for option, key in named
    ]
    mount: Json = {"mountPoint": f"s3://{BUCKET}/full", "options": {"endpoint": endpoint}}
    head = {"metadata": {"name": "full", "namespace": "tests"}}
    dataset = {**head, "spec": {"mounts": [{**mount, "name": "full", "encryptOptions": options}]}}
    level = {"mediumtype": "SSD", "path": str(disk), "quota": "1Gi"}
    runtime = {**head, "kind": "JuiceFSRuntime", "spec": {"tieredstore": {"levels": [level]}}}
    load = from_dict(DataLoad, {**head, "spec": {"dataset": {"name": "full"}}})
    task = JuiceFSBackend().warm(Cache.of(dataset, runtime, image=""), load)
    (container,) = task.pod["containers"]
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for entry in container["env"]:
        reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
        environment[entry["name"]] = KEYS[reference["key"]] if reference else entry.get("value", "")
    return container["command"], environment


def test_a_store_that_is_gone_is_told_to_the_last_word(disk: Path) -> None:
    command, environment = loader("http://127.0.0.1:9", disk)
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    told = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")][-1]
    assert (told["report"], ended.returncode) == ("failed", 1)
    assert "http://127.0.0.1:9/" in told["message"]
    assert "connect: connection refused" in told["message"]


def last_word(command: list[str], environment: dict[str, str]) -> Json:
    """Of a load that ends."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("report") in ("done", "failed"):
                return said  # what runs beside it lives until it is waited for
    raise AssertionError("it said nothing")


def test_a_bucket_that_changes_while_it_is_copied_is_copied_again(store: ObjectStore, disk: Path) -> None:
    client = store.client()
    for name in "abc":
        client.put_object(Bucket=BUCKET, Key=f"full/{name}", Body=b"old")

    def rule(asked: Asked) -> None:
        if asked.method == "GET" and "full/" in asked.path and not changed:
            changed.append(asked.path)
            client.delete_object(Bucket=BUCKET, Key="full/a")
            for name in "bc":
                at = {"Bucket": BUCKET, "Key": f"full/{name}"}
                before = client.head_object(**at)["LastModified"]
                while client.head_object(**at)["LastModified"] == before:  # which is in whole seconds
                    client.put_object(**at, Body=b"newer")

    changed: list[str] = []
    with faulty(store.endpoint) as proxy:
        command, environment = loader(proxy.endpoint, disk)
        told = []
        for proxy.rule in (rule, lambda asked: None):
            told.append(last_word(command, environment))
    assert changed
    assert told[0]["report"] == "failed"
    assert (told[1]["report"], told[1]["bytes"], told[1]["total"]) == ("done", 10, 10)
    assert (told[1]["files"], told[1]["totalFiles"]) == (2, 2)
    for name in "bc":
        client.delete_object(Bucket=BUCKET, Key=f"full/{name}")


def test_a_full_disk_is_told_and_the_load_goes_on_when_there_is_room(store: ObjectStore, disk: Path) -> None:
    content = random.Random(5).randbytes(32 * MIB)
    store.client().put_object(Bucket=BUCKET, Key="full/model", Body=content)
    (disk / "other").write_bytes(bytes(48 * MIB))
    command, environment = loader(store.endpoint, disk)
    said: list[Json] = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                said.append(json.loads(line))
                if said[-1]["report"] == "trouble":
                    (disk / "other").unlink(missing_ok=True)
                if said[-1]["report"] in ("done", "failed"):
                    break  # what runs beside it lives until it is waited for
    told = {report["report"]: report for report in said}
    assert told["trouble"]["message"] == f"the disk of {disk}/tests/full is full"
    assert told["done"]["bytes"] >= len(content)
    assert told["done"]["unverified"] == 1
    lasted = told["done"]["time"] - told["start"]["time"]
    assert told["done"]["rate"] > len(content) / lasted, "of all that it copied, not of the last half second"
    assert all(isinstance(report["rate"], int) for report in said if report["report"] == "progress")
