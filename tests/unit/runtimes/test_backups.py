"""Backups of a node's cache, and what a new cache begins with."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from runtimes.backup_pods import problem
from runtimes.backups import backed_up, describe, described
from runtimes.local import backup
from runtimes.local.restore import restore
from runtimes.local.store import Store
from runtimes.source import Object

FILES = {"config.json": b"{}", "sub/ä b": b"weights" * 1000, "empty": b""}
URL = "s3://models/llama"


def filled(directory: Path, files: dict[str, bytes] = FILES) -> Store:
    store = Store(directory)
    with store.exclusive():
        for path, content in files.items():
            obj = Object(path, len(content), etag=f"v-{path}")
            temporary = store.temporary(path, URL, obj)
            temporary.write_bytes(content)
            store.add(path, URL, obj, temporary)
    return store


def back_up(store: Store, into: Path, **more: str) -> None:
    backup.run(store, into, {"DATASET_NAME": "llama", "DATASET_NAMESPACE": "demo", **more})


def begin(directory: Path, source: Path, *, node: str = "") -> Store:
    store = Store(directory)
    wanted = {"backup": str(source), "name": "llama", "namespace": "demo", "node": node}
    restore(store, directory, wanted, "here")
    store.open()
    return store


def test_a_backup_has_fluids_names_and_the_datasets_numbers(tmp_path: Path) -> None:
    back_up(filled(tmp_path / "cache"), tmp_path / "b", SIZE="2048", FILES="9", UFS_TOTAL="2.00KiB")
    assert sorted(os.listdir(tmp_path / "b")) == ["llama-demo.yaml", "metadata-backup-llama-demo.gz"]
    text = (tmp_path / "b/llama-demo.yaml").read_text()
    assert "ufstotal: 2.00KiB\n" in text
    assert described(tmp_path / "b/llama-demo.yaml") == (2048, 9)
    kept = json.loads(gzip.decompress((tmp_path / "b/metadata-backup-llama-demo.gz").read_bytes()))["files"]
    assert set(kept) == set(FILES)


def test_without_numbers_it_has_those_of_what_is_there(tmp_path: Path) -> None:
    back_up(filled(tmp_path / "cache"), tmp_path / "b")
    assert described(tmp_path / "b/llama-demo.yaml") == (sum(map(len, FILES.values())), 3)


def test_fluids_own_description_is_understood(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("dataset: a\nnamespace: b\nufstotal: 1.50KiB\nfilenum: 7\n")
    assert described(tmp_path / "x.yaml") == (1536, 7)
    (tmp_path / "x.yaml").write_text("hello")
    with pytest.raises(OSError, match="does not describe a backup"):
        described(tmp_path / "x.yaml")


def test_a_cache_begins_with_the_files_of_the_backup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    back_up(filled(tmp_path / "old"), tmp_path / "b", CONTENTS="true", SIZE="5", FILES="1")
    capsys.readouterr()
    store = begin(tmp_path / "new", tmp_path / "b")
    assert {path: (store.data / path).read_bytes() for path in store.entries} == FILES
    assert store.has("config.json", URL, Object("config.json", 2, etag="v-config.json"))
    said = json.loads(capsys.readouterr().out)
    assert (said["report"], said["bytes"], said["files"], said["adopted"]) == ("restored", 5, 1, 3)
    for path in store.entries:
        assert os.stat(store.data / path).st_mode & 0o777 == 0o444


def test_files_that_are_on_the_disk_are_adopted_and_only_if_they_are_the_same(tmp_path: Path) -> None:
    store = filled(tmp_path / "cache")
    back_up(store, tmp_path / "b")
    (tmp_path / "cache/index.json").unlink()
    changed = store.data / "config.json"
    changed.chmod(0o644)
    changed.write_bytes(b"[]")
    again = begin(tmp_path / "cache", tmp_path / "b")
    assert set(again.entries) == {"sub/ä b", "empty"}


def test_a_file_that_was_damaged_in_the_backup_is_left_out(tmp_path: Path) -> None:
    back_up(filled(tmp_path / "old"), tmp_path / "b", CONTENTS="true")
    (tmp_path / "b/llama-demo-files/sub/ä b").write_bytes(b"w" * 7000)
    store = begin(tmp_path / "new", tmp_path / "b")
    assert set(store.entries) == {"config.json", "empty"}
    assert not list(store.partial.iterdir())


def test_it_is_restored_once_since_a_load_may_have_removed_files_since(tmp_path: Path) -> None:
    back_up(filled(tmp_path / "old"), tmp_path / "b", CONTENTS="true")
    store = begin(tmp_path / "new", tmp_path / "b")
    with store.exclusive():
        store.keep_only({"empty"}, set())
    assert set(begin(tmp_path / "new", tmp_path / "b").entries) == {"empty"}


def test_the_only_backup_may_be_of_another_dataset_and_none_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(tmp_path, "other", "prod", size=1, files=1)
    assert backed_up(tmp_path, "llama", "demo") == ("other", "prod")
    describe(tmp_path, "third", "prod", size=1, files=1)
    with pytest.raises(OSError, match=r"other-prod\.yaml, third-prod\.yaml, where llama-demo\.yaml was"):
        backed_up(tmp_path, "llama", "demo")
    empty = tmp_path / "empty"
    empty.mkdir()
    for node in ("", "here"):
        assert not begin(tmp_path / "new", empty, node=node).entries
        assert "no backup, where llama-demo.yaml" in json.loads(capsys.readouterr().out)["problem"]
    begin(tmp_path / "new", empty, node="elsewhere")
    assert set(json.loads(capsys.readouterr().out)) == {"report", "time"}


def test_a_path_that_leads_out_of_the_cache_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(tmp_path / ".", "llama", "demo", size=1, files=1)
    evil = {"files": {"../../evil": {"size": 1, "etag": "", "url": URL, "sha256": "0"}}}
    (tmp_path / "metadata-backup-llama-demo.gz").write_bytes(gzip.compress(json.dumps(evil).encode()))
    assert not begin(tmp_path / "new", tmp_path).entries
    assert "cannot be a file" in capsys.readouterr().out


def test_another_backup_in_the_same_place_drops_what_is_gone(tmp_path: Path) -> None:
    back_up(filled(tmp_path / "one"), tmp_path / "b", CONTENTS="true")
    back_up(filled(tmp_path / "two", {"config.json": b"[1]"}), tmp_path / "b", CONTENTS="true")
    left = [str(p.relative_to(tmp_path / "b")) for p in (tmp_path / "b").rglob("*") if p.is_file()]
    assert sorted(left) == [
        "llama-demo-files/config.json",
        "llama-demo.yaml",
        "metadata-backup-llama-demo.gz",
    ]


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("local:///data/backup", True),
        ("pvc://claim", True),
        ("pvc://claim/some/where/", True),
        ("local://relative", False),
        ("local:///", False),
        ("local:///a/../etc", False),
        ("pvc:///path", False),
        ("pvc://Claim/x", False),
        ("s3://bucket", False),
        ("", False),
    ],
)
def test_places(url: str, good: bool) -> None:
    assert (problem(url) == "") == good
