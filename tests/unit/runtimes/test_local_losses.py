"""What of a cache directory is gone: known by its index, told until it is loaded again or nobody wants it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimes.local import loader
from runtimes.local.store import Store
from runtimes.local.transfer import Transfer


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("a/1", "a/2", "b/1"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
    return tmp_path / "source"


@pytest.fixture
def cache(tmp_path: Path, source: Path) -> Path:
    load(source, tmp_path / "cache")
    return tmp_path / "cache"


def load(source: Path, cache: Path, *targets: str) -> None:
    sources = [{"url": f"file://{source}", "path": "/"}]
    said = {"directory": str(cache), "sources": sources, "targets": list(targets) or ["/"]}
    assert loader.run(said, {}) == 0


def looked(cache: Path) -> Store:
    store = Store(cache)
    store.look()
    return store


@pytest.fixture
def busy(cache: Path) -> Iterator[Store]:
    """A loader at work."""
    store = Store(cache)
    with store.exclusive():
        yield store


def test_a_directory_in_the_place_of_a_file_ends_no_worker(cache: Path) -> None:
    (cache / "data/a/1").unlink()
    (cache / "data/a/1").mkdir()
    shutil.rmtree(cache / "data/b")
    (cache / "data/b").write_bytes(b"a file")
    assert looked(cache).lost == ["a/1", "b/1"]


def test_what_was_cut_is_shown_to_nobody(cache: Path) -> None:
    (cache / "data/a/1").chmod(0o644)
    (cache / "data/a/1").write_bytes(b"x" * 99)
    (cache / "data/b/1").unlink()
    store = looked(cache)
    assert store.lost == ["a/1", "b/1"]
    assert not (cache / "data/a/1").exists()
    assert (store.files, store.cached) == (1, 100)


def test_what_is_lost_stays_so_until_it_is_loaded(cache: Path, source: Path) -> None:
    for name in ("a/1", "b/1"):
        (cache / "data" / name).unlink()
    load(source, cache, "/a")
    assert looked(cache).lost == ["b/1"]
    load(source, cache)
    assert looked(cache).lost == []


def test_what_the_source_has_no_more_is_no_loss(cache: Path, source: Path) -> None:
    (cache / "data/a/1").unlink()
    (source / "a/1").unlink()
    load(source, cache, "/b")
    assert looked(cache).lost == ["a/1"], "nobody has asked the source for it"
    load(source, cache, "/a")
    assert looked(cache).lost == []


def test_while_a_loader_works_nothing_is_lost(cache: Path, busy: Store) -> None:
    (cache / "data/a/1").unlink()
    assert looked(cache).lost == []


def test_a_directory_that_was_removed_is_another_one(cache: Path, source: Path) -> None:
    before = looked(cache).id
    load(source, cache)
    assert before == looked(cache).id
    shutil.rmtree(cache)
    (cache / "data").mkdir(parents=True)
    Store(cache).settle()
    assert looked(cache).id not in ("", before)


def test_an_index_of_before_gets_an_id_and_keeps_its_files(cache: Path) -> None:
    index = cache / "index.json"
    said = json.loads(index.read_text())
    del said["id"]
    index.write_text(json.dumps(said))
    Store(cache).settle()
    store = looked(cache)
    assert store.id
    assert (store.files, store.lost) == (3, [])


def test_a_load_whose_files_are_taken_away_is_not_done(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Transfer.run

    def robbed(transfer: Transfer) -> None:
        run(transfer)
        (tmp_path / "cache/data/a/1").unlink()

    monkeypatch.setattr(Transfer, "run", robbed)
    with pytest.raises(
        FileNotFoundError, match="a/1 was removed or changed here while the load was going on"
    ):
        load(source, tmp_path / "cache")
    assert '"done"' not in capsys.readouterr().out
