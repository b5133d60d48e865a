"""Loads of a cache directory run one after the other. Who waits says for what, and that is brought first.

A waiter keeps a file in `awaited`, beside the data: JSON, its targets. It holds a lock on it, so that those
of the dead are known. When all that it waits for is complete, it has nothing left to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

DIRECTORY = "awaited"
_TICK = 50_000_000  # nanoseconds within which a directory may change twice at the same time
_LOOK = 0.1  # seconds


def below(path: str, targets: Collection[str]) -> bool:
    """Whether a file is one of the targets, or in one; "" is all."""
    return any(not target or path == target or path.startswith(f"{target}/") for target in targets)


class Awaited:
    """What the waiters of a directory want, for whoever loads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / DIRECTORY
        self._at, self._known = 0, dict[str, list[str]]()

    def changed(self) -> Collection[str] | None:
        """All targets, if others are waiting than the last time. Costs one stat where nothing happens."""
        try:
            at = self._directory.stat().st_mtime_ns
        except FileNotFoundError:
            at = 0
        if at == self._at:
            return None
        settled = time.time_ns() - at > _TICK
        found = dict(self._read())
        self._at = at if settled else 0
        if found == self._known:
            return None
        self._known = found
        return {target for targets in found.values() for target in targets}

    def _read(self) -> Iterator[tuple[str, list[str]]]:
        with contextlib.suppress(FileNotFoundError):
            for path in self._directory.iterdir():
                if path.name.startswith("."):
                    continue
                with contextlib.suppress(FileNotFoundError, ValueError), path.open() as file:
                    if _free(file):
                        path.unlink(missing_ok=True)
                    else:
                        yield path.name, [str(target) for target in json.load(file)]


def _free(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Waiter:
    """One that waits for `targets`. `complete` tells whether all of them are there."""

    def __init__(self, directory: Path, targets: Collection[str], complete: Callable[[], bool]) -> None:
        self._directory, self._targets, self._complete = directory / DIRECTORY, targets, complete
        self._pause = 0.0
        self._said = ExitStack()

    def look(self) -> bool:
        """After a moment, whether there is nothing left to wait for. The first time it says what there is."""
        if not self._pause:
            self._said.enter_context(_said(self._directory, self._targets))
        time.sleep(self._pause)
        began = time.monotonic()
        complete = self._complete()
        self._pause = max(_LOOK, 10 * (time.monotonic() - began))
        return complete

    def end(self) -> None:
        """It waits no more."""
        self._said.close()


@contextmanager
def _said(directory: Path, targets: Collection[str]) -> Iterator[None]:
    """Where it cannot be said, one waits as long as it takes."""
    with ExitStack() as stack:
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            shown = directory / os.urandom(16).hex()
            hidden = shown.with_name(f".{shown.name}")
            file = stack.enter_context(hidden.open("x"))
            fcntl.flock(file, fcntl.LOCK_EX)
            json.dump(list(targets), file)
            file.flush()
            hidden.rename(shown)
            stack.callback(shown.unlink, missing_ok=True)
        yield
