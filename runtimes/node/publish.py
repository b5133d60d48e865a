"""The path at which pods find what a FUSE client mounts: there only while there is something to see.

A mount point is not. Before its client has mounted and after it has unmounted it is an empty directory, and
a pod that starts at that moment sees no data and no error. So the mount is shown a second time, in a tmpfs:

    .data-<name>         -> .live-<name>/data    a link on the disk; PersistentVolumes name it
    .live-<name>/data    -> 0-57                 replaced as a whole by the next client's
    .live-<name>/0-57    the client's mount, by its device number

While nothing is mounted, and after a restart of the machine, which a tmpfs does not outlive, the link leads
nowhere: a kubelet that wants a Directory waits, and a container engine cannot make one where a link is. One
whose client has died answers ENOTCONN. Links are relative, since to containers a node's root is elsewhere.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from runtimes.node.mountinfo import device_at

_MS_BIND, _MNT_DETACH = 1 << 12, 2
_LINK = "data"
_libc = ctypes.CDLL(None, use_errno=True)


def published_at(mount_point: Path) -> Path:
    """Where pods find the mount; a Dataset's name never begins with a dot."""
    return mount_point.parent / f".data-{mount_point.name}"


def live_at(mount_point: Path) -> Path:
    """The tmpfs."""
    return mount_point.parent / f".live-{mount_point.name}"


def publish(mount_point: Path, number: str) -> None:
    """Shows the mount with that device number (major:minor), if it is still there, and no earlier one."""
    live = live_at(mount_point)
    if not device_at(live):
        live.mkdir(exist_ok=True)
        _mount("tmpfs", live, "tmpfs", 0, "size=64k,mode=755")
    clone = live / number.replace(":", "-")
    if device_at(clone) != number:
        clone.mkdir(exist_ok=True)
        _mount(str(mount_point), clone, "", _MS_BIND)
        if device_at(clone) != number:  # it has gone meanwhile, and that was the directory under it
            _unmount(clone)
            return
    _link(live / _LINK, clone.name)
    _link(published_at(mount_point), f"{live.name}/{_LINK}")
    with os.scandir(live) as entries:
        earlier = [Path(e.path) for e in entries if not e.is_symlink() and e.name != clone.name]
    for path in earlier:
        _unmount(path)
        path.rmdir()


def withdraw(mount_point: Path) -> None:
    """From now on pods that start wait. Those that have the mount keep it."""
    if device_at(live := live_at(mount_point)):
        _unmount(live)


def _link(path: Path, target: str) -> None:
    if os.path.islink(path) and os.readlink(path) == target:
        return
    made = path.with_name(f"{path.name}.new")
    made.unlink(missing_ok=True)
    made.symlink_to(target)
    made.replace(path)


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    if _libc.mount(source.encode(), str(target).encode(), kind.encode(), flags, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def _unmount(path: Path) -> None:
    """With all that is mounted in it, whoever still uses it."""
    if _libc.umount2(str(path).encode(), _MNT_DETACH) and device_at(path):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
