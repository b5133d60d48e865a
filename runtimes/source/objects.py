"""What sources are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class SourceError(OSError):
    """The source cannot be read.

    `permanent`: trying again soon will not help. `stale`: it is not what it was when it was listed.
    """

    def __init__(self, message: str, *, permanent: bool = False, stale: bool = False) -> None:
        super().__init__(message)
        self.permanent, self.stale = permanent, stale


@dataclass(frozen=True)
class Object:
    """A file at the source. `path` is relative; `md5` or `sha256` are known only where the source says so."""

    path: str
    size: int
    etag: str = ""
    md5: str = ""
    sha256: str = ""

    @property
    def checksum(self) -> tuple[str, str] | None:
        """The name of the algorithm and the digest."""
        if self.sha256:
            return "sha256", self.sha256
        return ("md5", self.md5) if self.md5 else None


class Sink(Protocol):
    """Takes bytes as they come."""

    def __call__(self, data: memoryview) -> None:
        """Called with consecutive pieces; the memory is used again afterwards."""


class ObjectSource(Protocol):
    """What every source can do; used by many threads at once."""

    def objects(self) -> Iterator[Object]:
        """All files. Raises SourceError."""

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """Bytes [start, end) into the sink; whether `obj.checksum` may be trusted. Raises SourceError."""


def checked(path: str, url: str) -> str:
    """A relative path that stays below the cache. Raises SourceError."""
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise SourceError(f"{url}: object {path!r} has a name that cannot be a file", permanent=True)
    return path
