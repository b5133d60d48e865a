"""Copies files: `python -m runtimes.migrate.program`, told what by the environment.

MIGRATION is JSON: sources and targets as the loader has them, base, to {url, options, directory}, include,
exclude, threads. SOURCE<n>_* and TARGET_* are credentials. With JOB_COMPLETION_INDEX and PODS it does its
part of the files. What is at the target already, of the same content, is not copied again. Exit status as
the loader's.
"""

from __future__ import annotations

import fnmatch
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from runtimes.local.loader import PERMANENT, patiently, plan
from runtimes.local.order import Item
from runtimes.migrate.targets import PART, Target, open_target
from runtimes.reporting import Progress, Reporting, report
from runtimes.source import SourceError, from_environment

_PATIENCE = 120.0  # seconds without a byte


def main() -> int:
    """One migration, or one pod's part of it."""
    specification = json.loads(os.environ["MIGRATION"])
    try:
        run(specification, os.environ)
    except SourceError as error:
        report("failed", reason="SourceUnreadable", message=str(error), permanent=error.permanent)
        return PERMANENT if error.permanent else 1
    except OSError as error:
        report("failed", reason="TargetError", message=f"{specification['to']['url']}: {error}")
        return 1
    except Exception as error:
        report("failed", reason="MigrationFailed", message=f"{type(error).__name__}: {error}")
        raise
    return 0


def run(specification: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Copies what is missing and reports. Raises SourceError and OSError."""
    report("start")
    to = specification["to"]
    target = open_target(
        to["url"], to.get("options") or {}, to.get("directory", ""), from_environment("TARGET_", environment)
    )
    items = patiently(lambda: plan(specification, environment))
    items = [item for item in items if _mine(_path(specification, item), specification, environment)]
    progress = Progress(total=sum(item.object.size for item in items), total_files=len(items))
    began = time.monotonic()
    with Reporting(progress, began), ThreadPoolExecutor(specification.get("threads") or 8) as pool:
        copies = [pool.submit(copy, item, _path(specification, item), target, progress) for item in items]
        try:
            for done in copies:
                done.result()
        except BaseException:  # what failed for one file would fail for each of the others, after as long
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    seconds = time.monotonic() - began
    report("done", seconds=round(seconds, 3), **progress.numbers(seconds))


def copy(
    item: Item,
    path: str,
    target: Target,
    progress: Progress,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """One file, part by part, verified before it appears."""
    obj = item.object if item.object.checksum else item.source.detailed(item.object)
    if target.has(path, obj):
        with progress.lock:
            progress.bytes += obj.size
        progress.complete()
        return
    trusted = True
    digest = obj.hasher()
    with target.writing(path, obj) as writer:
        for start in range(0, obj.size, PART):
            end = min(start + PART, obj.size)
            data, trust = _read(item, start, end, progress, wait)
            trusted = trusted and trust
            if digest is not None:
                digest.update(data)
            writer.write(data)
        if obj.checksum and digest is not None and trusted and digest.hexdigest() != obj.checksum[1]:
            raise SourceError(f"{item.url}: {obj.path}: the bytes are not those of the source's checksum")
        if obj.checksum is None:
            item.source.detailed(obj)  # stale, if it is not what it was before
        writer.finish()
    progress.complete()


def _read(
    item: Item, start: int, end: int, progress: Progress, wait: Callable[[float], object]
) -> tuple[bytes, bool]:
    """One part, again with back-off while the source fails."""
    delay, deadline, got = 0.2, time.monotonic() + _PATIENCE, bytearray()

    def sink(data: memoryview) -> None:
        got.extend(data)
        progress.add(len(data))

    while True:
        got.clear()
        try:
            trusted = item.source.read(item.object, start, end, sink)
            return bytes(got), trusted
        except SourceError as error:
            progress.add(-len(got))
            if error.permanent or error.stale or time.monotonic() > deadline:
                raise
            progress.trouble = str(error)
        wait(delay)
        delay = min(delay * 2, 5.0)


def _path(specification: Mapping[str, Any], item: Item) -> str:
    """Below the target, without the directory that was asked for."""
    base = str(specification.get("base") or "").strip("/")
    if base and item.path == base:
        return item.path.rpartition("/")[2]
    return item.path[len(base) :].lstrip("/") if base else item.path


def _mine(path: str, specification: Mapping[str, Any], environment: Mapping[str, str]) -> bool:
    """Whether the patterns let it through, and it is this pod's."""
    include, exclude = specification.get("include") or "*", specification.get("exclude") or ""
    if not fnmatch.fnmatch(path, include) or (exclude and fnmatch.fnmatch(path, exclude)):
        return False
    pods, index = int(environment.get("PODS") or 1), int(environment.get("JOB_COMPLETION_INDEX") or 0)
    return zlib.crc32(os.fsencode(path)) % pods == index


if __name__ == "__main__":
    sys.exit(main())
