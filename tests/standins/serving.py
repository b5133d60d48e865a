"""What programs that stand for caches have alike: a server that answers commands and gives files, over HTTP.

POST / has a command as a JSON list; the answer says what it prints and how it ends. GET and HEAD are of files
and, with a slash at the end, of directories, as rclone's `http` reads them. PUT brings a file.
"""

from __future__ import annotations

import html
import io
import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import BinaryIO, TextIO, cast
from urllib.parse import quote, unquote

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Directory:
    """The names in it; those of directories end with a slash."""

    names: list[str]


@dataclass(frozen=True)
class File:
    """Where its bytes are; `opened` is called when they are read, not when they are asked for."""

    size: int
    opened: Callable[[], BinaryIO]


@dataclass(frozen=True)
class Elsewhere:
    """Another server has the file."""

    url: str


Command = Callable[[list[str], TextIO], int]  # what is asked, where to print; the exit code
Find = Callable[[str], Directory | File | Elsewhere | None]  # by path
Store = Callable[[str, BinaryIO], None]


def ask(at: str, arguments: list[str], out: TextIO) -> int:
    """Has the server at host:port run a command."""
    host, _, port = at.rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=60)
    try:
        connection.request("POST", "/", json.dumps(arguments))
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    out.write(answer["output"])
    return int(answer["code"])


def told(at: str, *arguments: str) -> str:
    """What a command prints. Raises OSError when it fails."""
    out = io.StringIO()
    if ask(at, list(arguments), out):
        raise OSError(out.getvalue())
    return out.getvalue()


def answers(at: str) -> bool:
    """Whether somebody listens there."""
    host, _, port = at.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=5):
        return True
    return False


def server(
    host: str,
    port: int,
    *,
    command: Command = lambda arguments, out: 1,
    find: Find = lambda path: None,
    store: Store = lambda path, stream: None,
) -> ThreadingHTTPServer:
    """One that listens and is yet to be run."""
    made = _Server((host, port), _Handler)
    made.command, made.find, made.store = command, find, store
    return made


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    command: Command
    find: Find
    store: Store

    def server_bind(self) -> None:
        """Without asking what its address is called, which nobody may answer."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _asked(self) -> _Server:
        return cast("_Server", self.server)

    def do_POST(self) -> None:
        """A command."""
        arguments = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        out = io.StringIO()
        code = self._asked.command(arguments, out)
        self._say(200, json.dumps({"code": code, "output": out.getvalue()}).encode())

    def do_GET(self) -> None:
        """A file, or what is in a directory."""
        match self._asked.find(unquote(self.path)):
            case None:
                self._say(404)
            case Elsewhere(url):
                self._say(307, Location=url)
            case Directory(names):
                links = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
                self._say(200, links.encode(), Content_Type="text/html")
            case File(size, opened):
                self._file(size, opened)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        """A file."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._asked.store(unquote(self.path), io.BytesIO(body))
        self._say(200)

    def _file(self, size: int, opened: Callable[[], BinaryIO]) -> None:
        begin, end, status = 0, size, 200
        if said := _RANGE.fullmatch(self.headers.get("Range", "")):
            begin, status = int(said[1]), 206
            end = min(int(said[2]) + 1, size) if said[2] else size
        body = b""
        if self.command != "HEAD":
            with opened() as stream:
                stream.seek(begin)
                body = stream.read(end - begin)
        more = {"Content_Range": f"bytes {begin}-{end - 1}/{size}"} if status == 206 else {}
        self._say(status, body, end - begin, Accept_Ranges="bytes", **more)

    def _say(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing: pods' logs are for what matters."""


def show(served: str, mount_point: str, *flags: str) -> int:
    """A FUSE mount, by rclone, of what the server at host:port has, until it ends or is asked to."""
    line = ["rclone", "mount", ":http:", mount_point, f"--http-url=http://{served}/", "--config="]
    line += ["--allow-other", "--read-only", "--dir-cache-time=1s", "--attr-timeout=1s", *flags]
    with subprocess.Popen(line) as client:
        signal.signal(signal.SIGTERM, lambda number, frame: client.terminate())
        return client.wait()
