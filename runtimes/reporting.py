"""What programs on a node print for the add-on to read (see runtimes.interface)."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field

_PERIOD = 0.5  # seconds between reports of progress


@dataclass
class Progress:
    """What has been done. `moved` counts this run's bytes only, for the rate."""

    total: int = 0
    total_files: int = 0
    bytes: int = 0
    files: int = 0
    moved: int = 0
    trouble: str = ""  # why nothing moves, if nothing does
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int) -> None:
        """Bytes that arrived; negative ones have to be read again."""
        with self.lock:
            self.bytes += count
            self.moved += max(count, 0)

    def complete(self, count: int = 1) -> None:
        """Files that are whole."""
        with self.lock:
            self.files += count

    def numbers(self, seconds: float) -> dict[str, int]:
        """As reports have them."""
        with self.lock:
            return {
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
        last: dict[str, int] = {}
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
