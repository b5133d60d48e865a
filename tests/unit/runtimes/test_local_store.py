"""The local cache's files: put together in any order, verified, resumed, shown only when whole."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.local import assembly as assembly_module
from runtimes.local import loader
from runtimes.local.assembly import Assembly
from runtimes.local.store import Store
from runtimes.local.transfer import Item, Transfer
from runtimes.reporting import Progress
from runtimes.source import Object, Sink, SourceError


class Memory:
    """A source in memory that fails as told: `faults` are raised one by one, half way through a range."""

    def __init__(self, content: bytes, faults: list[Exception] | None = None) -> None:
        self.content, self.faults = content, faults or []
        self.read_bytes = 0
        self._lock = threading.Lock()

    def objects(self) -> Iterator[Object]:
        yield self.object()

    def object(self, md5: str | None = None) -> Object:
        digest = hashlib.md5(self.content).hexdigest() if md5 is None else md5
        return Object("f", len(self.content), "v1", digest)

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        with self._lock:
            fault = self.faults.pop() if self.faults else None
        middle = (start + end) // 2
        for piece in ((start, middle), (middle, end)):
            if piece[0] < piece[1]:
                sink(memoryview(bytearray(self.content[slice(*piece)])))
                with self._lock:
                    self.read_bytes += piece[1] - piece[0]
            if fault is not None:
                raise fault
        return True


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly_module, "RANGE", 1000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "cache", boot="boot-1")
    with store.exclusive():
        yield store


def copy(
    store: Store, source: Memory, obj: Object | None = None, patience: float = 60, path: str = "dir/f"
) -> Progress:
    progress, waits = Progress(), []
    item = Item(path, "mem://f", source, obj or source.object())
    Transfer(store, [item], progress, threads=4, patience=patience, wait=waits.append).run()
    return progress


def test_a_file_appears_whole_and_read_only(store: Store) -> None:
    source = Memory(random.Random(1).randbytes(12_345))
    progress = copy(store, source)
    target = store.data / "dir" / "f"
    assert target.read_bytes() == source.content
    assert target.stat().st_mode & 0o777 == 0o444
    assert (progress.bytes, progress.files) == (12_345, 1)
    assert store.has("dir/f", "mem://f", source.object())
    store.flush()
    assert not list(store.partial.iterdir())


def test_what_a_kill_leaves_beside_a_complete_file_goes(tmp_path: Path) -> None:
    source, store = Memory(b"whole"), Store(tmp_path)
    with store.exclusive():
        copy(store, source)
    part = store.temporary("dir/f", "mem://f", source.object())
    part.hardlink_to(store.data / "dir/f")
    part.with_suffix(".done").write_bytes(b"\1")
    with store.exclusive():
        assert not list(store.partial.iterdir())
    assert (store.data / "dir/f").read_bytes() == b"whole"


def test_failures_are_tried_again_and_counted_once(store: Store) -> None:
    source = Memory(random.Random(2).randbytes(5_000), [SourceError("reset")] * 7)
    progress = copy(store, source)
    assert (store.data / "dir/f").read_bytes() == source.content
    assert progress.bytes == 5_000


def test_what_arrived_before_an_end_is_not_read_again(store: Store) -> None:
    content = random.Random(3).randbytes(8_000)
    broken = Memory(content, [SourceError("gone", permanent=True)])
    with pytest.raises(SourceError, match="gone"):
        Transfer(store, [Item("f", "mem://f", broken, broken.object())], Progress(), threads=1).run()
    half = Memory(content)
    assembly = Assembly(half.object(), store.temporary("f", "mem://f", half.object()))
    for number in (0, 3, 5):
        start, end = assembly.bounds(number)
        assembly.write(memoryview(bytearray(content[start:end])), start)
        assembly.complete(number)
    assembly.close()
    progress = Progress()
    Transfer(store, [Item("f", "mem://f", half, half.object())], progress, threads=2).run()
    assert (store.data / "f").read_bytes() == content
    assert half.read_bytes == 5_000
    assert progress.moved == 5_000


def test_a_wrong_checksum_is_refused_and_leaves_nothing(store: Store) -> None:
    source = Memory(b"x" * 2_500)
    with pytest.raises(SourceError, match="MD5 is"):
        copy(store, source, source.object(md5="0" * 32))
    assert not (store.data / "dir/f").exists()
    assert not list(store.partial.glob("*.part"))


def test_what_nobody_expected_is_no_success(store: Store) -> None:
    source = Memory(b"z" * 5_000, [ValueError("a header that is no number")])
    with pytest.raises(ValueError, match="a header that is no number"):
        copy(store, source)
    assert not (store.data / "dir/f").exists()


def test_without_progress_it_gives_up(store: Store) -> None:
    source = Memory(b"y" * 10, [SourceError("down")] * 99)
    with pytest.raises(SourceError, match="down"):
        copy(store, source, patience=-1)


def test_another_boot_distrusts_what_was_not_flushed(tmp_path: Path) -> None:
    first = Store(tmp_path, boot="boot-1")
    source = Memory(b"data")
    with first.exclusive():
        copy(first, source)
        (first.partial / "abc.part").write_bytes(b"half")
    second = Store(tmp_path, boot="boot-2")
    with second.exclusive():
        assert not second.has("dir/f", "mem://f", source.object())
        assert not list(second.partial.iterdir())
        copy(second, source)
        second.flush()
    third = Store(tmp_path, boot="boot-3")
    third.open()
    assert third.has("dir/f", "mem://f", source.object())
    assert third.cached == 4


@pytest.mark.parametrize("index", ["whole", "cut off"])
def test_after_another_boot_nobody_sees_what_may_be_half_on_the_disk(tmp_path: Path, index: str) -> None:
    first = Store(tmp_path, boot="boot-1")
    with first.exclusive():
        copy(first, Memory(b"flushed"), path="flushed")
        first.flush()
        copy(first, Memory(b"perhaps"), path="dir/perhaps")
    first.settle()
    assert (first.data / "dir/perhaps").exists(), "the same boot"
    if index == "cut off":
        (tmp_path / "index.json").write_text('{"boot": "boot-1", "fi')
    second = Store(tmp_path, boot="boot-2")
    second.settle()
    there = {str(path.relative_to(second.data)) for path in second.data.rglob("*") if path.is_file()}
    assert there == ({"flushed"} if index == "whole" else set())
    assert set(second.entries) == there


def test_bytes_and_names_are_on_the_disk_before_the_index_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(store, Memory(b"data"))
    done, fsync, move = list[str](), os.fsync, Path.replace

    def flushed(descriptor: int) -> None:
        done.append(os.readlink(f"/proc/self/fd/{descriptor}").removeprefix(str(store.data.parent)))
        fsync(descriptor)

    def moved(path: Path, target: Path) -> Path:
        done.append(f"{path.name} -> {Path(target).name}")
        return move(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", moved)
    store.flush()
    names = ["", "/data", "/data/dir"]
    assert done == ["/data/dir/f", *names, "/index.new", "index.new -> index.json", ""]


def test_a_directory_that_somebody_waits_in_stays_and_others_go(store: Store) -> None:
    for name in ("wanted/below", "empty/below"):
        (store.data / name).mkdir(parents=True)
    store.keep_only({"wanted/below/f"}, set())
    assert sorted(path.name for path in store.data.iterdir()) == ["wanted"]
    assert (store.data / "wanted/below").is_dir()


def test_what_the_source_no_longer_has_goes(store: Store) -> None:
    copy(store, Memory(b"data"))
    store.keep_only({"other"}, set())
    assert not (store.data / "dir").exists()
    assert store.cached == 0


@given(size=st.integers(0, 4_500), order=st.randoms(use_true_random=False))
def test_ranges_may_come_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, size: int, order: random.Random
) -> None:
    content = order.randbytes(size)
    path = tmp_path_factory.mktemp("assembly") / "f.part"
    assembly = Assembly(Object("f", size, "", hashlib.md5(content).hexdigest()), path)
    numbers = assembly.missing
    order.shuffle(numbers)
    last = [False]
    for number in numbers:
        start, end = assembly.bounds(number)
        assembly.write(memoryview(bytearray(content[start:end])), start)
        last.append(assembly.complete(number))
    assert last.count(True) == 1
    assert last[-1]
    assert assembly.finish().read_bytes() == content


def test_a_directory_of_the_node_is_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a").write_bytes(b"a" * 3000)
    (source / "sub" / "b").write_bytes(b"b")
    specification = {
        "directory": str(tmp_path / "cache"),
        "quota": 10_000,
        "sources": [{"url": f"file://{source}", "path": "/models"}],
    }
    assert loader.run(specification, {}) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["report"] for line in said] == ["start", "progress", "done"]
    assert said[-1] | {"bytes": 3001, "total": 3001, "files": 2, "totalFiles": 2} == said[-1]
    assert (tmp_path / "cache/data/models/sub/b").read_bytes() == b"b"
    specification["quota"] = 3000
    (tmp_path / "cache/index.json").unlink()
    assert loader.run(specification, {}) == loader.PERMANENT
    assert "quota allows 3000" in capsys.readouterr().out


def test_only_the_targets_are_copied(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a").write_bytes(b"a")
    (source / "sub" / "b").write_bytes(b"b")
    specification = {
        "directory": str(tmp_path / "cache"),
        "sources": [{"url": f"file://{source}", "path": "/"}],
        "targets": ["/sub"],
    }
    assert loader.run(specification, {}) == 0
    assert [p.name for p in (tmp_path / "cache/data").rglob("*") if p.is_file()] == ["b"]


def test_a_source_that_is_being_made_is_waited_for() -> None:
    now, answers = [0.0], [SourceError("no bucket", permanent=True), SourceError("refused"), None]

    def attempt() -> list[Item]:
        error = answers.pop(0)
        if error is not None:
            raise error
        return []

    def wait(seconds: float) -> None:
        now[0] += seconds

    assert loader.patiently(attempt, clock=lambda: now[0], wait=wait) == []
    answers[:] = [SourceError("no bucket", permanent=True)] * 99
    with pytest.raises(SourceError, match="no bucket"):
        loader.patiently(attempt, clock=lambda: now[0], wait=wait)
