"""A proxy before the object store that does what networks and servers do at their worst."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Asked:
    """A request as it came, and how many came before it. `range` is None where no range was asked for."""

    method: str
    path: str
    number: int
    at: float
    key: str  # the access key that signed it
    range: str | None


@dataclass(frozen=True)
class Fault:
    """What happens to one answer. Nothing set: it passes."""

    status: int = 0  # answered instead of asking the store
    code: str = "SlowDown"
    headers: Mapping[str, str] = field(default_factory=dict)  # besides the store's, if that is asked
    cut: int | None = None  # bytes of the body after which the connection ends
    stall: int | None = None  # bytes of the body after which nothing more comes
    flip: bool = False  # one bit in the middle is another
    rate: int = 0  # bytes a second
    body: bytes | None = None  # instead of what the store says


Rule = Callable[[Asked], Fault | None]


class FaultyProxy:
    """One endpoint. `rule` may be changed at any time; `asked` and `sent` are what went through."""

    def __init__(self, endpoint: str, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.store, self._scheme = urlsplit(endpoint), "https" if tls else "http"
        self.rule: Rule = lambda asked: None
        self.asked: list[Asked] = []
        self.sent = 0
        self.lock = threading.Lock()
        self.closed = threading.Event()
        handler = type("OneProxy", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer((host, 0), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"{self._scheme}://{self.address}"

    @property
    def address(self) -> str:
        """host:port."""
        return "{}:{}".format(*self._server.server_address[:2])

    def close(self) -> None:
        """Ends it."""
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def do_GET(self) -> None:
        signed = self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
        with self.proxy.lock:
            number = len(self.proxy.asked)
            asked = Asked(
                self.command, self.path, number, time.monotonic(), signed, self.headers.get("Range")
            )
            self.proxy.asked.append(asked)
        fault = self.proxy.rule(asked) or Fault()
        if fault.status:
            text = f"<Error><Code>{fault.code}</Code><Message>as the test wants it</Message></Error>"
            self._head(fault.status, {**fault.headers, "Content-Length": str(len(text))})
            self.wfile.write(text.encode() if self.command == "GET" else b"")
            return
        self._forward(fault)

    do_HEAD = do_GET

    def _forward(self, fault: Fault) -> None:
        store = http.client.HTTPConnection(self.proxy.store.hostname or "", self.proxy.store.port, timeout=30)
        try:
            store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                store.putheader(name, value)
            store.endheaders()
            answer = store.getresponse()
            body = answer.read()
            headers = {
                n: v for n, v in answer.getheaders() if n.lower() not in ("connection", "transfer-encoding")
            }
            headers |= fault.headers
            if fault.body is not None:
                body = fault.body
            if self.command == "GET":
                headers["Content-Length"] = str(len(body))
            self._head(answer.status, headers)
            self._body(body, fault)
        except OSError:  # the store is gone, and so is the connection
            self.close_connection = True
        finally:
            store.close()

    def _body(self, body: bytes, fault: Fault) -> None:
        if fault.flip and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        if fault.cut is not None:
            body, self.close_connection = body[: fault.cut], True
        if fault.stall is not None:
            body, rest = body[: fault.stall], body[fault.stall :]
        else:
            rest = b""
        chunk = min(_CHUNK, max(1, fault.rate // 10)) if fault.rate else _CHUNK
        began = time.monotonic()
        for start in range(0, len(body), chunk):
            piece = body[start : start + chunk]
            if fault.rate:  # by the clock: a busy machine, which wakes late, makes no line slower
                time.sleep(max(0.0, began + (start + len(piece)) / fault.rate - time.monotonic()))
            self.wfile.write(piece)
            with self.proxy.lock:
                self.proxy.sent += len(piece)
        if rest:
            self.proxy.closed.wait()
            self.close_connection = True

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def faulty(
    endpoint: str, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[FaultyProxy]:
    """While the block runs."""
    proxy = FaultyProxy(endpoint, host, tls)
    try:
        yield proxy
    finally:
        proxy.close()
