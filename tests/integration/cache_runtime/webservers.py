"""Small servers: a directory as Python's own lists it, and the Hugging Face hub's protocol."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_test"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class RangedDirectory(SimpleHTTPRequestHandler):
    """http.server's, with ranges."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked, path = self.headers.get("Range"), Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            super().do_GET()
            return
        start, end = map(int, asked.removeprefix("bytes=").split("-"))
        content = path.read_bytes()[start : end + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Hub(BaseHTTPRequestHandler):
    """One repository, team/model, with pages of two entries, and large files elsewhere."""

    protocol_version = "HTTP/1.1"
    files: Mapping[str, bytes] = {}

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith("/cdn/"):
            # The hub's token is none of the CDN's business, but this is one host, so it comes along.
            self._bytes(self.files[unquote(url.path.removeprefix("/cdn/"))])
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, b"")
        elif url.path == "/api/models/team/model/revision/main":
            self._send(200, json.dumps({"sha": COMMIT}).encode())
        elif url.path == f"/api/models/team/model/tree/{COMMIT}":
            self._tree(int(parse_qs(url.query).get("cursor", ["0"])[0]))
        elif url.path.startswith(f"/team/model/resolve/{COMMIT}/"):
            name = url.path.removeprefix(f"/team/model/resolve/{COMMIT}/")
            self._send(302, b"", Location=f"/cdn/{name}")
        else:
            self._send(404, b"")

    def _tree(self, start: int) -> None:
        entries: list[dict[str, object]] = [{"type": "directory", "path": "sub", "size": 0}]
        for path, content in self.files.items():
            entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": "a" * 40}
            if path.endswith(".safetensors"):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
            entries.append(entry)
        more = {}
        if start + 2 < len(entries):
            more["Link"] = f'<{self.path.partition("?")[0]}?recursive=true&cursor={start + 2}>; rel="next"'
        self._send(200, json.dumps(entries[start : start + 2]).encode(), **more)

    def _bytes(self, content: bytes) -> None:
        start, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self._send(206, content[start : end + 1])

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_directory(directory: Path) -> Iterator[str]:
    """Its URL."""
    with _serve(functools.partial(RangedDirectory, directory=str(directory))) as url:
        yield url


@contextmanager
def serve_hub(files: Mapping[str, bytes]) -> Iterator[str]:
    """The endpoint of a hub that has team/model."""
    with _serve(type("OneHub", (Hub,), {"files": files})) as url:
        yield url


@contextmanager
def _serve(handler: object) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
