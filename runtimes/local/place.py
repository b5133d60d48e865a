"""Whether the directory that a container has is still the one that its node has at that path.

A container keeps the directory that it was started with, whatever becomes of the path on the node: other pods
get what is there when they start. What the kernel tells of our own mount follows a directory that is moved.
What is mounted over it only the node's own mount table shows, which is at NODE_TABLE, if it may be read.

https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Collection
from pathlib import Path

from runtimes.node.mountinfo import TABLE, mount_at, mounts, within

NODE_TABLE = Path("/node/mountinfo")
_READINGS = 3  # that have to agree
_AT_FDCWD, _BTIME = -100, 0x800


class Place:
    """Where a directory was when this began."""

    def __init__(self, directory: Path, own: Path = TABLE, node: Path = NODE_TABLE) -> None:
        """Opens the directory. Raises OSError."""
        self._directory, self._own, self._node = os.path.realpath(directory), own, node
        self.descriptor = os.open(directory, os.O_RDONLY)
        self._origin = self._found()
        self._paths = self._shown()

    def close(self) -> None:
        """Of the directory."""
        os.close(self.descriptor)

    def check(self) -> None:
        """Raises FileNotFoundError when pods that start now would get another directory, or none."""
        mine = os.fstat(self.descriptor)
        if not mine.st_nlink:
            raise FileNotFoundError("somebody removed the cache")
        # A table that changes while it is read may lack lines (Linux before 5.8), but others each time.
        hidden = set(self._paths)
        for _ in range(_READINGS):
            if not (hidden := hidden - self._shown(unknown=hidden)):
                break
        if hidden:
            raise FileNotFoundError(f"something was mounted over the cache: {', '.join(sorted(hidden))}")
        there = os.stat(self._directory)
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            raise FileNotFoundError("another directory is where the cache was")
        if (now := self._found()) != self._origin:
            raise FileNotFoundError(f"somebody moved the cache: it is at {now[1]} of its disk now")

    def _found(self) -> tuple[str, str]:
        """The number of the file system that it is on, and its path there."""
        mount = mount_at(self._directory, mounts(self._own))
        if mount is None:
            return "", ""
        return mount.device.number, _joined(mount.root, self._directory, mount.point)

    def _shown(self, unknown: Collection[str] = ()) -> set[str]:
        """Paths at which the node has what was there; `unknown` when nobody tells."""
        number, path = self._origin
        try:
            table = mounts(self._node)
        except OSError:
            return set(unknown)
        having = [m for m in table if m.device.number == number and within(path, m.root)]
        shown = {_joined(m.point, path, m.root): m for m in having}
        return {at for at, mount in shown.items() if mount_at(at, table) == mount}


def born(path: Path) -> float | None:
    """When it was made, in seconds since the epoch; None where its file system does not say. statx(2)"""
    found = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None).statx(_AT_FDCWD, os.fsencode(path), 0, _BTIME, found):
        return None
    (mask,), (seconds, nanoseconds) = struct.unpack_from("=I", found), struct.unpack_from("=qI", found, 80)
    return float(seconds + nanoseconds / 1e9) if mask & _BTIME else None


def _joined(base: str, path: str, root: str) -> str:
    """The path, which is below root, below base."""
    rest = path.removeprefix(root).strip("/")
    return f"{base.rstrip('/')}/{rest}" if rest else base
