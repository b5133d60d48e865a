"""Whose a copy's files are: Dataset.spec.owner. Giving files away needs root, as a loader's pod has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runtimes.local import loader
from runtimes.local.store import Store
from runtimes.source import Object

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def owners(directory: Path) -> set[tuple[int, int]]:
    """Of everything that pods see."""
    found = [directory / "data", *(directory / "data").rglob("*")]
    return {(path.lstat().st_uid, path.lstat().st_gid) for path in found}


def load(directory: Path, source: Path, **more: Any) -> int:
    made = {"directory": str(directory), "sources": [{"url": f"file://{source}", "path": "/"}], **more}
    return loader.run(made, {})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("a/b/1", "a/2", "3"):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_text(name)
    return tmp_path / "source"


@needs_root
def test_files_and_directories_are_the_owners(tmp_path: Path, source: Path) -> None:
    assert load(tmp_path / "cache", source, ids=[7, 8]) == 0
    assert owners(tmp_path / "cache") == {(7, 8)}
    assert (tmp_path / "cache/data/a/b/1").stat().st_mode & 0o777 == 0o444


@needs_root
def test_another_owner_gets_what_is_there_already(tmp_path: Path, source: Path) -> None:
    load(tmp_path / "cache", source)
    assert owners(tmp_path / "cache") == {(os.geteuid(), os.getegid())}
    (source / "new/one").parent.mkdir()
    (source / "new/one").write_text("1")
    assert load(tmp_path / "cache", source, ids=[7, 8]) == 0
    assert owners(tmp_path / "cache") == {(7, 8)}


def test_who_may_not_give_them_away_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refused)
    store = Store(tmp_path, ids=[os.geteuid() + 1, 8])
    with store.exclusive():
        temporary = store.temporary("f", "file:///x", Object("f", 1, etag="e"))
        temporary.write_text("x")
        with pytest.raises(OSError, match=r"the Dataset's spec\.owner cannot be given .*not permitted"):
            store.add("f", "file:///x", Object("f", 1, etag="e"), temporary)
