"""Mounts of what is not there: every kind of source says what is missing, and is loaded once it comes."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addons.cache_runtime.agent import measurements
from addons.cache_runtime.agent.operations import status
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet

pytestmark = pytest.mark.timeout(240)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "_AGAIN", 2.0)
    monkeypatch.setattr(measurements, "_MAX_RETRY", 2.0)
    monkeypatch.setattr(measurements, "_LOOK", 2.0)


async def create(fleet: Fleet, name: str, source: str, kind: str = "local", **spec: str) -> None:
    """A Dataset whose source is not there yet; what has a cache is to be loaded."""
    dataset = fleet.dataset(name, source=source, secret="later" if name == "secret" else "keys")
    dataset["spec"]["placement"] = "Shared"
    await fleet.create(dataset, fleet.runtime(kind, name, **spec))
    if kind != "thin":
        await fleet.create(fleet.load(name))


async def says(fleet: Fleet, name: str, words: str, *, read: bool = False) -> None:
    """Waits for the condition."""

    def said(dataset: Json) -> bool:
        found = get_condition(dataset, "Initialized") or {}
        return found.get("status") == str(read) and words in found["message"]

    await fleet.until(DATASETS, name, said)


def put(fleet: Fleet, bucket: str, path: str) -> None:
    client = fleet.store.client()
    if bucket not in [each["Name"] for each in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key=path, Body=b"here")


async def test_what_nodes_copy(fleet: Fleet, model: dict[str, bytes], host_files: Path) -> None:
    await fleet.secret()
    directory = f"/srv/{fleet.namespace}"
    await create(fleet, "path", f"s3://models/{fleet.namespace}/path")
    await create(fleet, "secret", "s3://models/llama")
    await create(fleet, "claim", "pvc://llama/sub dir")
    await create(fleet, "host", f"local://{directory}")

    await says(fleet, "path", f"s3://models/{fleet.namespace}/path: there is nothing there")
    await says(fleet, "secret", f"Secret {fleet.namespace}/later is not there")
    await says(fleet, "claim", f"there is no PersistentVolumeClaim llama in namespace {fleet.namespace}")
    await says(fleet, "host", f"local://{directory}: there is nothing below /")
    failed = await fleet.phase(DATALOADS, "path", "Failed")
    assert failed["status"]["conditions"][0]["reason"] == "SourceUnreadable"

    put(fleet, "models", f"{fleet.namespace}/path/file")
    await fleet.secret("later")
    (host_files / directory.lstrip("/") / "file").write_bytes(b"here")
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
    for name in ("path", "secret", "claim", "host"):
        await fleet.phase(DATALOADS, name, "Complete")
        await says(fleet, name, "The source", read=True)
    # What nobody but a load can list is counted by it.
    for name in ("claim", "host"):
        await fleet.until(
            DATASETS, name, lambda d: d["status"]["cacheStates"].get("cachedPercentage") == "100.0%"
        )
    host = await fleet.client.get(DATASETS, "host", fleet.namespace)
    assert (host["status"]["ufsTotal"], host["status"]["fileNum"]) == ("4.00B", "1")


@needs_root
async def test_what_clients_mount(fleet: Fleet, model: dict[str, bytes]) -> None:
    await fleet.secret()
    here, bucket = f"s3://models/{fleet.namespace}", f"bucket-{fleet.namespace}"
    await create(fleet, "juicefs", f"{here}/juicefs", "juicefs")
    await create(fleet, "rclone", f"{here}/rclone", "thin", profileName="rclone")
    await create(fleet, "s3fs", f"s3://{bucket}/s3fs", "thin")
    await create(fleet, "secret", "s3://models/llama", "thin")

    await says(fleet, "juicefs", f"{here}/juicefs: there is nothing there")
    await says(fleet, "rclone", f"{here}/rclone: there is nothing there")
    await says(fleet, "s3fs", "not found (NoSuchBucket")
    await says(fleet, "secret", f"Secret {fleet.namespace}/later is not there")

    def ready(dataset: Json) -> str:
        return str((get_condition(dataset, "Ready") or {}).get("message"))

    # s3fs does not say why it ends again and again, and we know.
    await fleet.until(
        DATASETS, "s3fs", lambda d: "NoSuchBucket" in ready(d) and "CrashLoopBackOff" in ready(d)
    )
    failed = await fleet.phase(DATALOADS, "juicefs", "Failed")
    assert f"there is nothing below minio://{urlsplit(fleet.store.endpoint).netloc}" in str(failed["status"])

    put(fleet, "models", f"{fleet.namespace}/juicefs/file")
    put(fleet, "models", f"{fleet.namespace}/rclone/file")
    put(fleet, bucket, "s3fs/file")
    await fleet.secret("later")
    await fleet.phase(DATALOADS, "juicefs", "Complete")
    for name in ("juicefs", "rclone", "s3fs", "secret"):
        await says(fleet, name, "The source has been read", read=True)
        await fleet.phase(DATASETS, name, "Bound")
        await fleet.create(fleet.reader(name, "ls /models"))
        assert ("config.json" if name == "secret" else "file") in await fleet.output(f"reader-{name}")
