"""Objects kept as text: for kinds of which there are many and one is looked at at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, MutableMapping
from typing import Any

import orjson

from addon_framework.kube.key import Key

_SAMPLES = 32 * 1024  # bytes; zlib looks back no further
_WELL = 4  # times smaller, where an object is like one of the samples


class Packed(MutableMapping[Key, Any]):
    """A dict of plain objects in a twentieth of the memory; what it gives is a copy, soon made.

    Objects of one kind are alike, or like one of a few: those that are like no other yet become samples, by
    which the others are compressed.
    """

    def __init__(self) -> None:
        self._texts: dict[Key, bytes] = {}
        self._samples = b""

    def __getitem__(self, key: Key) -> Any:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS, self._samples)
        return orjson.loads(unpacker.decompress(self._texts[key]))

    def __setitem__(self, key: Key, value: Any) -> None:
        text = orjson.dumps(value)
        packed = self._pack(text)
        if len(packed) * _WELL > len(text) and len(self._samples) + len(text) <= _SAMPLES:
            # In front: what is packed already refers to the others by their distance from the end. A copy,
            # because orjson's own keeps the buffer that it was written in.
            self._samples = text + self._samples
            packed = self._pack(text)
        self._texts[key] = packed

    def _pack(self, text: bytes) -> bytes:
        packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS, memLevel=5, zdict=self._samples)
        return packer.compress(text) + packer.flush()

    def __delitem__(self, key: Key) -> None:
        del self._texts[key]

    def __contains__(self, key: object) -> bool:
        return key in self._texts

    def __iter__(self) -> Iterator[Key]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)
