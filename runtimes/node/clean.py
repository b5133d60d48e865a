"""Removes a cache from a node: `python -m runtimes.node.clean [--remove=DIR] [--unmount=DIR]`.

Repeatable, and content with what is not there any more.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runtimes.node import publish, remount, speed
from runtimes.node.mountinfo import mounts


def main(arguments: Sequence[str] | None = None) -> int:
    """Mounts first, so that removing never reaches into one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--remove", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--unmount", type=Path, action="append", default=[], metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        for path in options.unmount:
            unmount(path)
        for path in options.remove:
            remove(path)
    except OSError as error:
        print(f"cannot clean: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def unmount(path: Path) -> None:
    """Ends every mount on the path, dead ones too, and removes the directory they were on."""
    publish.published_at(path).unlink(missing_ok=True)
    for point in (publish.live_at(path), path):
        for _ in range(mounts_on(point)):
            done = subprocess.run(
                ["umount", "--lazy", str(point)], capture_output=True, text=True, check=False
            )
            if done.returncode and mounts_on(point):
                raise OSError(f"{point} is still mounted: {done.stderr.strip()}")
        try:
            point.rmdir()  # only an empty one: what is in it was never ours
        except FileNotFoundError:
            pass
    for record in (remount.record_of(path), speed.record_of(path)):
        record.unlink(missing_ok=True)
    _remove_empty(path.parent)


def remove(path: Path) -> None:
    """Removes a link, or a directory with all that is in it; refuses to when something is mounted below."""
    if mounts_below(path):
        raise OSError(f"{path}: something is mounted in it")
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
    _remove_empty(path.parent)


def mounts_on(path: Path) -> int:
    """How many mounts lie on exactly this path."""
    return sum(mount.point == str(path) for mount in mounts())


def mounts_below(path: Path) -> bool:
    """Whether anything is mounted on or below the path."""
    return any(mount.point == str(path) or mount.point.startswith(f"{path}/") for mount in mounts())


def _remove_empty(directory: Path) -> None:
    """The namespace's directory, when that was its last cache."""
    try:
        directory.rmdir()
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main())
