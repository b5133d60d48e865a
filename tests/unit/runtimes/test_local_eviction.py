"""Room in a cache: what was not used for longest goes, never what is wanted, pinned, open or mapped."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.local import loader
from runtimes.local.eviction import evict, in_use
from runtimes.local.store import Store
from runtimes.source import Object


def cache(directory: Path, **sizes: int) -> Store:
    """A store with files, the first used longest ago."""
    store = Store(directory)
    with store.exclusive():
        for number, (name, size) in enumerate(sizes.items()):
            temporary = store.partial / name
            temporary.write_bytes(bytes(size))
            store.add(name, "s3://b", Object(name, size, name), temporary)
            os.utime(store.data / name, (number, number))
    return store


def test_the_longest_unused_goes_first_and_no_more_than_needed(tmp_path: Path) -> None:
    store = cache(tmp_path, old=10, middle=10, new=10)
    assert evict(store, 15, ()) == ["old", "middle"]
    assert sorted(os.listdir(store.data)) == ["new"]
    assert set(json.loads((tmp_path / "index.json").read_text())["files"]) == {"new"}


def test_reading_a_file_makes_it_used(tmp_path: Path) -> None:
    store = cache(tmp_path, old=10, new=10)
    os.utime(store.data / "old", (99, 0))
    assert evict(store, 10, ()) == ["new"]


def test_what_is_wanted_or_pinned_stays(tmp_path: Path) -> None:
    store = cache(tmp_path, wanted=10, pinned=10, other=10)
    store.pin(["pinned"])
    assert evict(store, 10, {"wanted"}) == ["other"]
    assert evict(Store(tmp_path), 1, ()) == []  # nothing was read yet
    reopened = Store(tmp_path)
    reopened.open()
    assert evict(reopened, 10, ()) == ["wanted"]


def test_when_all_of_it_is_not_enough_nothing_goes(tmp_path: Path) -> None:
    store = cache(tmp_path, one=10)
    assert evict(store, 11, ()) == []
    assert (store.data / "one").exists()


def test_an_open_or_mapped_file_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"weights")
    assert not in_use(path)
    with path.open("rb") as opened:
        assert in_use(path)
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    assert in_use(path)
    mapped.close()
    assert not in_use(path)


@given(
    sizes=st.lists(st.integers(1, 50), max_size=12),
    busy=st.sets(st.integers(0, 11)),
    amount=st.integers(0, 300),
)
def test_room_is_made_whenever_it_can_be(
    sizes: list[int], busy: set[int], amount: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = cache(tmp_path_factory.mktemp("c"), **{f"f{n}": size for n, size in enumerate(sizes)})
    free = {n for n in range(len(sizes)) if n not in busy}
    gone = evict(store, amount, (), used=lambda path: int(path.name[1:]) in busy)
    freed = sum(sizes[int(name[1:])] for name in gone)
    assert freed >= amount or (not gone and sum(sizes[n] for n in free) < amount)
    assert {int(name[1:]) for name in gone} <= free
    if gone:  # without the last one it would not have been enough
        assert freed - sizes[int(gone[-1][1:])] < amount


def load(source: Path, directory: Path, target: str, **more: object) -> int:
    """A loader, of one part of the source."""
    sources = [{"url": f"local://{source}", "path": "/"}]
    return loader.run({"directory": str(directory), "sources": sources, "targets": [target], **more}, {})


def test_a_load_takes_the_place_of_another_within_the_quota(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, directory = tmp_path / "source", tmp_path / "cache"
    for name in ("a", "b", "c"):
        (source / name).mkdir(parents=True)
        (source / name / "file").write_bytes(bytes(1000))
    assert load(source, directory, "/a", quota=2500, pin=True) == 0
    assert load(source, directory, "/b", quota=2500) == 0
    assert load(source, directory, "/c", quota=2500) == 0
    assert sorted(p.parent.name for p in (directory / "data").rglob("file")) == ["a", "c"]
    assert '"evicted"' in capsys.readouterr().out
    assert load(source, directory, "/", quota=2500) == loader.PERMANENT  # alone it cannot fit
    assert "raise the quota" in capsys.readouterr().out


def test_beyond_the_high_watermark_room_is_made_down_to_the_low_one(tmp_path: Path) -> None:
    source, directory = tmp_path / "source", tmp_path / "cache"
    for number in range(10):
        (source / f"d{number}").mkdir(parents=True)
        (source / f"d{number}" / "file").write_bytes(bytes(100))
        assert load(source, directory, f"/d{number}", quota=1000, high=0.9, low=0.5) == 0
    kept = len(list((directory / "data").rglob("file")))
    assert kept <= 6
