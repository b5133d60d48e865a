"""Hangs host directories into a sandbox that is already made, so that mounts below them reach the host.

A script of its own, run as `python -I -S graft.py PID MARKER SOURCE TARGET [SOURCE TARGET ...]` with the
standard library alone: changing the mount namespace changes it for the whole process. bubblewrap makes all it
binds a slave of the host; a clone of the mount taken here keeps the peer group (mountPropagation:
Bidirectional). https://man7.org/linux/man-pages/man2/open_tree.2.html

A clone has what is mounted when it is taken, and hears of more once it hangs somewhere. What is mounted
between the two, as by the pod's next container, would never be seen in the sandbox: then it is done again.
"""

import ctypes
import os
import sys
import time

_OPEN_TREE, _MOVE_MOUNT = 428, 429  # the same on every architecture
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY = -100, 0x8000, 0x4
_CLONE, _CLOEXEC, _NEWNS = 0x1, 0x80000, 0x20000
_DETACH, _RECURSIVE, _PRIVATE = 2, 1 << 14, 1 << 18
_PATIENCE, _TRIES = 10.0, 5

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise SystemExit(f"{what}: {os.strerror(number)}")
    return result


def main() -> None:
    """Waits until the sandbox's root is in place (MARKER is there), then moves the clones in."""
    pid, marker, *pairs = sys.argv[1:]
    deadline = time.monotonic() + _PATIENCE
    while not os.path.exists(f"/proc/{pid}/root{marker}"):
        if time.monotonic() > deadline:
            raise SystemExit("the sandbox is not ready")
        time.sleep(0.002)
    ours, theirs = (os.open(f"/proc/{each}/ns/mnt", os.O_RDONLY) for each in ("self", pid))
    # Each stays the table of its namespace, whichever we are in.
    here, there = (os.open(f"/proc/{each}/mountinfo", os.O_RDONLY) for each in ("self", pid))
    for source, target in zip(pairs[::2], pairs[1::2], strict=True):
        for left in reversed(range(_TRIES)):
            tree = clone(source)
            _check(_libc.setns(theirs, _NEWNS), "setns")
            hang(tree, target)
            whole = below(here, source) <= below(there, target)
            if left and not whole:
                _take_down(target)
            _check(_libc.setns(ours, _NEWNS), "setns")
            if whole:
                break


def clone(source: str) -> int:
    """A descriptor of a copy, with all that is mounted in it."""
    flags = _CLONE | _CLOEXEC | _AT_RECURSIVE
    tree = _libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags)
    return _check(tree, f"open_tree {source}")


def hang(tree: int, target: str) -> None:
    """Into the namespace that we are in."""
    moved = _libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _AT_EMPTY)
    _check(moved, f"move_mount {target}")
    os.close(tree)


def below(table: int, point: str) -> set[str]:
    """Where something is mounted in a directory, from there on."""
    os.lseek(table, 0, os.SEEK_SET)
    text = b""
    while piece := os.read(table, 1 << 16):
        text += piece
    start = point.encode().replace(b" ", b"\\040") + b"/"
    points = (line.split()[4] for line in text.splitlines())
    return {os.fsdecode(each[len(start) :]) for each in points if each.startswith(start)}


def _take_down(target: str) -> None:
    """Made private first, or it would take what is mounted in it from the host, too."""
    path = os.fsencode(target)
    _check(_libc.mount(None, path, None, _RECURSIVE | _PRIVATE, None), f"make {target} private")
    _check(_libc.umount2(path, _DETACH), f"umount {target}")


if __name__ == "__main__":
    main()
