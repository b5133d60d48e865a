"""What programs on a node print for the add-on to read (see runtimes.interface)."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

_PERIOD = 0.5  # seconds between reports of progress


@dataclass
class Progress:
    """What has been done. `moved` counts this run's bytes only, for the rate.

    `version` is a name for all that is to come; reports have it once nothing of `before` is missing, and all
    that comes after that can be read as it comes.
    """

    total: int = 0
    total_files: int = 0
    bytes: int = 0
    files: int = 0
    moved: int = 0
    version: str = ""
    before: set[str] = field(default_factory=set)
    trouble: str = ""  # why nothing moves, if nothing does
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int) -> None:
        """Bytes that arrived; negative ones have to be read again."""
        with self.lock:
            self.bytes += count
            self.moved += max(count, 0)

    def complete(self, path: str = "") -> None:
        """A file is whole."""
        with self.lock:
            self.files += 1
            self.before.discard(path)

    def numbers(self, seconds: float) -> dict[str, Any]:
        """As reports have them."""
        with self.lock:
            said = {"version": self.version} if self.version and not self.before else {}
            return said | {
                "bytes": self.bytes,
                "total": self.total,
                "files": self.files,
                "totalFiles": self.total_files,
                "rate": round(self.moved / seconds) if seconds else 0,
            }


def report(kind: str, **fields: object) -> None:
    """One line. Names of files need not be UTF-8, which JSON has to be: escapes are in place of the rest."""
    said = {name: _readable(value) for name, value in fields.items()}
    print(json.dumps({"report": kind, "time": time.time(), **said}), flush=True)


def _readable(value: object) -> object:
    if isinstance(value, list):
        return [_readable(each) for each in value]
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


class Reporting:
    """Reports progress from a thread while the block runs."""

    def __init__(self, progress: Progress, began: float) -> None:
        self._progress, self._began = progress, began
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        last: dict[str, Any] = {}
        told = ""
        while not self._end.wait(_PERIOD):
            numbers = self._progress.numbers(time.monotonic() - self._began)
            if numbers["bytes"] != last.get("bytes"):
                report("progress", **numbers)
                told = self._progress.trouble = ""
            elif (trouble := self._progress.trouble) != told:
                report("trouble", message=trouble)
                told = trouble
            last = numbers
