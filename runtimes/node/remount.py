"""Puts a FUSE client's new mount where its dead one still is: `python -m runtimes.node.remount`.

A client that dies leaves its mount, dead, in the mount namespace of every container that had it, and what the
next client mounts reaches none of them. So the new mount is cloned, carried into those namespaces and put in
the dead one's place, as root: open_tree(2), setns(2), move_mount(2), Linux 5.2; mount_setattr(2), 5.12. That
works for subPaths, with any mount propagation, and in whichever order clients and pods restart.

What earlier clients mounted is kept in a file beside the mount point, by device number, type and source: a
number is not used again while a mount holds it, and only what answers ENOTCONN is ever replaced.

It also shows the mount where pods that start find it (see runtimes.node.publish). Where SPEED is set, a
process beside this one measures it (see runtimes.node.speed).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

from runtimes.node.mountinfo import FUSE, TABLE, Device, Mount, device_at, mounts
from runtimes.node.publish import live_at, publish, withdraw
from runtimes.node.seal import seal
from runtimes.reporting import report

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on every architecture since 2019
_AT_FDCWD, _AT_EMPTY_PATH, _O_CLOEXEC, _CLONE_NEWNS = -100, 0x1000, 0o2000000, 0x20000
_TREE_CLONE = 1
_FROM_EMPTY_PATH, _BENEATH = 0x4, 0x200
_MNT_DETACH, _MS_PRIVATE = 2, 1 << 18
_ATTRIBUTES = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
_AGAIN = 1000  # milliseconds until another try
_DEAD = (errno.ENOTCONN, errno.ECONNABORTED)
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_libc = ctypes.CDLL(None, use_errno=True)


def record_of(mount_point: Path) -> Path:
    """The file that keeps what was mounted there; a Dataset's name never begins with a dot."""
    return mount_point.parent / f".remount-{mount_point.name}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Looks whenever the mount table changes, until it is asked to end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mount-point", type=Path, required=True, metavar="DIR")
    parser.add_argument("--proc", type=Path, default=Path("/proc"), metavar="DIR", help="the node's")
    parser.add_argument("--read-only", action="store_true", help="nobody may write, whatever the client says")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        with _measuring(options.mount_point), TABLE.open() as table:
            changes = select.poll()
            changes.register(table, select.POLLPRI)
            trouble = ""
            while True:
                try:
                    remount(options.mount_point, options.proc, read_only=options.read_only)
                    trouble = ""
                except OSError as error:
                    if str(error) != trouble:
                        report("remountFailed", message=str(error))
                    trouble = str(error)
                changes.poll(_AGAIN if trouble else None)
    finally:
        withdraw(options.mount_point)


@contextlib.contextmanager
def _measuring(mount_point: Path) -> Iterator[None]:
    """Apart, since it waits for the mount and for the source, and is done after a while."""
    if "SPEED" not in os.environ:
        yield
        return
    child = subprocess.Popen([sys.executable, "-m", "runtimes.node.speed", str(mount_point)])
    try:
        yield
    finally:
        child.kill()


def remount(mount_point: Path, proc: Path, *, read_only: bool = False) -> None:
    """Brings the mount that is there now to every container that has a dead one of an earlier client."""
    number = device_at(mount_point)
    if not number or _is_dead(str(mount_point)):
        return
    current = _current(mount_point)
    if read_only and current is not None:
        seal(mount_point)
    publish(mount_point, number)
    if current is None:  # a mount of the kernel's own does not die with its client
        return
    record = record_of(mount_point)
    known = _load(record)
    _save(record, known | {current})
    if not (old := known - {current}):
        return
    held: set[Device] = set()
    published = f"/{live_at(mount_point).relative_to(mount_point.parent.parent)}/"
    for pid, table in namespaces(proc, of=FUSE):
        # What is mounted last lies on top.
        tops = {mount.point: mount for mount in table if published not in mount.point}
        dead = [mount for mount in tops.values() if mount.device in old]
        held |= {mount.device for mount in table}
        if dead:
            wanted = [(f"{mount_point}{mount.root}".rstrip("/"), mount) for mount in dead]
            if problem := repair(proc / str(pid) / "ns" / "mnt", wanted, _is_dead):
                report("remountFailed", message=problem)
    _save(record, (old & held) | {current})


def repair(namespace: Path, wanted: Sequence[tuple[str, Mount]], is_dead: Callable[[str], bool]) -> str:
    """Puts clones of paths of ours in the place of dead mounts; what could not be done, "" if nothing.

    A process of its own enters the namespace, since there is no way back.
    """
    clones, missing = [], []
    for path, mount in wanted:
        try:
            clones.append((_clone(path, mount.options), mount.point))
        except FileNotFoundError:
            missing.append(mount.point)
    problems = [f"{', '.join(missing)}: not in the new mount"] if missing else []
    if not clones:
        return "; ".join(problems)
    try:
        inside = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # its last process has ended
        return ""
    opened = [inside, *(clone for clone, _ in clones)]
    try:
        if (child := os.fork()) == 0:
            os._exit(_replace(inside, clones, is_dead))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if code:
        problems.append(f"{', '.join(p for _, p in clones)}: {os.strerror(code)}")
    else:
        report("remounted", points=sorted(point for _, point in clones))
    return "; ".join(problems)


def _replace(namespace: int, clones: Iterable[tuple[int, str]], is_dead: Callable[[str], bool]) -> int:
    """In the child. The errno of the first failure, else 0."""
    try:
        if _libc.setns(namespace, _CLONE_NEWNS):
            return ctypes.get_errno()
        failed = 0
        for clone, point in clones:
            try:
                if is_dead(point):
                    _put(clone, point)
            except OSError as error:
                failed = failed or error.errno or errno.EIO
        return failed
    except BaseException:
        return errno.EIO


def _put(clone: int, point: str) -> None:
    """Beneath the dead one, which then goes: at no moment is there nothing.

    Before Linux 6.5 over it; or, since nothing can be mounted on a directory that was removed, after it.
    """
    try:
        _call(_MOVE_MOUNT, clone, b"", _AT_FDCWD, point.encode(), _FROM_EMPTY_PATH | _BENEATH)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    else:
        return _detach(point)
    try:
        _call(_MOVE_MOUNT, clone, b"", _AT_FDCWD, point.encode(), _FROM_EMPTY_PATH)
    except FileNotFoundError:
        _detach(point)
        _call(_MOVE_MOUNT, clone, b"", _AT_FDCWD, point.encode(), _FROM_EMPTY_PATH)


def _detach(point: str) -> None:
    if _libc.umount2(point.encode(), _MNT_DETACH):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), point)


def _clone(path: str, options: Iterable[str]) -> int:
    """A detached copy of a mount, read-only and so on as the dead one was."""
    tree = _call(_OPEN_TREE, _AT_FDCWD, path.encode(), _TREE_CLONE | _O_CLOEXEC)
    attributes = struct.pack("=QQQQ", sum(_ATTRIBUTES.get(o, 0) for o in options), 0, _MS_PRIVATE, 0)
    _call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, len(attributes))
    return tree


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def namespaces(proc: Path, of: str = "") -> Iterator[tuple[int, list[Mount]]]:
    """One process of every mount namespace but ours, and what is mounted there of a type that begins so."""
    seen = {os.readlink("/proc/self/ns/mnt")}
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            namespace = os.readlink(proc / name / "ns" / "mnt")
            if namespace in seen:
                continue
            found = mounts(proc / name / "mountinfo", of)
        except OSError:  # it has ended
            continue
        if found:
            seen.add(namespace)
            yield int(name), found


def _current(mount_point: Path) -> Device | None:
    there = [m for m in mounts(of=FUSE) if m.point == str(mount_point)]
    return there[-1].device if there else None


def _is_dead(path: str) -> bool:
    """Waits for a client that has mounted and not answered yet."""
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno in _DEAD
    return False


def _load(record: Path) -> set[Device]:
    """What was mounted since the machine started; device numbers mean nothing longer."""
    try:
        kept = json.loads(record.read_text())
        return {Device(*each) for each in kept["devices"]} if kept["boot"] == _BOOT.read_text() else set()
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return set()


def _save(record: Path, devices: set[Device]) -> None:
    if devices != _load(record):
        written = record.with_name(f"{record.name}.new")
        kept = {"boot": _BOOT.read_text(), "devices": sorted(map(astuple, devices))}
        written.write_text(json.dumps(kept))
        written.replace(record)


if __name__ == "__main__":
    sys.exit(main())
