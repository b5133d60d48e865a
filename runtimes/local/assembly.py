"""One file put together from ranges that arrive in any order, verified, and resumable after a kill -9."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from runtimes.local.verification import Verification, verification
from runtimes.source import Object, SourceError

RANGE = 8 << 20
ABSENT, THERE, READING, CLAIMED, REFUSED = range(5)  # what a journal says of a range
_PIECE = 1 << 18  # bytes read at once: what stays in a core's own cache


def ranges(size: int) -> int:
    """How many a file of `size` bytes has."""
    return max(1, -(-size // RANGE))


class DiskFaultError(Exception):
    """Passes through a source, which would take an OSError for its own."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Assembly:
    """A file of the right size, filled range by range.

    Beside it a journal with one byte per range: THERE once the range's bytes are written; the others only
    peers look at (see serving). Killing a process loses none of its writes; another boot is the store's
    matter. The checksum is made while ranges come (see verification), so that little is left to do when the
    last one has.
    """

    def __init__(self, obj: Object, path: Path) -> None:
        self.object, self._path, self._journal = obj, path, path.with_suffix(".done")
        self.count, self.name = ranges(obj.size), path.stem
        self._lock = Lock()
        self._done = self._resume()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.truncate(self._file, obj.size)
        self._marks = os.open(self._journal, os.O_WRONLY | os.O_CREAT, 0o644)
        self._left, self.distrusted = len(self.missing), False
        self._verification = self._verify(obj)

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
        """A piece of a range; each range from its first byte on, perhaps again."""
        if self._verification is not None:
            self._verification.passes(offset // RANGE, data, offset)
        self._put(data, offset)

    def drain(self, pipe: int, count: int, offset: int) -> None:
        """As `write`, of bytes in a pipe: the kernel moves them, and they are read where they came to be."""
        start, end = offset, offset + count
        while offset < end:
            try:
                offset += os.splice(pipe, self._file, end - offset, offset_dst=offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # A file system that takes nothing from pipes.
                offset += self._put(memoryview(os.read(pipe, end - offset)), offset)
        if self._verification is not None and self._verification.sums:
            below = start % mmap.ALLOCATIONGRANULARITY
            there = mmap.mmap(self._file, end - start + below, offset=start - below, prot=mmap.PROT_READ)
            self._verification.passes(start // RANGE, memoryview(there)[below:], start)

    def mark(self, number: int, mark: int) -> None:
        """Tells peers what becomes of a range."""
        os.pwrite(self._marks, bytes([mark]), number)

    def matches(self) -> bool:
        """Whether the whole file has its checksum, if it has one."""
        wanted = (self.object.checksum or ("", ""))[1]
        return self._verification is None or self._verification.digest() == wanted

    def restart(self) -> None:
        """Nothing of it is there any more."""
        with self._lock:
            self._done[:] = bytes(self.count)
            os.pwrite(self._marks, bytes(self.count), 0)
            self._left, self._verification = self.count, self._verify(self.object)

    def complete(self, number: int) -> bool:
        """A range is whole; True for the one who has nobody to wait for any more."""
        self.mark(number, THERE)
        self._done[number] = 1
        if (verification := self._verification) is not None:
            verification.arrived(number)
        with self._lock:
            self._left -= 1
            return not self._left

    def distrust(self) -> None:
        """What looked like a checksum is none."""
        self._verification, self.distrusted = None, True

    def trust(self, obj: Object) -> None:
        """The same object with another checksum, if any."""
        self.object, self._verification = obj, self._verify(obj)

    @property
    def verified(self) -> bool:
        """Whether `finish` compares a checksum."""
        return self._verification is not None

    def finish(self) -> Path:
        """Closes and verifies. Raises SourceError when the bytes are not the object's."""
        digest = self._verification.digest() if self._verification is not None else ""
        self.close()
        kind, wanted = self.object.checksum or ("", "")
        if digest and digest != wanted:
            self._path.unlink(missing_ok=True)
            self._journal.unlink(missing_ok=True)
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

    def _put(self, data: memoryview, offset: int) -> int:
        count = 0
        while count < len(data):
            count += os.pwrite(self._file, data[count:], offset + count)
        return count

    def _resume(self) -> bytearray:
        try:
            done = bytearray(self._journal.read_bytes()) if self._path.exists() else bytearray()
        except FileNotFoundError:
            done = bytearray()
        done = bytearray(mark == THERE for mark in done)
        return done[: self.count] + bytearray(self.count - len(done[: self.count]))

    def _verify(self, obj: Object) -> Verification | None:
        bounds = [self.bounds(number) for number in range(self.count)]
        return verification(obj, bounds, self._done, self._read)

    def _read(self, start: int, end: int) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(_PIECE, max(end - start, 1))))
        while start < end:
            count = os.preadv(self._file, [buffer[: min(len(buffer), end - start)]], start)
            if not count:
                raise OSError(errno.EIO, "became shorter while it was read", str(self._path))
            yield buffer[:count]
            start += count


class Arrival:
    """A range on its way into its file, from its first byte on: a FileSink. `came` hears of every piece."""

    def __init__(self, assembly: Assembly, number: int, came: Callable[[int], None]) -> None:
        self._assembly, self._came = assembly, came
        self.start = self.position = assembly.bounds(number)[0]

    def __call__(self, data: memoryview) -> None:
        """Raises DiskFaultError."""
        with _of_the_disk():
            self._assembly.write(data, self.position)
        self._advance(len(data))

    def drain(self, pipe: int, count: int) -> None:
        """Raises DiskFaultError."""
        with _of_the_disk():
            self._assembly.drain(pipe, count, self.position)
        self._advance(count)

    def _advance(self, count: int) -> None:
        self.position += count
        self._came(count)


@contextmanager
def _of_the_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskFaultError(error) from error
