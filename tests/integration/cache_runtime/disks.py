"""Disks of a test: one so small that it can be filled (mounting needs root), and directories that go."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(directory: Path, mib: int) -> Iterator[Path]:
    """Mounted at `directory`, which it makes, while the block runs."""
    directory.mkdir()
    with disk_over(directory, mib):
        yield directory


@contextmanager
def disk_over(directory: Path, mib: int) -> Iterator[None]:
    """The same over a directory that is there."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """As the kernel mounts a disk again that fails."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def remove(directory: Path) -> None:
    """As people do by hand: again while a process that has not noticed still writes there."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)
