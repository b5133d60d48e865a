"""Sources that fsspec has a driver for: FTP and SFTP servers, and a driver of somebody's own."""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anycrc
import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from addon_framework.api.meta import Json
from runtimes.interface import Cache, SecretKey
from runtimes.local import LocalBackend, loader
from runtimes.local.order import Item
from runtimes.migrate import program
from runtimes.migrate.targets import DirectoryTarget
from runtimes.reporting import Progress
from runtimes.source import Credentials, Object, SourceError, drivers, open_source
from tests.integration.cache_runtime.fileservers import PASSWORD, USER, Gate, serving
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet

FILES = {
    "model.bin": random.Random(3).randbytes(20_000_003),  # three ranges
    "empty": b"",
    "sub dir/deep/ä+b #1.txt": b"names are not always simple",
}
ACCOUNT = Credentials("", "", "", {"username": USER, "password": PASSWORD})
VARIABLES = {"SOURCE0_OPTION_username": USER, "SOURCE0_OPTION_password": PASSWORD}


def write(directory: Path, files: Mapping[str, bytes] = FILES) -> None:
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)


def below(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@pytest.fixture(params=["ftp", "sftp"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A URL, and the directory that is there."""
    directory = tmp_path / "served"
    write(directory / "data")
    with serving(request.param, directory) as address:
        yield f"{request.param}://{address}/data", directory / "data"


def load(directory: Path, url: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """What a load says at its end."""
    sources = [{"url": url, "path": "/", "options": {}}]
    assert loader.run({"directory": str(directory), "sources": sources}, VARIABLES) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return next(said for said in reports if said["report"] == "done")


def test_a_load_copies_what_is_there(
    server: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, there = server
    (there / "link").symlink_to("model.bin")
    done = load(tmp_path / "cache", url, capsys)
    wanted = {**FILES, "link": FILES["model.bin"]}
    assert below(tmp_path / "cache/data") == wanted
    assert done["origin"] == sum(map(len, wanted.values()))
    assert done["unverified"] == 3  # neither tells checksums; what is empty needs none
    (there / "model.bin").write_bytes(b"new")
    (there / "empty").unlink()
    again = load(tmp_path / "cache", url, capsys)
    assert below(tmp_path / "cache/data") == {
        "model.bin": b"new",
        "link": b"new",
        "sub dir/deep/ä+b #1.txt": FILES["sub dir/deep/ä+b #1.txt"],
    }
    assert again["origin"] == 6


def test_a_migration_reads_it_too(server: tuple[str, Path], tmp_path: Path) -> None:
    source = {"url": server[0], "path": "/", "options": {}}
    program.run({"sources": [source], "to": {"url": f"file://{tmp_path}/there"}}, VARIABLES)
    assert below(tmp_path / "there") == FILES


def test_a_migration_notices_a_change(server: tuple[str, Path], tmp_path: Path) -> None:
    url, there = server
    source = open_source(url, {}, ACCOUNT)
    obj = next(each for each in source.objects() if each.path == "model.bin")

    class Changing(DirectoryTarget):
        def has(self, path: str, obj: Object) -> bool:
            os.utime(there / path, (1, 1))  # after the first look
            return False

    item = Item("model.bin", url, source, obj)
    with pytest.raises(SourceError, match="changed while it was read"):
        program.copy(item, "model.bin", Changing(tmp_path / "copy"), Progress())
    assert below(tmp_path / "copy") == {}


def test_one_file(server: tuple[str, Path]) -> None:
    source, got = open_source(f"{server[0]}/model.bin", {}, ACCOUNT), bytearray()
    (obj,) = source.objects()
    source.read(obj, 8_000_000, 9_000_000, got.extend)
    assert (obj.path, bytes(got)) == ("model.bin", FILES["model.bin"][8_000_000:9_000_000])


def test_a_change_while_it_is_read_shows(server: tuple[str, Path]) -> None:
    url, there = server
    source = open_source(url, {}, ACCOUNT)
    obj = next(each for each in source.objects() if each.path == "model.bin")
    assert source.detailed(obj) == obj
    os.utime(there / "model.bin", (1, 1))
    with pytest.raises(SourceError, match=r"model\.bin changed while it was read") as caught:
        source.detailed(obj)
    assert caught.value.stale
    (there / "model.bin").write_bytes(b"short")
    with pytest.raises(SourceError) as shorter:
        source.read(obj, 0, 1000, bytearray().extend)
    assert shorter.value.stale
    (there / "model.bin").unlink()
    with pytest.raises(SourceError, match=r"model\.bin is gone") as gone:
        source.detailed(obj)
    assert gone.value.stale


def test_what_will_not_get_better_is_permanent(server: tuple[str, Path]) -> None:
    url, _ = server
    with pytest.raises(SourceError, match="not found") as missing:
        list(open_source(f"{url}/nothing", {}, ACCOUNT).objects())
    wrong = Credentials("", "", "", {"username": USER, "password": "wrong"})
    with pytest.raises(SourceError) as denied:
        list(open_source(url, {}, wrong).objects())
    assert missing.value.permanent
    assert denied.value.permanent
    assert "wrong" not in repr(wrong)


def test_a_server_that_is_away_may_come_back(unused_tcp_port: int) -> None:
    for scheme in ("ftp", "sftp"):
        with pytest.raises(SourceError) as away:
            list(open_source(f"{scheme}://127.0.0.1:{unused_tcp_port}/", {}, ACCOUNT).objects())
        assert not away.value.permanent


def test_threads_share_what_connections_a_server_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"{number}.bin": bytes([number]) * 100_000 for number in range(40)}
    write(tmp_path / "served", files)
    with serving("sftp", tmp_path / "served") as address:
        gate = Gate(address, most=2)
        load(tmp_path / "cache", f"sftp://{gate.address}/", capsys)
        gate.close()
    assert below(tmp_path / "cache/data") == files
    assert 0 < gate.refused < 16 + len(files)


def test_a_server_that_falls_silent_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.setattr(drivers, "_TIMEOUT", 5.0)
    with serving("sftp", tmp_path) as address:
        gate = Gate(address, most=9)
        source = open_source(f"sftp://{gate.address}/", {"banner_timeout": "60"}, ACCOUNT)
        obj = next(each for each in source.objects() if each.path == "model.bin")
        gate.silent.set()
        with pytest.raises(SourceError) as silent:
            source.read(obj, 0, 1000, bytearray().extend)
        gate.close()
    assert not silent.value.permanent


class Checked(LocalFileSystem):
    """A store that tells checksums, as drivers of Google's do."""

    protocol = "checked"

    def info(self, path: str, **more: Any) -> Any:
        found = super().info(path, **more)
        if found["type"] == "file":
            value = anycrc.Model("CRC32C").calc(Path(found["name"]).read_bytes())
            found["crc32c"] = base64.b64encode(value.to_bytes(4)).decode()
        return found


def test_a_driver_of_ones_own_whose_checksums_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "served")
    fsspec.register_implementation("checked", f"{__name__}.{Checked.__name__}", clobber=True)
    done = load(tmp_path / "cache", f"checked://{tmp_path}/served", capsys)
    assert below(tmp_path / "cache/data") == FILES
    assert done["unverified"] == 0


def secrets() -> list[Json]:
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "keys", "key": name}}}
        for name in ("username", "password")
    ]


async def test_its_size_and_its_changes_are_seen(server: tuple[str, Path]) -> None:
    url, there = server
    mount = {"mountPoint": url, "name": "m", "encryptOptions": secrets()}
    dataset: Json = {"metadata": {"name": "d", "namespace": "n"}, "spec": {"mounts": [mount]}}
    runtime: Json = {"kind": "LocalRuntime", "metadata": {"name": "d", "namespace": "n"}, "spec": {}}
    cache, backend = Cache.of(dataset, runtime, image="i"), LocalBackend()
    assert backend.validate(cache) == []
    values = {SecretKey("keys", "username"): USER, SecretKey("keys", "password"): PASSWORD}
    assert await backend.measure(cache, values) == (sum(map(len, FILES.values())), len(FILES))
    before = await backend.version(cache, values)
    assert await backend.version(cache, values) == before
    (there / "more").write_bytes(b"1")
    assert await backend.version(cache, values) != before


async def test_a_dataset_of_an_sftp_server(fleet: Fleet, tmp_path: Path) -> None:
    write(tmp_path / "data")
    with serving("sftp", tmp_path) as address:
        await fleet.secret(username=USER, password=PASSWORD)
        dataset = fleet.dataset("files", source=f"sftp://{address}/data")
        dataset["spec"]["mounts"][0]["encryptOptions"] = secrets()
        await fleet.create(dataset, fleet.runtime("local", "files"), fleet.load("files"))
        loaded = await fleet.phase(DATALOADS, "files", "Complete")
        bound = await fleet.until(DATASETS, "files", lambda o: o["status"].get("ufsTotal", "[")[0] != "[")
    assert below(fleet.host / f"var/lib/boundaryless/cache/{fleet.namespace}/files/data") == FILES
    assert bound["status"]["fileNum"] == "3"
    assert loaded["status"]["infos"]["unverifiedFiles"] == "2"
