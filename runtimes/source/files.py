"""Files of the node: file:///directory or file:///path/to/file; local:// means the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runtimes.source.objects import Object, Sink, SourceError, checked

_BUFFER = 1 << 20


class FileSource:
    """A directory with all that is below it, or one file. What changes shows in the time of change."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._root = Path(unquote(urlsplit(url).path))
        if not self._root.is_absolute():
            raise SourceError(f"{url}: a file URL is file:///path", permanent=True)
        self._local = threading.local()

    def objects(self) -> Iterator[Object]:
        """Regular files and what symbolic links lead to."""
        if self._root.is_file():
            yield self._object(self._root, self._root.name)
            return
        if not self._root.is_dir():
            raise SourceError(f"{self.url}: {self._root} is not there on this node", permanent=True)
        for directory, _, names in os.walk(self._root, followlinks=True):
            for name in sorted(names):
                path = Path(directory, name)
                yield self._object(path, checked(str(path.relative_to(self._root)), self.url))

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """Ranges by pread."""
        path = self._root if self._root.is_file() else self._root / obj.path
        if not hasattr(self._local, "buffer"):
            self._local.buffer = memoryview(bytearray(_BUFFER))
        buffer: memoryview = self._local.buffer
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                while start < end:
                    count = os.preadv(descriptor, [buffer[: min(end - start, _BUFFER)]], start)
                    if not count:
                        raise SourceError(f"{self.url}: {obj.path} became shorter")
                    sink(buffer[:count])
                    start += count
            finally:
                os.close(descriptor)
        except SourceError:
            raise
        except OSError as error:
            raise SourceError(f"{self.url}: {obj.path}: {error.strerror}") from error
        return False

    def _object(self, path: Path, name: str) -> Object:
        try:
            found = path.stat()
        except OSError as error:
            raise SourceError(f"{self.url}: {name}: {error.strerror}", permanent=True) from error
        return Object(name, found.st_size, f"{found.st_mtime_ns}")
