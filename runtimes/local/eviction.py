"""Makes room in a cache: files that a load does not ask for go, least recently used first.

Never one that is in use, nor one that a load has pinned. A write lease is what tells who has a file open or
mapped, in whichever container: the kernel refuses it then. https://man7.org/linux/man-pages/man2/fcntl.2.html
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Collection
from pathlib import Path

from runtimes.local.store import Entry, Store


def evict(
    store: Store, amount: int, wanted: Collection[str], used: Callable[[Path], bool] | None = None
) -> list[str]:
    """Removes files of at least `amount` bytes, none of the `wanted`; which, or none if that cannot be."""
    chosen: list[str] = []
    for path, entry in sorted(_candidates(store, wanted), key=lambda each: _last_use(store.data / each[0])):
        if amount <= 0:
            break
        if not (used or in_use)(store.data / path):
            chosen.append(path)
            amount -= entry.size
    if amount > 0:
        return []  # what would be lost without being enough stays
    store.remove(chosen)
    return chosen


def in_use(path: Path) -> bool:
    """Whether anybody has it open or mapped; True when that cannot be told."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        return True
    finally:
        os.close(descriptor)
    return False


def _candidates(store: Store, wanted: Collection[str]) -> list[tuple[str, Entry]]:
    return [(p, e) for p, e in store.entries.items() if p not in wanted and not e.pinned and e.size]


def _last_use(path: Path) -> float:
    """As coarse as the kernel keeps times of access; what nobody has read counts from its arrival."""
    found = path.stat()
    return max(found.st_atime, found.st_mtime)
