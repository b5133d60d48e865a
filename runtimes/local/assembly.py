"""One file put together from ranges that arrive in any order, verified, and resumable after a kill -9."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

from runtimes.source import Object, SourceError

RANGE = 8 << 20


def ranges(size: int) -> int:
    """How many a file of `size` bytes has."""
    return max(1, -(-size // RANGE))


class Assembly:
    """A file of the right size, filled range by range.

    Beside it a journal with one byte per range, 1 once the range's bytes are written, 2 while they are being
    read from the origin (which only peers look at, see serving). Killing a process
    loses none of its writes; another boot is the store's matter. The checksum grows with the beginning of
    the file that is complete, so that little is left to hash when the last range arrives.
    """

    def __init__(self, obj: Object, path: Path) -> None:
        self.object, self._path, self._journal = obj, path, path.with_suffix(".done")
        self.count, self.name = ranges(obj.size), path.stem
        self._lock = Lock()
        self._done = self._resume()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.truncate(self._file, obj.size)
        self._marks = os.open(self._journal, os.O_WRONLY | os.O_CREAT, 0o644)
        self._hash, self.distrusted = obj.hasher(), False
        self._hashed = 0
        self._hashing = Lock()

    @property
    def missing(self) -> list[int]:
        """The ranges that are still to be read."""
        return [number for number in range(self.count) if not self._done[number]]

    @property
    def present(self) -> int:
        """Bytes that are there."""
        return sum(
            self.bounds(number)[1] - self.bounds(number)[0]
            for number in range(self.count)
            if self._done[number]
        )

    def bounds(self, number: int) -> tuple[int, int]:
        """First byte, and the one after the last."""
        return number * RANGE, min((number + 1) * RANGE, self.object.size)

    def write(self, data: memoryview, offset: int) -> None:
        """A piece of a range."""
        while data:
            count = os.pwrite(self._file, data, offset)
            data, offset = data[count:], offset + count

    def reading(self, number: int) -> None:
        """A range is about to come from the origin."""
        os.pwrite(self._marks, b"\2", number)

    def matches(self) -> bool:
        """Whether the whole file has its checksum, if it has one."""
        with self._hashing:
            self._advance()
            return self._hash is None or self._hash.hexdigest() == (self.object.checksum or ("", ""))[1]

    def restart(self) -> None:
        """Nothing of it is there any more."""
        with self._lock, self._hashing:
            self._done = bytearray(self.count)
            os.pwrite(self._marks, bytes(self.count), 0)
            self._hash, self._hashed = self.object.hasher(), 0

    def complete(self, number: int) -> bool:
        """A range is whole; True when it was the last one."""
        os.pwrite(self._marks, b"\1", number)
        with self._lock:
            self._done[number] = 1
            last = all(self._done)
        self._catch_up()
        return last

    def distrust(self) -> None:
        """What looked like a checksum is none."""
        self._hash, self.distrusted = None, True

    def trust(self, obj: Object) -> None:
        """The same object with another checksum, if any."""
        self.object, self._hash, self._hashed = obj, obj.hasher(), 0

    @property
    def verified(self) -> bool:
        """Whether `finish` compares a checksum."""
        return self._hash is not None

    def finish(self) -> Path:
        """Closes and verifies. Raises SourceError when the bytes are not the object's."""
        with self._hashing:
            self._advance()
            digest = self._hash.hexdigest() if self._hash is not None else ""
        self.close()
        self._journal.unlink(missing_ok=True)
        kind, wanted = self.object.checksum or ("", "")
        if digest and digest != wanted:
            self._path.unlink(missing_ok=True)
            raise SourceError(
                f"{self.object.path}: the bytes that came are not the object's: {kind.upper()} is {digest}, "
                f"the source says {wanted}"
            )
        return self._path

    def close(self) -> None:
        """Leaves everything for a later run."""
        for descriptor in (self._file, self._marks):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._marks = -1

    def _resume(self) -> bytearray:
        try:
            done = bytearray(self._journal.read_bytes()) if self._path.exists() else bytearray()
        except FileNotFoundError:
            done = bytearray()
        done = bytearray(mark == 1 for mark in done)
        return done[: self.count] + bytearray(self.count - len(done[: self.count]))

    def _catch_up(self) -> None:
        """Whoever comes hashes what has become contiguous; others go on reading meanwhile."""
        while self._hash is not None and self._hashing.acquire(blocking=False):
            try:
                self._advance()
            finally:
                self._hashing.release()
            # One that came while we held the lock has left; its range may be the next.
            if self._hashed >= self.count or not self._done[self._hashed]:
                return

    def _advance(self) -> None:
        while self._hash is not None and self._hashed < self.count and self._done[self._hashed]:
            start, end = self.bounds(self._hashed)
            self._hash.update(os.pread(self._file, end - start, start))
            self._hashed += 1
