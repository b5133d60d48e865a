"""What is mounted where on this machine: the shared directory of the node's hostPaths, and what pods leave.

https://docs.kernel.org/filesystems/sharedsubtree.html
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path


def below(directory: Path) -> list[str]:
    """Mount points in and at a directory, the deepest first."""
    root = str(directory)
    points = []
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            point = _unescape(line.split()[4])
            if point == root or point.startswith(f"{root}/"):
                points.append(point)
    return points[::-1]  # the table is in the order of mounting


def share(directory: Path) -> None:
    """Makes a directory a mount of its own whose mounts reach every namespace that has it; root only."""
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return
    subprocess.run(["mount", "--bind", str(directory), str(directory)], check=True)
    # Private first: else an outer peer group, such as systemd's shared /, would get all of it, too.
    subprocess.run(["mount", "--make-private", str(directory)], check=True)
    subprocess.run(["mount", "--make-shared", str(directory)], check=True)


def unmount_all(directory: Path) -> None:
    """Everything in and at a directory; what is busy or dead goes lazily."""
    for point in below(directory):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def is_dead(path: Path) -> bool:
    """Whether a FUSE mount has lost its process."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def remove_tree(directory: Path) -> None:
    """Removes a directory; what is mounted in it is unmounted first, since it would be somebody's data."""
    if below(directory):
        unmount_all(directory)
    shutil.rmtree(directory, ignore_errors=True)


def _unescape(point: bytes) -> str:
    """The kernel writes blanks and backslashes as octal."""
    return point.decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
