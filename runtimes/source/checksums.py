"""Checksums that sources give: digests and CRCs, of a whole object or of the parts that it was uploaded in.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from __future__ import annotations

import functools
import hashlib
import re
import zlib
from collections.abc import Iterable
from typing import Protocol

CRC32 = "crc32"
_PARTS = re.compile(r"[0-9a-f]{32}-(\d+)")
_POLYNOMIAL, _ONE = 0xEDB88320, 1 << 31  # reflected: the highest bit is x^0


class Hasher(Protocol):
    """As hashlib's."""

    def update(self, data: bytes | memoryview, /) -> None:
        """The next bytes."""

    def digest(self) -> bytes:
        """Of all so far."""

    def hexdigest(self) -> str:
        """Of all so far."""


def hasher(kind: str, part_size: int = 0) -> Hasher:
    """`md5`, `sha256`, `crc32`; given the size of parts, of their digests, followed by how many."""
    if part_size:
        return _Parts(kind, part_size)
    return _Crc32() if kind == CRC32 else hashlib.new(kind, usedforsecurity=False)


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


def joined(first: int, second: int, length: int) -> int:
    """The CRC32 of two pieces one after the other, by theirs; the second has `length` bytes.

    The first is multiplied by x^(8 * length), as if so many zeros followed. https://zlib.net/crc_v3.txt
    """
    return _product(first, _power(8 * length)) ^ second


def _product(a: int, b: int) -> int:
    """Of two polynomials, modulo that of CRC32."""
    result, bit = 0, _ONE
    while a:
        if a & bit:
            result, a = result ^ b, a ^ bit
        bit >>= 1
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return result


@functools.lru_cache(256)
def _power(exponent: int) -> int:
    """x to it; nearly all pieces are of the same length."""
    result, square = _ONE, _ONE >> 1
    while exponent:
        if exponent & 1:
            result = _product(result, square)
        square, exponent = _product(square, square), exponent >> 1
    return result


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


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")

    def hexdigest(self) -> str:
        return self.digest().hex()
