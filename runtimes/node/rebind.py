"""Puts a cache's directory where pods have the one that somebody removed: `python -m runtimes.node.rebind`.

What a container mounts stays what it was when that is removed and made anew: empty, for ever. As with a FUSE
client's dead mount (see runtimes.node.remount), a clone of what is there now is put in its place, as root, in
the mount namespace of every container that has it. The kernel marks what was removed, and where it was, so
nothing else is ever replaced. Ends when nobody has it any more; what a subPath names may have to be loaded
first.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from runtimes.node.mountinfo import mount_at, mounts, within
from runtimes.node.remount import namespaces, repair
from runtimes.reporting import report

_AGAIN = 1.0  # seconds
_REMOVED = "//deleted"  # the kernel's mark


def main(arguments: Sequence[str] | None = None) -> int:
    """Until nobody has it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--directory", type=Path, required=True, metavar="DIR")
    parser.add_argument("--proc", type=Path, default=Path("/proc"), metavar="DIR", help="the node's")
    options = parser.parse_args(arguments)
    told = ""
    while problem := rebind(options.directory, options.proc):
        if problem != told:
            report("remountFailed", message=problem)
            told = problem
        time.sleep(_AGAIN)
    return 0


def rebind(directory: Path, proc: Path) -> str:
    """What could not be put in place yet; "" when nobody waits for it."""
    own = mount_at(str(directory), mounts())
    if own is None:
        raise FileNotFoundError(f"{directory} is in no mount")
    here = f"{own.root.rstrip('/')}{str(directory).removeprefix(own.point.rstrip('/'))}"
    problems = []
    for pid, table in namespaces(proc):
        tops = {mount.point: mount for mount in table}  # what is mounted last lies on top
        wanted = [
            (f"{directory}{mount.root.removesuffix(_REMOVED).removeprefix(here)}", mount)
            for mount in tops.values()
            if mount.device.number == own.device.number
            and mount.root.endswith(_REMOVED)
            and within(mount.root.removesuffix(_REMOVED), here)
        ]
        if wanted and (problem := repair(proc / str(pid) / "ns" / "mnt", wanted, is_removed)):
            problems.append(problem)
    return "; ".join(problems)


def is_removed(path: str) -> bool:
    """Whether what is mounted there has no name any more."""
    return os.stat(path).st_nlink == 0


if __name__ == "__main__":
    sys.exit(main())
