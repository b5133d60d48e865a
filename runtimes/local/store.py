"""A cache directory on a node: complete files in `data`, unfinished ones in `partial`, and `index.json`.

Pods mount `data`, so a file appears there only by rename, whole and verified. What is complete is written
down, since a copy of the right size after a power cut need not be right: files that were not flushed to the
disk before another boot are removed by whoever comes first, worker or loader. Nothing is written down as
flushed before its bytes, its name and the directories above are on the disk.

The index has an id, so that a directory that was removed, or is on another disk, is known to be another one.
What is written down as complete and is not there is `lost`, until it is here again or nobody wants it.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import IO

from runtimes.source import Object

_TOGETHER = 100  # files that are flushed one by one
_WRITE_PERIOD = 0.2  # seconds
_LARGE = 8 << 20  # bytes of a file that is written down at once: it would be a pity to read it again
_LOST = "lost"  # the boot of an index that cannot be read
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Entry:
    """A complete file. `boot` is the boot it was written in, until it is on the disk: then "" ."""

    size: int
    etag: str
    url: str
    boot: str = ""
    pinned: bool = False  # stays when room is made


class Store:
    """One cache directory. Several threads may add files; `exclusive` keeps other processes out."""

    def __init__(self, directory: Path, *, boot: str | None = None, ids: Sequence[int] | None = None) -> None:
        """`ids` are uid and gid of who owns the files that pods see, if not this process."""
        self._ids = ids
        self.data, self.partial = directory / "data", directory / "partial"
        self.directory, self._index = directory, directory / "index.json"
        self._boot = boot if boot is not None else (_BOOT.read_text().strip() if _BOOT.exists() else "")
        self._lock = Lock()
        self._write_at = 0.0
        self._parts: list[Path] = []  # of files that are complete and not written down
        self._entries: dict[str, Entry] = {}
        self._lost: dict[str, Entry] = {}
        self.id = ""  # of this directory, once there is an index

    @contextmanager
    def exclusive(self, meanwhile: Callable[[], bool] | None = None) -> Iterator[bool]:
        """Waits until no other process works on the directory. The lock ends with its holder.

        `meanwhile` is called again and again while one does; when it says that there is nothing left to do,
        the block runs without the lock, and with False.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        self.partial.mkdir(exist_ok=True)
        with (self.directory / "lock").open("w") as file:
            while not _locked(file, wait=meanwhile is None):
                if meanwhile is not None and meanwhile():
                    yield False
                    return
            if self.open() not in (None, self._boot):
                for leftover in self.partial.iterdir():
                    leftover.unlink()
                self.drop_unknown()
            self._drop_parts()
            self.id = self.id or secrets.token_hex(8)
            self._write(durable=True)  # the boot, above all: without it no other boot would be noticed
            try:
                yield True
            finally:
                self._write(durable=True)

    def settle(self) -> None:
        """After another boot, what may be half on the disk goes; a new directory gets an id. A loader that is
        here sees to both.
        """
        if self.open() != self._boot or not self.id:
            with self.exclusive(lambda: True):
                pass

    def look(self) -> None:
        """Reads the index. What is there and is not what is written down goes: nobody may take it for whole.

        A loader may have put newer files there than the index has; while one works, nothing is `lost`.
        """
        self.open()
        if not self._lost or _is_read_only(self.directory):
            return
        with ExitStack() as stack:
            if not _locked(stack.enter_context((self.directory / "lock").open("a")), wait=False):
                self._lost = {}
                return
            self.open()
            for path in self._lost:
                # Somebody may have made a directory of it, or a file of one above.
                with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                    (self.data / path).unlink()

    def open(self) -> str | None:
        """Reads what is complete; the boot in which that was written down, if it was."""
        try:
            written = json.loads(self._index.read_text())
        except FileNotFoundError:
            written = {}
        except ValueError:  # no kill does that, but a power cut may
            written = {"boot": _LOST}
        self._entries, self._lost = {}, {}
        for path, fields in written.get("files", {}).items():
            entry = Entry(**fields)
            whole = entry.boot in ("", self._boot) and _size(self.data / path) == entry.size
            (self._entries if whole else self._lost)[path] = entry
        self.id = str(written.get("id") or "")
        boot: str | None = written.get("boot")
        return boot

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Complete files, by path."""
        return dict(self._entries)

    @property
    def lost(self) -> list[str]:
        """Paths of what was complete and is not there."""
        return sorted(self._lost)

    def check(self, paths: Iterable[str]) -> None:
        """Raises FileNotFoundError when somebody has removed what was complete, or cut it."""
        for path in paths:
            entry = self._entries.get(path)
            if entry is None or _size(self.data / path) != entry.size:
                raise FileNotFoundError(f"{path} was removed or changed here while the load was going on")

    def has(self, path: str, url: str, obj: Object) -> bool:
        """Whether this very version of an object is complete."""
        entry = self._entries.get(path)
        return entry is not None and (entry.size, entry.etag, entry.url) == (obj.size, obj.etag, url)

    @property
    def cached(self) -> int:
        """Bytes of complete files."""
        return sum(entry.size for entry in self._entries.values())

    @property
    def files(self) -> int:
        """How many files are complete."""
        return len(self._entries)

    def free(self) -> int:
        """Bytes the disk still has for us."""
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize

    def add(self, path: str, url: str, obj: Object, temporary: Path) -> None:
        """Puts a complete file where pods see it, if it is not there already.

        Peers have it from `temporary` until it is written down.
        """
        target = self.data / path
        temporary.chmod(0o444)
        self._give(temporary)
        with self._lock:
            missing = [above for above in target.parents if not above.exists()] if self._ids else []
            target.parent.mkdir(parents=True, exist_ok=True)
            for above in missing:
                self._give(above)
            if temporary != target:
                whole = temporary.with_suffix(".whole")
                whole.unlink(missing_ok=True)
                whole.hardlink_to(temporary)
                whole.replace(target)
                self._parts.append(temporary)
            self._entries[path] = Entry(obj.size, obj.etag, url, self._boot)
            self._lost.pop(path, None)
            if obj.size >= _LARGE or time.monotonic() >= self._write_at:
                self._write()

    def tell(self) -> None:
        """Writes down what is complete, now: somebody waits for it."""
        with self._lock:
            if self._parts:
                self._write()

    def _drop_parts(self) -> None:
        """Of files that are complete: a process was killed before it did. They would keep evicted bytes."""
        leftovers = list(self.partial.iterdir())
        complete = self.identities() if leftovers else {}
        for leftover in leftovers:
            if leftover.stem in complete:
                leftover.unlink()

    def give(self) -> None:
        """What is there already gets its owner. Raises OSError."""
        for directory, _, names in os.walk(self.data) if self._ids else ():
            for path in (directory, *(os.path.join(directory, name) for name in names)):
                self._give(Path(path))

    def drop_unknown(self) -> None:
        """Removes what is not written down as complete: it need not be, and it takes room."""
        for path in self._walk() - self._entries.keys():
            (self.data / path).unlink()

    def keep_only(self, wanted: set[str], partial: set[str]) -> None:
        """Removes files that the source no longer has, and unfinished ones that nobody will finish."""
        for path in sorted(self._walk() - wanted):
            (self.data / path).unlink()
            self._entries.pop(path, None)
        self.forget(self._lost.keys() - wanted)
        # Empty ones too if something will come: a pod may be waiting with the directory mounted.
        stay = {str(parent) for path in wanted for parent in (self.data / path).parents}
        for directory, _, _ in os.walk(self.data, topdown=False):
            if directory not in stay and directory != str(self.data) and not os.listdir(directory):
                os.rmdir(directory)
        for leftover in self.partial.iterdir():
            if leftover.stem not in partial:
                leftover.unlink()
        self._write()

    def forget(self, paths: Iterable[str]) -> None:
        """What is lost and will not come again."""
        for path in list(paths):
            self._lost.pop(path, None)

    def remove(self, paths: Iterable[str]) -> None:
        """Complete files, to make room."""
        for path in paths:
            del self._entries[path]
        self._write()  # first: what is gone must not be written down as complete
        for path in paths:
            (self.data / path).unlink(missing_ok=True)

    def pin(self, paths: Iterable[str]) -> None:
        """Complete files stay when room is made."""
        for path in paths:
            self._entries[path] = replace(self._entries[path], pinned=True)
        self._write()

    def flush(self) -> None:
        """Puts complete files on the disk, so that they outlive a power cut."""
        fresh = [path for path, entry in self._entries.items() if entry.boot]
        if len(fresh) > _TOGETHER:
            self._flush_all()
        for path in fresh:
            if len(fresh) <= _TOGETHER:
                _flush(self.data / path)
        if len(fresh) <= _TOGETHER:
            for directory in sorted({parent for path in fresh for parent in self._above(path)}):
                _flush(directory)
        for path in fresh:
            self._entries[path] = replace(self._entries[path], boot="")
        self._write(durable=True)

    def _above(self, path: str) -> list[Path]:
        """The directories in which a file was made, up to the cache's own."""
        return [self.data / parent for parent in Path(path).parents] + [self.directory]

    def _give(self, path: Path) -> None:
        if not self._ids:
            return
        uid, gid = self._ids
        found = path.lstat()
        if (found.st_uid, found.st_gid) != (uid, gid):
            try:
                os.chown(path, uid, gid, follow_symlinks=False)
            except OSError as error:
                text = f"the Dataset's spec.owner cannot be given {path}: {error.strerror}"
                raise OSError(error.errno, text) from None

    def _flush_all(self) -> None:
        """The whole file system at once; a million single files would take many minutes. syncfs(2)."""
        descriptor = os.open(self.data, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(self.data))
        finally:
            os.close(descriptor)

    def identities(self) -> dict[str, Path]:
        """Complete files by the names that `temporary` gave them."""
        return {
            _identity(path, entry.url, entry.size, entry.etag): self.data / path
            for path, entry in self._entries.items()
        }

    def temporary(self, path: str, url: str, obj: Object) -> Path:
        """Where an object is put together; the same for the same version of it, so that it can be resumed."""
        return self.partial / f"{_identity(path, url, obj.size, obj.etag)}.part"

    def _walk(self) -> set[str]:
        return {
            str(Path(directory, name).relative_to(self.data))
            for directory, _, names in os.walk(self.data)
            for name in names
        }

    def _write(self, *, durable: bool = False) -> None:
        began = time.monotonic()
        known = self._lost | self._entries
        files: Mapping[str, object] = {path: asdict(entry) for path, entry in known.items()}
        fresh = self._index.with_suffix(".new")
        fresh.write_text(json.dumps({"boot": self._boot, "id": self.id, "files": files}))
        if durable:
            _flush(fresh)
        fresh.replace(self._index)
        if durable:
            _flush(self.directory)
        parts, self._parts = self._parts, []
        for part in parts:
            part.unlink(missing_ok=True)
            part.with_suffix(".done").unlink(missing_ok=True)
        # A tenth of the time at most; a file that a kill leaves out of the index is read again.
        ended = time.monotonic()
        self._write_at = ended + max(_WRITE_PERIOD, 10 * (ended - began))


def _locked(file: IO[str], *, wait: bool) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_read_only(directory: Path) -> bool:
    """As a disk that failed is mounted again; what is cut can only be told then."""
    return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)


def _identity(path: str, url: str, size: int, etag: str) -> str:
    text = json.dumps([path, url, size, etag])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _flush(path: Path) -> None:
    """A file's bytes, or a directory's names. fsync(2)"""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
