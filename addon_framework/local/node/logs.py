"""A container's log, in the form that container runtimes write: time, stream, F or P, text; one line each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from addon_framework.api.time import parse_time
from addon_framework.local.node.stdio import Source

LINE_LIMIT = 16 * 1024

Tap = Callable[[str, bytes], None]  # the stream's name, and a piece of it


def timestamp() -> bytes:
    """RFC 3339 with nanoseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()


class LogFile:
    """One container's run. Whoever follows it is woken by what is written and by the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._followers: set[asyncio.Event] = set()
        self._taps: list[Tap] = []

    def close(self) -> None:
        """No more comes."""
        self._file.close()
        self.closed = True
        self._wake()

    def tail(self, lines: int) -> bytes:
        """The last lines as people see them."""
        return select(self.path.read_bytes(), {"tailLines": str(lines)})

    async def pump(self, source: Source, name: str) -> None:
        """Writes what comes out of a process, line by line, until its end; taps have it as it comes."""
        rest = b""
        while chunk := await source.read(LINE_LIMIT):
            for tap in self._taps:
                tap(name, chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            self._write(name, lines)
            while len(rest) >= LINE_LIMIT:
                self._write(name, [rest[:LINE_LIMIT]], b"P")
                rest = rest[LINE_LIMIT:]
        self._write(name, [rest] if rest else [])

    @contextlib.contextmanager
    def tapped(self, tap: Tap) -> Iterator[None]:
        """Calls back with all output, while the context lasts."""
        self._taps.append(tap)
        try:
            yield
        finally:
            self._taps.remove(tap)

    def _write(self, name: str, lines: list[bytes], flag: bytes = b"F") -> None:
        if lines and not self.closed:
            head = b"%b %b " % (timestamp(), name.encode())
            pieces = []
            for line in lines:
                while len(line) > LINE_LIMIT:
                    pieces.append(b"%bP %b\n" % (head, line[:LINE_LIMIT]))
                    line = line[LINE_LIMIT:]
                pieces.append(b"%b%b %b\n" % (head, flag, line))
            self._file.write(b"".join(pieces))
            self._wake()

    async def follow(self, offset: int) -> AsyncIterator[bytes]:
        """Whole lines from a position on, until the container ends."""
        changed = asyncio.Event()
        self._followers.add(changed)
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                while True:
                    ended = self.closed
                    changed.clear()
                    if lines := file.readlines():
                        for line in lines:
                            yield line
                    elif ended:
                        return
                    else:
                        await changed.wait()
        finally:
            self._followers.discard(changed)

    def _wake(self) -> None:
        for follower in self._followers:
            follower.set()


def select(content: bytes, query: Mapping[str, str]) -> bytes:
    """What `kubectl logs` asks for: sinceSeconds, sinceTime, tailLines, timestamps, limitBytes."""
    lines = content.splitlines(keepends=True)
    if (start := _start(query)) is not None:
        lines = [line for line in lines if _time(line) >= start]
    if (tail := query.get("tailLines")) is not None:
        lines = lines[-int(tail) :] if int(tail) else []
    body = b"".join(text(line, query) for line in lines)
    return body[: int(query["limitBytes"])] if "limitBytes" in query else body


def text(line: bytes, query: Mapping[str, str]) -> bytes:
    """A line as people see it."""
    time, _, rest = line.partition(b" ")
    flag, _, shown = rest.partition(b" ")[2].partition(b" ")
    if flag == b"P":
        shown = shown.rstrip(b"\n")
    return time + b" " + shown if query.get("timestamps") == "true" else shown


def _start(query: Mapping[str, str]) -> datetime | None:
    if seconds := query.get("sinceSeconds"):
        return datetime.now(UTC) - timedelta(seconds=int(seconds))
    return parse_time(query["sinceTime"]) if "sinceTime" in query else None


def _time(line: bytes) -> datetime:
    """Python reads microseconds, the log has nanoseconds."""
    return parse_time(line[:26].decode() + "Z")
