"""What runs in JuiceFS's image, run with the real juicefs: metadata that are lost come back from a backup."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtimes.juicefs.scripts import BACKUP, KEYS, MOUNT
from tests.integration.cache_runtime.objectstore import ACCESS_KEY, SECRET_KEY, ObjectStore

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")


def environment(root: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "METAURL": f"sqlite3://{root}/meta.db",
        "NAME": "fs1",
        "FORMAT": f"--storage=file --bucket={root}/blocks/ --trash-days=0",
        "OPTIONS": "--cache-size=0 --backup-meta=0 --metrics=127.0.0.1:0",
        "DIRECTORY": str(root / "cache"),
        "MOUNT_POINT": str(root / "mnt"),
        "DATASET_NAME": "data",
        "DATASET_NAMESPACE": "demo",
        **more,
    }


@contextmanager
def mounted(root: Path, **more: str) -> Iterator[tuple[Path, list[dict[str, object]]]]:
    """The client as its pod starts it, and what it reported before it mounted."""
    process = subprocess.Popen(
        ["sh", "-c", MOUNT],
        env=environment(root, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        if line.startswith("{"):
            said.append(json.loads(line))
        if " is ready at " in line:
            break
    try:
        assert (root / "mnt").is_mount(), said
        yield root / "mnt", said
    finally:
        subprocess.run(["umount", str(root / "mnt")], check=False)
        process.wait(timeout=90)
        process.stdout.close()


def back_up(root: Path) -> subprocess.CompletedProcess[str]:
    given = {"BACKUP": str(root / "backup"), "SIZE": "", "FILES": "", "UFS_TOTAL": "", "OWNER": "12:34"}
    return subprocess.run(
        ["sh", "-c", BACKUP], env=environment(root, **given), capture_output=True, text=True, check=False
    )


def test_metadata_that_are_lost_come_back(tmp_path: Path) -> None:
    with mounted(tmp_path) as (mount, _):
        (mount / "weights").write_bytes(b"w" * 100_000)
    done = back_up(tmp_path)
    assert '"report": "done"' in done.stdout, done
    kept = tmp_path / "backup/metadata-backup-data-demo.gz"
    assert json.loads(gzip.decompress(kept.read_bytes()))["Setting"]["Name"] == "fs1"
    assert (kept.stat().st_uid, kept.stat().st_gid) == (12, 34)
    assert "\nfilenum: " in (tmp_path / "backup/data-demo.yaml").read_text()

    (tmp_path / "meta.db").unlink()
    restore = {"RESTORE": str(tmp_path / "backup"), "RESTORE_NODE": "here", "NODE_NAME": "here"}
    with mounted(tmp_path, **restore) as (mount, said):
        assert (mount / "weights").read_bytes() == b"w" * 100_000
        (found,) = (each for each in said if each["report"] == "restored")
        assert int(str(found["bytes"])) >= 100_000
    with mounted(tmp_path, **restore) as (mount, _):  # again: what is there stays
        assert (mount / "weights").exists()


@pytest.mark.parametrize(
    ("node", "words"),
    [("elsewhere", "waiting for node elsewhere"), ("here", "has no metadata-backup-data-demo.gz")],
)
def test_what_cannot_be_restored_is_not_made_empty(tmp_path: Path, node: str, words: str) -> None:
    (tmp_path / "backup").mkdir()
    restore = {"RESTORE": str(tmp_path / "backup"), "RESTORE_NODE": node, "NODE_NAME": "here"}
    given = environment(tmp_path, **restore)
    ended = subprocess.run(
        ["sh", "-c", MOUNT], env=given, capture_output=True, text=True, check=False, timeout=90
    )
    assert ended.returncode == 1
    assert words in ended.stderr
    assert not (tmp_path / "blocks").exists()


def test_keys_that_no_backup_has_are_those_of_the_dataset(tmp_path: Path, store: ObjectStore) -> None:
    bucket = f"--storage=minio --bucket={store.endpoint}/models --trash-days=0"
    given = {"FORMAT": bucket, "NAME": f"kept-{tmp_path.name}".replace("_", "-"), "SECRET_KEY": SECRET_KEY}
    given["ACCESS_KEY"] = ACCESS_KEY
    with mounted(tmp_path, **given) as (mount, _):
        (mount / "SecretKey").write_bytes(b"of the user")
    assert '"report": "done"' in back_up(tmp_path).stdout
    kept = tmp_path / "backup/metadata-backup-data-demo.gz"
    assert SECRET_KEY not in gzip.decompress(kept.read_bytes()).decode()
    (tmp_path / "meta.db").unlink()
    restore = {"RESTORE": str(tmp_path / "backup"), "RESTORE_NODE": "here", "NODE_NAME": "here"}
    with mounted(tmp_path, **given, **restore) as (mount, _):
        assert (mount / "SecretKey").read_bytes() == b"of the user"


@pytest.mark.parametrize("key", ["plain", 'se"c\\r&et/%'])
def test_a_key_is_written_as_json_wants_it(key: str) -> None:
    dump = {
        "Setting": {"AccessKey": "old", "SecretKey": "removed", "KeyEncrypted": True, "TrashDays": 1},
        "Counters": {"usedSpace": 0},
        "FSTree": {"entries": {"SecretKey": {"attr": {"inode": 1}}}},
    }
    made = subprocess.run(
        ["sh", "-c", f"{KEYS}\nwith_keys"],
        input=json.dumps(dump, indent=2),
        env={"PATH": os.environ["PATH"], "SECRET_KEY": key},
        capture_output=True,
        text=True,
        check=True,
    )
    setting = {**dump["Setting"], "SecretKey": key, "KeyEncrypted": False}
    assert json.loads(made.stdout) == {**dump, "Setting": setting}


def test_a_backup_that_fails_says_why_in_juicefs_words(tmp_path: Path) -> None:
    done = back_up(tmp_path)
    assert done.returncode == 1
    assert "database is not formatted" in done.stdout
    assert not list((tmp_path / "backup").glob("*.yaml"))
