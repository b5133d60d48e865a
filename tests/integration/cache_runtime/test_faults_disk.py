"""A disk that is full, a cache directory that somebody removes, and sources on the node's own disk."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import EVENTS, PODS
from addon_framework.api.meta import Json
from addons.cache_runtime.agent import measurements
from addons.cache_runtime.agent.operations import losses, status
from runtimes.local import loader
from runtimes.local.store import Store
from runtimes.source import SourceError
from tests.integration.cache_runtime.disks import disk_over, read_only, remove, small_disk
from tests.integration.cache_runtime.faultyproxy import Fault, faulty
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, RUNTIMES, Fleet

MIB = 1 << 20
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", mib=8) as directory:
        yield directory


def specification(source: Path, cache: Path) -> Json:
    return {
        "directory": str(cache),
        "owner": "LocalRuntime t/t",
        "sources": [{"url": f"file://{source}", "path": "/"}],
    }


def refused(source: Path, cache: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        loader.plan(specification(source, cache), {})
    assert caught.value.permanent
    return caught.value


@needs_root
def test_a_disk_without_room_is_told_before_anything_is_copied(
    tmp_path: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(os.urandom(7 * MIB))
    (disk / "other").write_bytes(bytes(4 * MIB))
    assert loader.run(specification(source, disk / "cache"), {}) == loader.PERMANENT
    failed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert failed["reason"] == "DiskFull"
    assert f"{7 * MIB} bytes are missing, but the disk of {disk}/cache has only" in failed["message"]
    (disk / "other").unlink()
    assert loader.run(specification(source, disk / "cache"), {}) == 0
    assert (disk / "cache/data/a").read_bytes() == (source / "a").read_bytes()


@needs_root
def test_a_disk_that_fills_up_while_it_loads(tmp_path: Path, disk: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in "abc":
        (source / name).write_bytes(os.urandom(2 * MIB))
    cache = disk / "cache"
    took: list[bool] = []
    read = loader.Transfer.run

    def fill(transfer: loader.Transfer) -> None:
        (disk / "other").write_bytes(bytes(5 * MIB))
        took.append(True)
        read(transfer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader.Transfer, "run", fill)
        with pytest.raises(OSError, match="No space left") as caught:
            loader.run(specification(source, cache), {})
    assert took
    assert not isinstance(caught.value, SourceError)
    for path in (cache / "data").iterdir():  # what is there is whole
        assert path.read_bytes() == (source / path.name).read_bytes()
    (disk / "other").unlink()
    assert loader.run(specification(source, cache), {}) == 0
    assert sorted(p.name for p in (cache / "data").iterdir()) == ["a", "b", "c"]


def test_links_inside_are_followed_and_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "blobs").mkdir(parents=True)
    (source / "snapshots/1").mkdir(parents=True)
    (source / "blobs/x").write_bytes(b"model")
    (source / "snapshots/1/model").symlink_to("../../blobs/x")
    (source / "current").symlink_to("snapshots/1")
    os.mkfifo(source / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(source / "socket"))
    try:
        assert loader.run(specification(source, tmp_path / "cache"), {}) == 0
    finally:
        listener.close()
    data = tmp_path / "cache/data"
    seen = {str(p.relative_to(data)): p.read_bytes() for p in data.rglob("*") if p.is_file()}
    assert seen == dict.fromkeys(["blobs/x", "snapshots/1/model", "current/model"], b"model")
    assert not any(p.is_symlink() for p in data.rglob("*"))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/etc/passwd", "the link sub/link leads to /etc/passwd, outside of"),
        ("../../source2/x", "outside of"),
        ("nowhere", "the link sub/link leads to nowhere, which is not there"),
        ("link", "the link sub/link leads to itself"),
        ("..", "the link sub/link leads to a directory that it is in"),
    ],
)
def test_links_that_lead_astray_are_refused_by_name(tmp_path: Path, target: str, words: str) -> None:
    (tmp_path / "source/sub").mkdir(parents=True)
    (tmp_path / "source2").mkdir()
    (tmp_path / "source2/x").write_bytes(b"of somebody else")
    (tmp_path / "source/sub/link").symlink_to(target)
    assert words in str(refused(tmp_path / "source", tmp_path / "cache"))


def test_a_name_that_is_no_text_is_told_readably(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        loader.patiently, "__kwdefaults__", {**loader.patiently.__kwdefaults__, "patience": 0}
    )
    (tmp_path / "source").mkdir()
    os.symlink("/etc/passwd", os.fsencode(tmp_path / "source") + b"/caf\xe9")
    monkeypatch.setenv("CACHE", json.dumps(specification(tmp_path / "source", tmp_path / "cache")))
    assert loader.main() == loader.PERMANENT
    line = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(line)["message"].encode(), "it can be sent to an API server"
    assert "the link caf\\udce9 leads to /etc/passwd" in json.loads(line)["message"]


def test_a_mount_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "nowhere is not there on this node" in str(refused(tmp_path / "nowhere", tmp_path / "cache"))


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"old")
    item = loader.plan(specification(source, tmp_path / "cache"), {})[0]
    (source / "a").write_bytes(b"newer")
    with pytest.raises(SourceError, match="a changed while it was read") as caught:
        item.source.read(item.object, 0, 3, lambda data: None)
    assert caught.value.stale


async def test_a_bucket_that_comes_later_is_loaded_without_anybody_asking(
    fleet: Fleet, model: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_AGAIN", 2.0)
    await fleet.secret()
    with faulty(fleet.store.endpoint) as proxy:
        there = [False]
        proxy.rule = lambda asked: None if there[0] else Fault(status=404, code="NoSuchBucket")
        dataset = fleet.dataset("llama")
        dataset["spec"]["mounts"][0]["options"] = {"endpoint": proxy.endpoint}
        await fleet.create(dataset, fleet.runtime("local", "llama"), fleet.load("llama"))
        failed = await fleet.phase(DATALOADS, "llama", "Failed")
        condition = failed["status"]["conditions"][0]
        assert condition["reason"] == "SourceUnreadable"
        assert "s3://models/llama" in condition["message"]
        assert "not found (NoSuchBucket" in condition["message"]
        await fleet.until(
            DATASETS,
            "llama",
            lambda d: any(
                (c["type"], c["status"]) == ("Initialized", "False") and "NoSuchBucket" in c["message"]
                for c in d["status"]["conditions"]
            ),
        )
        there[0] = True
        await fleet.phase(DATALOADS, "llama", "Complete")


async def test_a_store_that_goes_under_pods_that_read_it_is_told_until_it_is_back(
    fleet: Fleet, model: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "_LOOK", 0.2)
    await fleet.secret()
    with faulty(fleet.store.endpoint) as proxy:
        dataset = fleet.dataset("llama")
        dataset["spec"]["mounts"][0]["options"] = {"endpoint": proxy.endpoint}
        await fleet.create(dataset, fleet.runtime("thin", "llama"))

        async def initialized(status: str, words: str) -> None:
            def said(dataset: Json) -> bool:
                found = get_condition(dataset, "Initialized") or {}
                return found.get("status") == status and words in found["message"]

            await fleet.until(DATASETS, "llama", said)

        await initialized("True", "has been read")
        proxy.rule = lambda asked: Fault(status=503)
        await initialized("False", f"s3://models/llama at {proxy.endpoint}: SlowDown")
        proxy.rule = lambda asked: None
        await initialized("True", "has been read")


class Lossy:
    """A loaded Dataset whose files somebody removes."""

    def __init__(self, fleet: Fleet, model: dict[str, bytes], host_files: Path) -> None:
        self.fleet, self.model = fleet, model
        self.place = host_files / f"var/lib/boundaryless/cache/{fleet.namespace}/llama"

    async def create(self) -> None:
        fleet = self.fleet
        await fleet.secret()
        await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
        await fleet.phase(DATALOADS, "llama", "Complete")
        await self.counted()

    async def counted(self) -> None:
        """Waits for the worker to have said that it has everything: it notices what happens from then on."""
        total = sum(map(len, self.model.values()))
        await self.fleet.until(
            DATASETS, "llama", lambda d: (d["status"].get("numbers") or {}).get("cachedBytes") == total
        )

    async def lost(self, status: str, words: str) -> Json:
        """Waits for the condition."""

        def said(dataset: Json) -> bool:
            found = get_condition(dataset, "CacheLost") or {}
            return found.get("status") == status and words in found["message"]

        return await self.fleet.until(DATASETS, "llama", said)

    async def whole(self) -> None:
        """Waits for everything to be there as it was."""
        await self.lost("False", "it has been loaded again")
        await self.fleet.phase(DATALOADS, "llama", "Complete")
        await self.counted()
        for path, content in self.model.items():
            assert (self.place / "data" / path).read_bytes() == content


@pytest.fixture
async def lossy(fleet: Fleet, model: dict[str, bytes], host_files: Path) -> Lossy:
    found = Lossy(fleet, model, host_files)
    await found.create()
    return found


@pytest.mark.parametrize("emptied", [False, True], ids=["removed", "emptied"])
async def test_a_cache_that_somebody_removes_is_told_and_loaded_again(lossy: Lossy, emptied: bool) -> None:
    fleet = lossy.fleet
    if emptied:
        for path in lossy.place.iterdir():
            remove(path) if path.is_dir() else path.unlink(missing_ok=True)
    else:
        remove(lossy.place.rename(lossy.place.with_name("aside")))
    await lossy.whole()
    events = (await fleet.client.list(EVENTS, fleet.namespace))["items"]
    (said,) = (each for each in events if each["reason"] == "CacheLost")
    assert said["type"] == "Warning"
    assert said["involvedObject"]["name"] == "llama"
    assert "on node cache-node " in said["message"]
    assert "; DataLoad llama loads it again" in said["message"]
    await fleet.until(PODS, "llama-worker-0", lambda pod: is_true(pod, "Ready"))
    await fleet.create(fleet.reader("llama", "cat /models/config.json | wc -c"))
    assert (await fleet.output("reader-llama")).strip() == "1000"


@pytest.mark.parametrize("covered", ["", ".", "..", "../.."])
@needs_root
async def test_a_cache_that_is_moved_away_or_mounted_over_is_told_and_loaded_again(
    lossy: Lossy, covered: str
) -> None:
    fleet, aside = lossy.fleet, lossy.place.with_name("aside")
    kept = os.open(lossy.place, os.O_RDONLY)
    with contextlib.ExitStack() as ends:
        ends.callback(os.close, kept)
        if covered:
            ends.enter_context(disk_over((lossy.place / covered).resolve(), mib=64))
        else:
            lossy.place.rename(aside)
        os.close(os.open("noise", os.O_CREAT | os.O_WRONLY, dir_fd=kept))  # else it looks in half a minute
        await lossy.whole()
        pod = await fleet.until(PODS, "llama-worker-0", lambda pod: is_true(pod, "Ready"))
        (status,) = pod["status"]["containerStatuses"]
        how = "something was mounted over the cache" if covered else "somebody moved the cache"
        assert how in status["lastState"]["terminated"]["message"]
        assert status["restartCount"] == 1


@needs_root
def test_a_disk_that_can_only_be_read_keeps_what_it_has(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in "ab":
        (tmp_path / "source" / name).write_bytes(b"model")
    assert loader.run(specification(tmp_path / "source", disk / "cache"), {}) == 0
    os.truncate(disk / "cache/data/a", 1)
    with read_only(disk):
        store = Store(disk / "cache")
        store.settle()
        store.look()
        assert (store.lost, store.files, store.cached) == (["a"], 1, 5)
    store.look()
    assert store.lost == ["a"]
    assert not (disk / "cache/data/a").exists()


async def test_a_quota_that_is_lowered_takes_nothing_and_is_told(lossy: Lossy) -> None:
    fleet = lossy.fleet

    async def quota(amount: str, status: str, words: str) -> None:
        levels = fleet.runtime("local", "llama", quota=amount)["spec"]["tieredstore"]
        await fleet.client.patch(
            RUNTIMES["local"], "llama", {"spec": {"tieredstore": levels}}, fleet.namespace
        )

        def said(dataset: Json) -> bool:
            found = get_condition(dataset, "OverQuota") or {}
            return found.get("status") == status and words in found["message"]

        await fleet.until(DATASETS, "llama", said)

    await quota("10Mi", "True", "on node cache-node the cache holds 22.89MiB and its quota is 10.00MiB")
    for path, content in lossy.model.items():
        assert (lossy.place / "data" / path).read_bytes() == content
    await quota("100Mi", "False", "")


async def test_single_files_that_are_removed_or_cut_are_loaded_again(lossy: Lossy) -> None:
    before = await lossy.fleet.phase(DATALOADS, "llama", "Complete")
    cut = lossy.place / "data/model-1.safetensors"
    os.truncate(cut, 5)
    (lossy.place / "data/config.json").unlink()
    (lossy.place / "noise").touch()  # else it would be seen at the next look
    await lossy.whole()
    after = await lossy.fleet.phase(DATALOADS, "llama", "Complete")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["infos"]["losses"] == "1"
    await lossy.lost("False", "")
    events = (await lossy.fleet.client.list(EVENTS, lossy.fleet.namespace))["items"]
    said = [each["message"] for each in events if each["reason"] == "CacheLost"]
    named = {name for each in said for name in re.findall(r"[\w.-]+", each)}
    assert {"gone", "cut", "config.json", "model-1.safetensors"} <= named


async def test_files_whose_load_was_deleted_are_loaded_again(lossy: Lossy) -> None:
    fleet, made = lossy.fleet, "llama-lost"
    await fleet.delete(DATALOADS, "llama")
    for path in ("config.json", "sub dir/ä+b.txt"):
        (lossy.place / "data" / path).unlink()
        (lossy.place / f"noise-{path[:3]}").touch()
        load = await fleet.until(
            DATALOADS,
            made,
            lambda d, path=path: (
                [target["path"] for target in d["spec"]["target"]] == [path]
                and (d.get("status") or {}).get("phase") == "Complete"
            ),
        )
        assert (lossy.place / "data" / path).read_bytes() == lossy.model[path]
        await lossy.lost("False", "it has been loaded again")
    assert load["spec"]["ttlSecondsAfterFinished"] == 1800
    await lossy.counted()
    events = (await fleet.client.list(EVENTS, fleet.namespace))["items"]
    assert any(each["reason"] == "CacheLost" and "config.json" in each["message"] for each in events)


async def test_what_is_lost_again_and_again_is_loaded_later_each_time(
    lossy: Lossy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_AGAIN", 3.0)
    for count in ("1", "2"):
        (lossy.place / "data/config.json").unlink()
        (lossy.place / f"noise{count}").touch()
        load = await lossy.fleet.until(
            DATALOADS,
            "llama",
            lambda d, count=count: (
                (d["status"]["phase"], d["status"]["infos"].get("losses")) == ("Complete", count)
            ),
        )
    infos = load["status"]["infos"]
    assert float(infos["startTime"]) - float(infos["lostTime"]) >= 3.0
    await lossy.whole()
