"""Keeps a node's cache: `python -m runtimes.local.worker`, told what by CACHE (see loader).

Says what the cache holds when it starts, which after a reboot may be less than before, and stays.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from runtimes.local.loader import report
from runtimes.local.store import Store


def main() -> int:
    """Until SIGTERM."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    specification = json.loads(os.environ["CACHE"])
    store = Store(Path(specification["directory"]))
    try:
        store.data.mkdir(parents=True, exist_ok=True)
        store.partial.mkdir(exist_ok=True)
        store.open()
    except OSError as error:
        report("failed", reason="DiskError", message=f"{specification['directory']}: {error}")
        return 1
    capacity = int(specification.get("quota") or store.cached + store.free())
    report("state", cached=store.cached, files=store.files, capacity=capacity)
    signal.sigwait(signals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
