"""Reads files, so that they are in the node's memory: `python -m runtimes.node.prefetch`.

FILE_PREFETCHER_FILE_LIST has patterns, separated by semicolons. When all is read, or after
FILE_PREFETCHER_TIMEOUT_SECONDS, it writes prefetcher.status; then it waits for SIGTERM, as a sidecar does.
With FILE_PREFETCHER_ASYNC_PREFETCH=true nobody waits for it, so it reads to the end.
"""

from __future__ import annotations

import glob
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

_STATUS = Path("/tmp/fluid-file-prefetcher/status/prefetcher.status")
_THREADS, _PIECE = 8, 8 << 20


def main() -> int:
    """Until SIGTERM."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    threading.Thread(target=run, args=(os.environ, _STATUS), daemon=True).start()
    signal.sigwait(ends)
    return 0


def run(environment: Mapping[str, str], status: Path) -> None:
    """Reads, and says how that went."""
    asynchronous = environment.get("FILE_PREFETCHER_ASYNC_PREFETCH") == "true"
    limit = None if asynchronous else float(environment.get("FILE_PREFETCHER_TIMEOUT_SECONDS") or 120)
    began = time.monotonic()
    counted = _Counted(None if limit is None else began + limit)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = files(environment.get("FILE_PREFETCHER_FILE_LIST", ""))
        list(pool.map(counted.read, takewhile(lambda path: not counted.over(), found)))
    how = "timeout" if counted.late else "done"
    said = f"{how}: {counted.bytes} bytes of {counted.files} files in {time.monotonic() - began:.1f} s"
    print(said, flush=True)
    status.parent.mkdir(parents=True, exist_ok=True)
    fresh = status.with_suffix(".new")
    fresh.write_text(f"{how}\n")
    fresh.replace(status)


def files(patterns: str) -> Iterator[str]:
    """Regular files that match; of a directory, all that is below it."""
    seen = set()
    for pattern in filter(None, patterns.split(";")):
        for path in glob.iglob(pattern, recursive=True):
            below = glob.iglob(f"{glob.escape(path)}/**", recursive=True) if os.path.isdir(path) else [path]
            for each in below:
                if each not in seen and os.path.isfile(each):
                    seen.add(each)
                    yield each


class _Counted:
    """What has been read; `late` when the time is over."""

    def __init__(self, deadline: float | None) -> None:
        self._deadline, self._lock = deadline, threading.Lock()
        self.bytes = self.files = 0
        self.late = False

    def read(self, path: str) -> None:
        buffer = bytearray(_PIECE)
        try:
            with open(path, "rb", buffering=0) as file:
                while not self.over() and (count := file.readinto(buffer)):
                    with self._lock:
                        self.bytes += count
        except OSError as error:
            print(f"{path} is not read: {error}", file=sys.stderr, flush=True)
            return
        with self._lock:
            self.files += 1

    def over(self) -> bool:
        """Whether the time is over; listing a large tree takes its part of it."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.late = True
        return self.late


if __name__ == "__main__":
    sys.exit(main())
