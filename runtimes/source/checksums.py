"""Checksums that sources give: digests and CRCs, of a whole object or of the parts that it was uploaded in.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable
from typing import Protocol

KINDS = (
    "sha256",
    "crc64nvme",
    "crc32c",
    "crc32",
    "sha1",
)  # of S3: the surest, then the fastest
CRC64_XZ = "crc64xz"  # of OSS and COS, which call it crc64ecma
_CRCS = {
    "crc64nvme": ("CRC64-NVME", 8),
    CRC64_XZ: ("CRC64-XZ", 8),
    "crc32c": ("CRC32C", 4),
    "crc32": ("CRC32", 4),
}
_PARTS = re.compile(r"[0-9a-f]{32}-(\d+)")


class Hasher(Protocol):
    """As hashlib's."""

    def update(self, data: bytes | memoryview, /) -> None:
        """The next bytes."""

    def digest(self) -> bytes:
        """Of all so far."""

    def hexdigest(self) -> str:
        """Of all so far."""


def hasher(kind: str, part_size: int = 0) -> Hasher:
    """`md5`, one of KINDS, or CRC64_XZ; given the size of parts, of their digests, followed by how many."""
    if part_size:
        return _Parts(kind, part_size)
    found = crc(kind)
    return hashlib.new(kind, usedforsecurity=False) if found is None else _Running(found)


class Crc:
    """One kind of CRC: sums of pieces, that of pieces one after the other, and the bytes that S3 stores."""

    def __init__(self, name: str, length: int) -> None:
        import anycrc  # not before it is needed: a loader that needs none starts sooner

        self._model, self._length = anycrc.Model(name), length

    def of(self, data: bytes | memoryview, before: int = 0) -> int:
        """Of bytes after others, which have the sum `before`."""
        return int(self._model.calc(data, before))

    def joined(self, first: int, second: int, length: int) -> int:
        """Of two pieces one after the other, by theirs; the second has `length` bytes."""
        return int(self._model.combine(first, second, length))

    def digest(self, value: int) -> bytes:
        """As it is stored."""
        return value.to_bytes(self._length, "big")


@functools.cache
def crc(kind: str) -> Crc | None:
    """None for what is none."""
    return Crc(*_CRCS[kind]) if kind in _CRCS else None


def parts_of(etag: str) -> int:
    """How many parts an object was uploaded in; 0 when its ETag says nothing of parts."""
    match = _PARTS.fullmatch(etag)
    return int(match[1]) if match else 0


def of_digests(kind: str, digests: Iterable[bytes]) -> str:
    """What an object in parts has, by the digests of its parts."""
    whole, count = hasher(kind), 0
    for count, digest in enumerate(digests, 1):  # noqa: B007 - of the last
        whole.update(digest)
    return f"{whole.hexdigest()}-{count}"


class _Parts:
    def __init__(self, kind: str, part_size: int) -> None:
        self._kind, self._size, self._filled = kind, part_size, 0
        self._digests: list[bytes] = []
        self._part = hasher(kind)

    def update(self, data: bytes | memoryview, /) -> None:
        view = memoryview(data)
        while view:
            piece = view[: self._size - self._filled]
            self._part.update(piece)
            self._filled += len(piece)
            view = view[len(piece) :]
            if self._filled == self._size:
                self._digests.append(self._part.digest())
                self._part, self._filled = hasher(self._kind), 0

    def digest(self) -> bytes:
        return self.hexdigest().encode()

    def hexdigest(self) -> str:
        last = [self._part.digest()] if self._filled else []
        return of_digests(self._kind, [*self._digests, *last])


class _Running:
    def __init__(self, crc: Crc) -> None:
        self._crc, self._value = crc, 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._crc.of(data, self._value)

    def digest(self) -> bytes:
        return self._crc.digest(self._value)

    def hexdigest(self) -> str:
        return self.digest().hex()
