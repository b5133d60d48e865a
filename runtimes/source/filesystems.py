"""File systems that fsspec knows: ftp://, sftp://, webhdfs://, ... Options are its classes' arguments."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from runtimes.source import drivers
from runtimes.source.objects import Object, Sink, SourceError, checked


class FileSystemSource:
    """A directory with all that is below it, or one file.

    What a store says of a file's version is looked at before and after it is read. Connections are used by
    one thread at a time; where the server takes no more of them, threads wait for one another.
    """

    def __init__(self, url: str, options: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        self.url, scheme = url, url.partition("://")[0]
        if wrong := drivers.problem(scheme):
            raise SourceError(f"{url}: {wrong}", permanent=True)
        import fsspec

        self._class: Any = fsspec.get_filesystem_class(scheme)
        self._arguments = {
            **self._class._get_kwargs_from_urls(url),
            **{name: drivers.argument(text) for name, text in options.items()},
            **{name: drivers.argument(text, secret=True) for name, text in secrets.items()},
        }
        self._root = str(self._class._strip_protocol(url)).rstrip("/")
        self._single = False  # the URL names a file
        self._seen: dict[str, object] = {}  # versions, when they were first looked at
        self._changed = threading.Condition()
        self._free: list[Any] = []
        self._used, self._most = 0, math.inf

    def objects(self) -> Iterator[Object]:
        """Files, and links to files."""
        with self._connected() as system:
            system.invalidate_cache()
            try:
                top = system.info(self._root or "/")
                self._single = top["type"] == "file"
                yield from [self._object(top)] if self._single else self._below(system, self._root)
            except FileNotFoundError as error:
                raise SourceError(f"{self.url}: not found ({error})", permanent=True) from error

    def detailed(self, obj: Object) -> Object:
        """With a checksum where the store has one. Stale where it is not as it was before."""
        with self._connected(obj) as system:
            size, version, stored = drivers.look(system, self._at(obj))
        if size != obj.size or self._seen.setdefault(obj.path, version) != version:
            raise SourceError(f"{self.url}: {obj.path} changed while it was read", stale=True)
        return replace(obj, stored=stored)

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """One range."""
        with self._connected(obj) as system:
            count = drivers.pour(system, self._at(obj), start, end, sink)
        if count != end - start:
            self.detailed(obj)
            raise SourceError(f"{self.url}: {obj.path}: {count} bytes came of {start}-{end - 1}")
        return obj.stored is not None

    def _below(self, system: Any, directory: str) -> Iterator[Object]:
        for info in sorted(system.ls(directory or "/", detail=True), key=lambda info: str(info["name"])):
            if "link" in info["type"].lower():
                info = {**system.info(info["name"]), "name": info["name"]}
                if info["type"] != "file":
                    raise SourceError(
                        f"{self.url}: the link {self._path(info)} does not lead to a file", permanent=True
                    )
            if info["type"] == "file":
                yield self._object(info)
            elif info["type"] == "directory" and self._path(info):
                yield from self._below(system, str(info["name"]).rstrip("/"))

    def _object(self, info: Mapping[str, Any]) -> Object:
        path = str(info["name"]).rpartition("/")[2] if self._single else self._path(info)
        size, version = int(info["size"] or 0), drivers.version(info)
        return Object(checked(path, self.url), size, version, stored=drivers.checksum(info))

    def _path(self, info: Mapping[str, Any]) -> str:
        name = str(info["name"]).strip("/")
        return name[len(self._root.strip("/")) :].strip("/")

    def _at(self, obj: Object) -> str:
        return self._root if self._single else f"{self._root}/{obj.path}"

    @contextmanager
    def _connected(self, listed: Object | None = None) -> Iterator[Any]:
        """A file system of one's own. What drivers raise becomes a SourceError, and ends the connection."""
        try:
            system = self._take()
            try:
                yield system
            except BaseException:  # in the midst of something
                self._give(None)
                raise
            self._give(system)
        except SourceError:
            raise
        except Exception as error:
            if listed is not None and isinstance(error, FileNotFoundError):
                raise SourceError(f"{self.url}: {listed.path} is gone", stale=True) from error
            what = str(error) or type(error).__name__
            raise SourceError(f"{self.url}: {what}", permanent=drivers.is_fatal(error)) from error

    def _take(self) -> Any:
        while True:
            with self._changed:
                while not self._free and self._used >= self._most:
                    self._changed.wait()
                self._used += 1
                if self._free:
                    return self._free.pop()
            try:
                return drivers.connect(self._class, self._arguments)
            except Exception:
                with self._changed:
                    self._used -= 1
                    if not self._used:
                        raise
                    self._most = self._used  # it takes no more at once

    def _give(self, system: Any) -> None:
        with self._changed:
            self._used -= 1
            if system is not None:
                self._free.append(system)
            self._changed.notify()
