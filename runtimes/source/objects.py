"""What sources are made of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from runtimes.source.checksums import Hasher, hasher

_LONGEST_NAME = 255  # NAME_MAX


class SourceError(OSError):
    """The source cannot be read.

    `permanent`: trying again soon will not help. `stale`: it is not what it was when it was listed.
    """

    def __init__(self, message: str, *, permanent: bool = False, stale: bool = False) -> None:
        super().__init__(message)
        self.permanent, self.stale = permanent, stale


@dataclass(frozen=True)
class Object:
    """A file at the source. `path` is relative; checksums are known only where the source says so.

    `stored` is the kind (see checksums.hasher) and the digest that the source keeps beside the file. A digest
    that ends in `-N` is that of the checksums of N parts, all but the last of `part_size` bytes.
    """

    path: str
    size: int
    etag: str = ""
    md5: str = ""
    stored: tuple[str, str] | None = None
    part_size: int = 0

    @property
    def checksum(self) -> tuple[str, str] | None:
        """Kind and digest; MD5, the slowest, last."""
        return self.stored or (("md5", self.md5) if self.md5 else None)

    @property
    def parts(self) -> int:
        """The size of the parts of which `checksum` is; 0 when it is of the whole."""
        return self.part_size if self.checksum and "-" in self.checksum[1] else 0

    def hasher(self) -> Hasher | None:
        """For `checksum`."""
        return hasher(self.checksum[0], self.parts) if self.checksum else None


class Sink(Protocol):
    """Takes bytes as they come."""

    def __call__(self, data: memoryview) -> None:
        """Called with consecutive pieces; the memory is used again afterwards."""


@runtime_checkable
class FileSink(Sink, Protocol):
    """Also takes bytes that are in a pipe, and need not come through this process."""

    def drain(self, pipe: int, count: int) -> None:
        """The next `count` bytes, all of which are in it."""


class ObjectSource(Protocol):
    """What every source can do; used by many threads at once."""

    def objects(self) -> Iterator[Object]:
        """All files. Raises SourceError."""

    def detailed(self, obj: Object) -> Object:
        """With a checksum, if asking for this one object tells one. Raises SourceError."""

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """Bytes [start, end) into the sink; whether `obj.checksum` may be trusted. Raises SourceError."""


def checked(path: str, url: str) -> str:
    """A relative path that stays below the cache. Raises SourceError."""
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise SourceError(f"{url}: object {path!r} has a name that cannot be a file", permanent=True)
    if (longest := max(len(os.fsencode(part)) for part in parts)) > _LONGEST_NAME:
        raise SourceError(
            f"{url}: object {path[:60]!r}... has a name that cannot be a file: {longest} bytes between "
            f"slashes, {_LONGEST_NAME} are possible",
            permanent=True,
        )
    return path
