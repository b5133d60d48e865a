"""Begins a node's cache from a backup, once: files that are on the disk or in the backup are not read again.

What is adopted has the checksum that was written down. What the source has changed since then a load
replaces, as it would in any cache. That a backup is not here is no error where it is another node's.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes.backups import backed_up, described, description_name, files_name, metadata_name
from runtimes.local.backup import copy
from runtimes.local.store import Store
from runtimes.reporting import report
from runtimes.source import Object
from runtimes.source.objects import checked

_THREADS = 4


def restore(store: Store, directory: Path, specification: Mapping[str, Any] | None, node: str = "") -> None:
    """What `specification` {backup, name, namespace, node} says, if anything, and reports it.

    `node` has a backup that is on a node. Worker and loader may come at the same time: one adopts while the
    other waits. What cannot be restored is said, and the cache begins empty, as any other. Raises OSError
    when the cache's own directory cannot be written.
    """
    if specification is None:
        return
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / "restored.json"
    with (directory / "restore.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists():
            if specification["node"] not in ("", node):
                report("restored")  # it is another node's
                return
            try:
                found = _read(
                    Path(specification["backup"]), specification["name"], specification["namespace"]
                )
            except (OSError, EOFError, ValueError, KeyError) as error:
                report("restored", problem=f"the backup cannot be read: {error}")
                return
            with store.exclusive():
                adopted = _adopt(store, found.files, found.contents)
                store.flush()
            marker.write_text(json.dumps({"bytes": found.size, "files": found.count, "adopted": adopted}))
    report("restored", **json.loads(marker.read_text()))


@dataclass(frozen=True)
class _Found:
    size: int
    count: int
    files: Mapping[str, Mapping[str, Any]]
    contents: Path


def _read(backup: Path, name: str, namespace: str) -> _Found:
    name, namespace = backed_up(backup, name, namespace)
    size, count = described(backup / description_name(name, namespace))
    with gzip.open(backup / metadata_name(name, namespace), "rt") as file:
        files = json.load(file)["files"]
    for path in files:
        checked(path, str(backup))
    return _Found(size, count, files, backup / files_name(name, namespace))


def _adopt(store: Store, kept: Mapping[str, Mapping[str, Any]], contents: Path) -> int:
    """How many of the files are there now."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return sum(pool.map(lambda item: _file(store, item[0], item[1], contents), kept.items()))


def _file(store: Store, path: str, fields: Mapping[str, Any], contents: Path) -> bool:
    obj = Object(path, int(fields["size"]), etag=fields["etag"])
    url = str(fields["url"])
    if store.has(path, url, obj):
        return True
    temporary = store.temporary(path, url, obj)
    for found in (store.data / path, contents / path):
        if not _is(found, obj.size, fields["sha256"]):
            continue
        if found != store.data / path:
            copy(found, temporary)
            if not _is(temporary, obj.size, fields["sha256"]):
                temporary.unlink()
                continue
        store.add(path, url, obj, found if found == store.data / path else temporary)
        return True
    return False


def _is(path: Path, size: int, sha256: str) -> bool:
    try:
        if path.is_symlink() or path.stat().st_size != size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False
