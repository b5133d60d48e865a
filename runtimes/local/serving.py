"""Gives other caches of the same Dataset what this node has: complete files, and ranges of unfinished ones.

    GET /FILE           a byte for each range: 0 absent, 1 there, 2 being read from the origin, 3 claimed for
                        that, 4 refused by the origin, which will be asked again; only of what is there or
                        what a loader is working on, else 404. The header `Written` is how many bytes have
                        come of what a loader is working on
    GET /FILE/NUMBER    the range
    GET /listing        what the sources had when all of it was complete here (see listing); 404 unless it is
    GET /compiled       compiled code of engines (see compiled): JSON, name and bytes of each archive
    GET /compiled/NAME  the archive

FILE names a version of an object at its source (see Store.temporary), so nothing else can be asked for.
Requests carry `Authorization: Bearer TOKEN`. Every answer has the size of ranges in the header `Range-Size`,
and in `Server-Id` what is in the file SERVER of the node that has answered.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import re
import secrets
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from runtimes.local import assembly, compiled, listing
from runtimes.local.peers import SERVER
from runtimes.local.store import Store

_FILE = re.compile(r"/([0-9a-f]{32})(?:/([0-9]{1,9}))?")
_TIMEOUT = 30.0


class PeerServer(ThreadingHTTPServer):
    """Of one cache directory, read-only. Its id is beside the data, by which this node's loaders know it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], directory: Path, token: str) -> None:
        self.directory, self.token, self.id = directory, token.encode(), secrets.token_hex(8)
        self._known: tuple[tuple[int, int], Mapping[str, Path]] = ((0, 0), {})
        super().__init__(address, _Handler)
        fresh = directory / f"{SERVER}.new"
        fresh.write_text(self.id)
        fresh.replace(directory / SERVER)  # before the first answer
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answers no more."""
        self.shutdown()
        self.server_close()

    def found(self, file: str) -> tuple[Path, bytes, int] | None:
        """The bytes of a file, its ranges, how much of it is written; None: neither here nor coming."""
        store = Store(self.directory)
        if (path := self._complete(store).get(file)) is not None:
            size = path.stat().st_size
            return path, bytes([assembly.THERE]) * assembly.ranges(size), size
        if not self._loading():
            return None
        part = store.partial / f"{file}.part"
        try:
            stat = part.stat()
            count = assembly.ranges(stat.st_size)
            marks = part.with_suffix(".done").read_bytes()[:count]
        except FileNotFoundError:
            return None
        return part, marks + bytes(count - len(marks)), stat.st_blocks * 512

    def _complete(self, store: Store) -> Mapping[str, Path]:
        """Read again only when the index was replaced."""
        try:
            written = (self.directory / "index.json").stat()
        except FileNotFoundError:
            return {}
        version = (written.st_ino, written.st_mtime_ns)
        if version != self._known[0]:
            store.open()
            self._known = (version, store.identities())
        return self._known[1]

    def _loading(self) -> bool:
        """Whether a loader holds the directory."""
        with (self.directory / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False


class _Handler(BaseHTTPRequestHandler):
    server: PeerServer
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, b"Bearer " + self.server.token):
            self._answer(401)
            return
        match = _FILE.fullmatch(self.path)
        try:
            if self.path.startswith("/compiled"):
                self._compiled(self.path.removeprefix("/compiled").lstrip("/"))
                return
            if self.path == "/listing":
                store = Store(self.server.directory)
                store.open()
                said = listing.whole(store)
                self._answer(404 if said is None else 200, said or b"")
                return
            found = self.server.found(match[1]) if match else None
            if match is None or found is None:
                self._answer(404)
            elif match[2] is None:
                self._answer(200, found[1], Written=found[2])
            elif int(match[2]) < len(found[1]) and found[1][int(match[2])] == assembly.THERE:
                self._part(found[0], int(match[2]) * assembly.RANGE, assembly.RANGE)
            else:
                self._answer(404)
        except FileNotFoundError:  # it has just been completed, or removed: the next answer says which
            self._answer(404)

    def _compiled(self, name: str) -> None:
        there = compiled.archives(self.server.directory)
        if not name:
            self._answer(200, json.dumps(there).encode())
        elif name in there:
            self._part(self.server.directory / compiled.DIRECTORY / name, 0, None)
        else:
            self._answer(404)

    def _part(self, path: Path, start: int, most: int | None) -> None:
        with path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size - start
            count = left if most is None else min(most, left)
            self._head(200, count)
            self.wfile.flush()
            # Not os.sendfile: a socket with a timeout does not block.
            if self.connection.sendfile(file, start, count) != count:
                self.close_connection = True

    def _answer(self, status: int, body: bytes = b"", **headers: int) -> None:
        self._head(status, len(body), **headers)
        self.wfile.write(body)

    def _head(self, status: int, length: int, **headers: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.send_header("Content-Length", str(length))
        self.send_header("Range-Size", str(assembly.RANGE))
        self.send_header("Server-Id", self.server.id)
        self.end_headers()
