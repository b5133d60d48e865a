"""What a cache that workers share does: directories of sources, files kept whole on one of the workers."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote

from tests.standins.serving import Directory, File, answers, server, show


class Source(Protocol):
    """A store of files."""

    def files(self, below: str) -> dict[str, int]:
        """Bytes by path, of a directory or of one file; "" is all."""

    def read(self, path: str) -> BinaryIO:
        """From its beginning. Raises OSError."""


class Tree:
    """A directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def files(self, below: str) -> dict[str, int]:
        """See Source."""
        top = self._root / below
        found = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        return {str(path.relative_to(self._root)): path.stat().st_size for path in found}

    def read(self, path: str) -> BinaryIO:
        """See Source."""
        return (self._root / path).open("rb")


class Bucket:
    """Objects below a prefix, by boto3's client."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._bucket, _, prefix = url.partition("://")[2].partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def files(self, below: str) -> dict[str, int]:
        """See Source."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + below
        )
        found = {one["Key"]: one["Size"] for page in pages for one in page.get("Contents") or ()}
        sizes = {key.removeprefix(self._prefix): size for key, size in found.items()}
        return {path: size for path, size in sizes.items() if not below or is_below(path, below)}

    def read(self, path: str) -> BinaryIO:
        """See Source."""
        answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)
        return io.BytesIO(answer["Body"].read())


def is_below(path: str, directory: str) -> bool:
    """Whether it is in it, or is it."""
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


class Kept:
    """The files that a worker keeps in a directory, up to `capacity` bytes."""

    def __init__(self, directory: Path, capacity: int) -> None:
        self._directory, self.capacity, self._lock = directory, capacity, threading.Lock()

    @property
    def used(self) -> int:
        """Bytes."""
        return sum(path.stat().st_size for path in self._directory.iterdir() if path.suffix != ".new")

    def get(self, name: str) -> BinaryIO | None:
        """A file that is kept."""
        at = self._at(name)
        return at.open("rb") if at.exists() else None

    def put(self, name: str, stream: BinaryIO) -> None:
        """Keeps it if it fits; the stream is at its beginning again."""
        at = self._at(name)
        with self._lock:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            if at.exists() or self.used + size > self.capacity:
                return
            fresh = at.with_name(f"{at.name}.new")
            with fresh.open("wb") as into:
                shutil.copyfileobj(stream, into)
            fresh.rename(at)
        stream.seek(0)

    def _at(self, name: str) -> Path:
        return self._directory / quote(name, safe="")


def holders(workers: Iterable[str], name: str) -> list[str]:
    """The workers that listen, the one first that keeps the file; the others keep its copies, in order."""
    ranked = sorted(workers, key=lambda at: hashlib.sha256(f"{at} {name}".encode()).digest())
    return [at for at in ranked if answers(at)]


def entries(files: dict[str, int], directory: str) -> Directory | None:
    """What is in a directory, given the files below it; paths begin with a slash, its own ends with one."""
    rest = [path.removeprefix(directory) for path in files if path.startswith(directory)]
    names = {f"{name}/" if more else name for name, more, _ in (path.partition("/") for path in rest)}
    return Directory(sorted(names)) if rest or directory == "/" else None


def shown(source: Source, mount_point: str, read: Callable[[str], BinaryIO]) -> int:
    """A FUSE mount of the source; `read` has its files, by their paths in it."""

    def find(path: str) -> Directory | File | None:
        name = path.strip("/")
        files = source.files(name)
        if name in files:
            return File(files[name], lambda: read(name))
        return entries({f"/{one}": size for one, size in files.items()}, path)

    own = server("127.0.0.1", 0, find=find)
    threading.Thread(target=own.serve_forever, daemon=True).start()
    return show(f"127.0.0.1:{own.server_port}", mount_point)
