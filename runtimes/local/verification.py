"""Whether the bytes of a file are the object's: found out while its ranges come, in any order.

Of a CRC nothing is read again: pieces are summed up on their way to the disk, and joined at the end. Digests
need the bytes in order: each part that is whole is read by whoever completed it, many at once; what has no
parts is read from its beginning, as far as it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Protocol

from runtimes.source import Object
from runtimes.source.checksums import Crc, crc, hasher, of_digests

Bounds = tuple[int, int]
Read = Callable[[int, int], Iterator[memoryview]]  # the bytes [start, end) of the file, in pieces


class Verification(Protocol):
    """Used by many threads at once, but each range by one at a time. `sums`: whether pieces are looked at."""

    sums: bool

    def passes(self, number: int, data: memoryview, offset: int) -> None:
        """A piece of a range goes to the disk; ranges come from their first byte on, perhaps again."""

    def arrived(self, number: int) -> None:
        """A range is whole."""

    def digest(self) -> str:
        """Of the whole file, all of which is there."""


def verification(obj: Object, ranges: list[Bounds], there: bytearray, read: Read) -> Verification | None:
    """What fits the object's checksum, if it has one. `there`: which ranges are, kept up by the caller."""
    if obj.checksum is None:
        return None
    kind = obj.checksum[0]
    if (found := crc(kind)) is not None:
        return _Sums(obj, found, ranges, read)
    if obj.parts:
        return _Parts(kind, obj.parts, ranges, there, read)
    return _InOrder(kind, ranges, there, read)


class _Sums:
    """A CRC: of pieces that end where ranges or parts do."""

    sums = True

    def __init__(self, obj: Object, crc: Crc, ranges: list[Bounds], read: Read) -> None:
        self._crc, self._ranges, self._read, self._size = crc, ranges, read, obj.size
        self._kind, self._part = (obj.checksum or ("", ""))[0], obj.parts
        self._pieces: dict[int, list[tuple[int, int]]] = {}  # of a range: lengths and sums

    def passes(self, number: int, data: memoryview, offset: int) -> None:
        if offset == self._ranges[number][0]:
            self._pieces[number] = []
        pieces, part = self._pieces[number], self._part or self._size
        while data:
            piece = data[: part - offset % part]
            if pieces and offset % part:
                length, value = pieces.pop()
            else:
                length, value = 0, 0
            pieces.append((length + len(piece), self._crc.of(piece, value)))
            data, offset = data[len(piece) :], offset + len(piece)

    def arrived(self, number: int) -> None:
        """Nothing is left to do."""

    def digest(self) -> str:
        sums = [self._crc.digest(value) for value in self._of_parts()]
        return of_digests(self._kind, sums) if self._part else (sums or [self._crc.digest(0)])[0].hex()

    def _of_parts(self) -> Iterator[int]:
        value, filled, part = 0, 0, self._part or self._size
        for number, (start, end) in enumerate(self._ranges):
            if number not in self._pieces:  # it came in an earlier life
                for data in self._read(start, end):
                    self.passes(number, data, start)
                    start += len(data)
            for length, piece in self._pieces.get(number, ()):
                value, filled = self._crc.joined(value, piece, length), filled + length
                if filled == part:
                    yield value
                    value, filled = 0, 0
        if filled:
            yield value


class _Parts:
    """Digests of parts."""

    sums = False

    def __init__(self, kind: str, size: int, ranges: list[Bounds], there: bytearray, read: Read) -> None:
        self._kind, self._size, self._read = kind, size, read
        self._ranges, self._there = ranges, there
        end = ranges[-1][1]
        self._parts = [(start, min(start + size, end)) for start in range(0, end, size)]
        self._taken, self._lock = set[int](), Lock()
        self._digests: dict[int, bytes] = {}

    def passes(self, number: int, data: memoryview, offset: int) -> None:
        """Nothing can be said of a piece."""

    def arrived(self, number: int) -> None:
        start, end = self._ranges[number]
        for part in range(start // self._size, -(-end // self._size)):
            if self._whole(part):
                with self._lock:
                    if part in self._taken:
                        continue
                    self._taken.add(part)
                self._digests[part] = self._of(part)

    def digest(self) -> str:
        parts = range(len(self._parts))
        return of_digests(self._kind, (self._digests.get(part) or self._of(part) for part in parts))

    def _whole(self, part: int) -> bool:
        (start, end), length = self._parts[part], self._ranges[0][1]
        return all(self._there[start // length : -(-end // length)])

    def _of(self, part: int) -> bytes:
        found = hasher(self._kind)
        for data in self._read(*self._parts[part]):
            found.update(data)
        return found.digest()


class _InOrder:
    """A digest of the whole: grows with the beginning of the file that is there."""

    sums = False

    def __init__(self, kind: str, ranges: list[Bounds], there: bytearray, read: Read) -> None:
        self._hasher, self._ranges, self._there, self._read = hasher(kind), ranges, there, read
        self._next, self._lock = 0, Lock()

    def passes(self, number: int, data: memoryview, offset: int) -> None:
        """It need not be the next."""

    def arrived(self, number: int) -> None:
        """Whoever comes reads what has become contiguous; others go on meanwhile."""
        while self._lock.acquire(blocking=False):
            try:
                self._advance()
            finally:
                self._lock.release()
            # One that came while we held the lock has left; its range may be the next.
            if self._next >= len(self._ranges) or not self._there[self._next]:
                return

    def digest(self) -> str:
        with self._lock:
            self._advance()
            return self._hasher.hexdigest()

    def _advance(self) -> None:
        while self._next < len(self._ranges) and self._there[self._next]:
            for data in self._read(*self._ranges[self._next]):
                self._hasher.update(data)
            self._next += 1
