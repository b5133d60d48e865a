"""Checksums that sources give: digests, and the ETag of an S3 object that was uploaded in parts."""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import Protocol

_PARTS = re.compile(r"[0-9a-f]{32}-(\d+)")


class Hasher(Protocol):
    """As hashlib's."""

    def update(self, data: bytes | memoryview, /) -> None:
        """The next bytes."""

    def hexdigest(self) -> str:
        """Of all so far."""


def hasher(kind: str, part_size: int = 0) -> Hasher:
    """`md5`, `sha1`, `sha256`, `crc32`, or `parts` with the size of a part."""
    if kind == "parts":
        return _Parts(part_size)
    return _Crc32() if kind == "crc32" else hashlib.new(kind, usedforsecurity=False)


def parts_of(etag: str) -> int:
    """How many parts an object was uploaded in; 0 when its ETag says nothing of parts."""
    match = _PARTS.fullmatch(etag)
    return int(match[1]) if match else 0


class _Parts:
    """The MD5 of the parts' MD5s, and their number.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """

    def __init__(self, part_size: int) -> None:
        self._size, self._filled = part_size, 0
        self._digests = b""
        self._part = hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes | memoryview, /) -> None:
        view = memoryview(data)
        while view:
            piece = view[: self._size - self._filled]
            self._part.update(piece)
            self._filled += len(piece)
            view = view[len(piece) :]
            if self._filled == self._size:
                self._end_part()

    def hexdigest(self) -> str:
        if self._filled:
            self._end_part()
        whole = hashlib.md5(self._digests, usedforsecurity=False).hexdigest()
        return f"{whole}-{len(self._digests) // 16}"

    def _end_part(self) -> None:
        self._digests += self._part.digest()
        self._part, self._filled = hashlib.md5(usedforsecurity=False), 0


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"
