"""Files of the node, or of what a pod mounts: file:///directory or file:///path/to/file; local:// too."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runtimes.source.objects import Object, Sink, SourceError, checked

_BUFFER = 1 << 20


class FileSource:
    """A directory with all that is below it, or one file. What changes shows in the time of change.

    Symbolic links are followed within the directory; one that leads out of it is refused, for what is there
    is not what somebody was given to read. `claim` is how the user calls what is mounted there: pvc://name/path.
    """

    def __init__(self, url: str, claim: str = "") -> None:
        self.url, self._claim = claim or url, claim
        self._root = Path(unquote(urlsplit(url).path))
        if not self._root.is_absolute():
            raise SourceError(f"{url}: a file URL is file:///path", permanent=True)
        self._real = self._root.resolve()
        self._local = threading.local()

    def objects(self) -> Iterator[Object]:
        """Regular files; sockets and the like are none."""
        if self._root.is_file():
            yield self._object(self._root, self._root.name)
            return
        if not self._root.is_dir():
            lacking = (
                "there is no such path in the claim"
                if self._claim
                else f"{self._root} is not there on this node"
            )
            raise SourceError(f"{self.url}: {lacking}", permanent=True)
        yield from self._below(self._root, frozenset({self._real}))

    def detailed(self, obj: Object) -> Object:
        """Nothing more is known."""
        return obj

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """Ranges by pread."""
        path = self._root if self._root.is_file() else self._root / obj.path
        if not hasattr(self._local, "buffer"):
            self._local.buffer = memoryview(bytearray(_BUFFER))
        buffer: memoryview = self._local.buffer
        try:
            descriptor = os.open(self._inside(path, obj.path), os.O_RDONLY)
            try:
                if _version(os.fstat(descriptor)) != obj.etag:
                    raise SourceError(f"{self.url}: {obj.path} changed while it was read", stale=True)
                while start < end:
                    count = os.preadv(descriptor, [buffer[: min(end - start, _BUFFER)]], start)
                    if not count:
                        raise SourceError(f"{self.url}: {obj.path} became shorter", stale=True)
                    sink(buffer[:count])
                    start += count
            finally:
                os.close(descriptor)
        except SourceError:
            raise
        except FileNotFoundError as error:
            raise SourceError(f"{self.url}: {obj.path} is gone", stale=True) from error
        except OSError as error:
            raise SourceError(f"{self.url}: {obj.path}: {error.strerror}") from error
        return False

    def _below(self, directory: Path, above: frozenset[Path]) -> Iterator[Object]:
        """`above`: the directories that it is in, none of which a link may lead to."""
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            below = directory.relative_to(self._root)
            raise SourceError(f"{self.url}: {below}: {error.strerror}", permanent=True) from error
        for entry in entries:
            path = Path(entry.path)
            name = str(path.relative_to(self._root))
            if entry.is_symlink():
                target = self._inside(path, name)
                if target.is_dir():
                    if target in above:
                        raise SourceError(
                            f"{self.url}: the link {name} leads to a directory that it is in", permanent=True
                        )
                    yield from self._below(path, above | {target})
                    continue
            elif entry.is_dir():
                yield from self._below(path, above | {path.resolve()})
                continue
            if entry.is_file():
                yield self._object(path, checked(name, self.url))

    def _inside(self, path: Path, name: str) -> Path:
        """What a path leads to. Raises SourceError where that is outside of the directory."""
        try:
            target = path.resolve(strict=True)
        except FileNotFoundError:
            if not path.is_symlink():
                raise
            raise SourceError(
                f"{self.url}: the link {name} leads to {os.readlink(path)}, which is not there",
                permanent=True,
            ) from None
        except RuntimeError:
            raise SourceError(f"{self.url}: the link {name} leads to itself", permanent=True) from None
        if target != self._real and self._real not in target.parents:
            raise SourceError(
                f"{self.url}: the link {name} leads to {target}, outside of "
                f"{self._claim or self._root}; only what is below the mount point is copied",
                permanent=True,
            )
        return target

    def _object(self, path: Path, name: str) -> Object:
        try:
            found = path.stat()
        except OSError as error:
            raise SourceError(f"{self.url}: {name}: {error.strerror}", permanent=True) from error
        return Object(name, found.st_size, _version(found))


def _version(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns}"
