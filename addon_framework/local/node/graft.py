"""Hangs host directories into a sandbox that is already made, so that mounts below them reach the host.

A script of its own, run as `python -I -S graft.py PID MARKER SOURCE TARGET [SOURCE TARGET ...]` with the
standard library alone: changing the mount namespace changes it for the whole process. bubblewrap makes all it
binds a slave of the host; a clone of the mount taken here keeps the peer group (mountPropagation:
Bidirectional). https://man7.org/linux/man-pages/man2/open_tree.2.html
"""

import ctypes
import os
import sys
import time

_OPEN_TREE, _MOVE_MOUNT = 428, 429  # the same on every architecture
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY = -100, 0x8000, 0x4
_CLONE, _CLOEXEC, _NEWNS = 0x1, 0x80000, 0x20000
_PATIENCE = 10.0

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise SystemExit(f"{what}: {os.strerror(number)}")
    return result


def main() -> None:
    """Waits until the sandbox's root is in place (MARKER is there), then moves the clones in."""
    pid, marker, *pairs = sys.argv[1:]
    clones = []
    for source in pairs[::2]:
        path = os.fsencode(source)
        clone = _libc.syscall(_OPEN_TREE, _AT_FDCWD, path, _CLONE | _CLOEXEC | _AT_RECURSIVE)
        clones.append(_check(clone, f"open_tree {source}"))
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    deadline = time.monotonic() + _PATIENCE
    while True:
        _check(_libc.setns(namespace, _NEWNS), "setns")
        if os.path.exists(marker):
            break
        if time.monotonic() > deadline:
            raise SystemExit("the sandbox is not ready")
        time.sleep(0.002)
    for clone, target in zip(clones, pairs[1::2], strict=True):
        moved = _libc.syscall(_MOVE_MOUNT, clone, b"", _AT_FDCWD, os.fsencode(target), _AT_EMPTY)
        _check(moved, f"move_mount {target}")


if __name__ == "__main__":
    main()
