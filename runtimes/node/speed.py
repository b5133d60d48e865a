"""Measures a FUSE client's mount against its source, on the node: `python -m runtimes.node.speed DIRECTORY`.

Once in the life of a client's pod, as soon as there is something large to read and nothing is being loaded.
SPEED is JSON, [{url, path, options}]; POD_UID the pod's; SOURCE<n>_ACCESS_KEY and so on are credentials. A
mount that is slower is measured again, ever more rarely, each time by a part of the file that was not read
before: what a client keeps of the parts that were would say nothing.
"""

from __future__ import annotations

import heapq
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from runtimes.source import Object, ObjectSource, from_environment, open_source
from runtimes.speed import SAMPLE, SMALLEST, is_slower, of_file, of_source

_LISTED, _LARGEST = 10_000, 16  # objects of a source that are looked at, and files of a mount
_LOOK = 2.0  # seconds between two looks at what is there
_TIMES = 8  # that a slow mount is measured in its pod's life
_SOON, _AGAIN, _RARELY = 10.0, 600.0, 6 * 3600.0  # seconds until another try: after an error, of a slow mount


@dataclass(frozen=True)
class Sample:
    """A file that the mount and a source both have."""

    path: Path
    source: ObjectSource
    object: Object


def main(arguments: Sequence[str]) -> int:
    """Until there is no more to find out."""
    (mount_point,) = map(Path, arguments)
    said = os.environ["SPEED"]
    measure(mount_point, json.loads(said), os.environ, identity=[os.environ["POD_UID"], said])
    return 0


def measure(
    mount_point: Path,
    sources: Sequence[Mapping[str, Any]],
    environment: Mapping[str, str],
    *,
    identity: Sequence[str],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Reports what it finds; what an earlier life of this container has found is said again, not measured."""
    record = record_of(mount_point)
    known = _load(record, identity)
    if known:
        print(json.dumps(known[-1]), flush=True)
    slow, failed = _AGAIN, _SOON
    while not known or (len(known) < _TIMES and is_slower(known[-1]["cache"], known[-1]["source"])):
        if known:
            sleep(slow)
            slow = min(2 * slow, _RARELY)
        try:
            found = _largest(mount_point, _candidates(mount_point, sources, environment), sleep)
            start = len(known) * SAMPLE
            if found.object.size - start < SMALLEST:
                return
            source = of_source(found.source, found.object, start)
            speeds = {"cache": of_file(found.path, start), "source": source, "file": found.object.path}
        except OSError as error:  # a client that went away, or a source: others tell of those
            print(f"not measured: {error}", file=sys.stderr, flush=True)
            sleep(failed)
            failed = min(2 * failed, _RARELY)
            continue
        known.append({"report": "speed", "time": time.time(), **speeds})
        _save(record, identity, known)
        print(json.dumps(known[-1]), flush=True)


def record_of(mount_point: Path) -> Path:
    """The file that keeps what was measured there; a Dataset's name never begins with a dot."""
    return mount_point.parent / f".speed-{mount_point.name}"


def _candidates(
    mount_point: Path, sources: Sequence[Mapping[str, Any]], environment: Mapping[str, str]
) -> list[tuple[list[Path], ObjectSource, Object]]:
    """The largest objects of the sources, and where the mount may have each."""
    found: list[tuple[list[Path], ObjectSource, Object]] = []
    for number, said in enumerate(sources):
        opened = open_source(said["url"], said["options"], from_environment(f"SOURCE{number}_", environment))
        places = [mount_point / str(said["path"]).strip("/")]
        if len(sources) == 1:  # clients of one source show it at the root
            places.append(mount_point)
        for obj in heapq.nlargest(_LARGEST, islice(opened.objects(), _LISTED), key=lambda o: o.size):
            if obj.size >= SMALLEST:
                found.append(([place / obj.path for place in places], opened, obj))
    return found


def _largest(
    mount_point: Path,
    candidates: Sequence[tuple[list[Path], ObjectSource, Object]],
    sleep: Callable[[float], None],
) -> Sample:
    """The largest file, once some are there and nothing changes any more. Raises OSError."""
    before: object = None
    while True:
        there = [
            Sample(path, source, obj)
            for paths, source, obj in candidates
            if (path := next((p for p in paths if _size(p) == obj.size), None)) is not None
        ]
        space = os.statvfs(mount_point)
        now = ([sample.path for sample in there], space.f_bfree, space.f_ffree)
        if there and now == before:
            return max(there, key=lambda sample: sample.object.size)
        before = now
        sleep(_LOOK)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _load(record: Path, identity: Sequence[str]) -> list[dict[str, Any]]:
    try:
        kept = json.loads(record.read_text())
        return list(kept["known"]) if kept["identity"] == list(identity) else []
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def _save(record: Path, identity: Sequence[str], known: Sequence[Mapping[str, Any]]) -> None:
    written = record.with_name(f"{record.name}.new")
    written.write_text(json.dumps({"identity": list(identity), "known": list(known)}))
    written.replace(record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
