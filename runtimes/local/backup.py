"""Backs up a node's cache: `python -m runtimes.local.backup`, told what by the environment.

DIRECTORY is the cache's; BACKUP, DATASET_NAME, DATASET_NAMESPACE, SIZE, FILES, UFS_TOTAL and OWNER are as
runtimes.backups has them; with CONTENTS=true the files are copied too, below `<dataset>-<namespace>-files`.
What the metadata are: JSON, {"files": {path: {size, etag, url, sha256}}}.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runtimes.backups import describe, files_name, metadata_name
from runtimes.local.store import Entry, Store
from runtimes.reporting import Progress, Reporting, report

_THREADS = 4  # SHA-256 of one file does a gigabyte a second or two


def main() -> int:
    """One backup."""
    directory = os.environ["BACKUP"]
    report("start")
    try:
        run(Store(Path(os.environ["DIRECTORY"])), Path(directory), os.environ)
    except OSError as error:
        report("failed", reason="BackupFailed", message=f"{directory}: {error}")
        return 1
    return 0


def run(store: Store, into: Path, environment: Mapping[str, str]) -> None:
    """Files first, the numbers last: what is not complete is no backup. Raises OSError."""
    name, namespace = environment["DATASET_NAME"], environment["DATASET_NAMESPACE"]
    store.open()
    into.mkdir(parents=True, exist_ok=True)
    contents = into / files_name(name, namespace) if environment.get("CONTENTS") == "true" else None
    began = time.monotonic()
    kept, progress = _files(store, contents)
    metadata = into / metadata_name(name, namespace)
    fresh = metadata.with_suffix(".new")
    with gzip.open(fresh, "wt", compresslevel=6) as file:
        json.dump({"files": kept}, file)
    fresh.replace(metadata)
    written = describe(
        into,
        name,
        namespace,
        size=int(environment.get("SIZE") or sum(int(str(each["size"])) for each in kept.values())),
        files=int(environment.get("FILES") or len(kept)),
        ufs_total=environment.get("UFS_TOTAL", ""),
    )
    for path in (metadata, written, *([contents] if contents is not None else [])):
        _give(path, environment.get("OWNER", ""))
    report("done", **progress.numbers(time.monotonic() - began))


def _files(store: Store, contents: Path | None) -> tuple[dict[str, dict[str, object]], Progress]:
    """What is complete, with checksums; what goes while we look at it is left out."""
    entries = store.entries
    if contents is not None:
        _remove_others(contents, set(entries))
    progress = Progress(total=sum(e.size for e in entries.values()), total_files=len(entries))
    with Reporting(progress, time.monotonic()), ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda item: _file(store, item[0], item[1], contents, progress), entries.items())
        kept = {path: fields for path, fields in found if fields is not None}
    return kept, progress


def _file(
    store: Store, path: str, entry: Entry, contents: Path | None, progress: Progress
) -> tuple[str, dict[str, object] | None]:
    try:
        with (store.data / path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if contents is not None:
            copy(store.data / path, contents / path)
    except FileNotFoundError:
        return path, None
    progress.add(entry.size)
    progress.complete()
    return path, {"size": entry.size, "etag": entry.etag, "url": entry.url, "sha256": digest}


def copy(source: Path, target: Path) -> None:
    """A whole file or none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{hashlib.sha256(target.name.encode()).hexdigest()[:16]}.new")
    try:
        shutil.copyfile(source, fresh)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _remove_others(directory: Path, wanted: set[str]) -> None:
    """Files of an earlier backup that the Dataset has no more."""
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            if str(path.relative_to(directory)) not in wanted:
                path.unlink()


def _give(path: Path, owner: str) -> None:
    """To whom `runAs` names."""
    if not owner:
        return
    uid, gid = (int(number) for number in owner.split(":"))
    os.chown(path, uid, gid)
    for parent, directories, names in os.walk(path):
        for name in (*directories, *names):
            os.chown(Path(parent, name), uid, gid)


if __name__ == "__main__":
    sys.exit(main())
