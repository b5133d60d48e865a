"""Compiled code of engines that nodes give one another: archives in `compiled`, beside the data.

An engine's launcher looks for them there and leaves them there; here they are only names and bytes. A name is
`<key>.<SHA-256>.tar`, so what came is checked by its name. Nothing is fetched onto a node that has no such
directory: no engine there has asked for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import tempfile
import threading
from pathlib import Path

from runtimes.local.peers import Peers
from runtimes.source.objects import SourceError

DIRECTORY = "compiled"
ARCHIVE = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})\.tar")
LIMIT = 2 << 30  # bytes of all of a Dataset on a node; also the launchers'
_PERIOD = 30.0  # seconds after which others are asked unasked


def archives(directory: Path) -> dict[str, int]:
    """Name and bytes of what a cache directory has."""
    found = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(directory / DIRECTORY) as entries:
        for entry in entries:
            if ARCHIVE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    found[entry.name] = entry.stat().st_size
    return found


def fetch(directory: Path, peers: Peers, limit: int = LIMIT) -> int:
    """Takes what others have for keys for which nothing is here; how many archives came."""
    came = 0
    if not (directory / DIRECTORY).is_dir():
        return came
    for peer, there in peers.compiled():
        for name, size in there.items():
            if not ARCHIVE.fullmatch(name) or not isinstance(size, int):
                continue
            here = archives(directory)
            if any(name[:32] == mine[:32] for mine in here) or sum(here.values()) + size > limit:
                continue
            try:
                _take(directory / DIRECTORY, peers, peer, name, size)
                came += 1
            except (SourceError, OSError) as error:
                print(f"compiled code is not taken from {peer}: {error}", file=sys.stderr, flush=True)
                break
    return came


def _take(target: Path, peers: Peers, peer: str, name: str, size: int) -> None:
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=target, prefix=".", suffix=".new", delete=False) as file:
        try:

            def sink(data: memoryview) -> None:
                digest.update(data)
                file.write(data)

            peers.archive(peer, name, size, sink)
            if digest.hexdigest() != name.split(".")[1]:
                raise SourceError(f"the SHA-256 of {name} is not the one in its name")
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.fileno(), 0o644)
            os.rename(file.name, target / name)
        except BaseException:
            os.unlink(file.name)
            raise


class Fetching:
    """Asks the others in a thread of its own: now, every half minute, and when told to."""

    def __init__(self, directory: Path, peers: Peers) -> None:
        self._directory, self._peers = directory, peers
        self._asked = threading.Event()
        self._here = False
        threading.Thread(target=self._run, daemon=True).start()

    def look(self) -> None:
        """The cache directory has changed: if an engine has just come, it wants an answer soon."""
        here = (self._directory / DIRECTORY).is_dir()
        if here and not self._here:
            self._asked.set()
        self._here = here

    def _run(self) -> None:
        while True:
            self._asked.clear()
            fetch(self._directory, self._peers)
            self._asked.wait(_PERIOD)
