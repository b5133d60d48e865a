"""HTTP connections, one per thread and host, used again and again."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from urllib.parse import SplitResult

from runtimes.source.objects import FileSink, Sink, SourceError
from runtimes.source.pace import THROTTLED, Pace
from runtimes.source.pipes import Pipe
from runtimes.source.records import Records, Secured, SecuredConnection

_TIMEOUT = 30.0
_BUFFER = 1 << 18
_LAST = 1 << 14  # bytes of a body that are read through the answer, which so knows of its end
_SHORT = 1.0  # seconds after which bytes are passed on though there are few


class Connections:
    """Requests to any host, as fast as each lets us; safe to share between threads.

    `authority`: certificates (PEM) that are trusted in place of the system's. Raises SourceError.
    """

    def __init__(self, timeout: float = _TIMEOUT, authority: str = "") -> None:
        self._timeout = timeout
        self._local = threading.local()
        self._paces: dict[str, Pace] = {}
        self._context: ssl.SSLContext | None = trusting(authority) if authority else None
        self._splices = hasattr(os, "splice")

    @contextmanager
    def request(
        self, method: str, url: SplitResult, target: str, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """One request; the connection is kept when the answer was read to its end. Raises SourceError."""
        pace = self._paces.setdefault(url.netloc, Pace(url.netloc))
        with pace.turn() as began, self._request(method, url, target, headers) as response:
            if response.status in THROTTLED:
                pace.refused(began, response.headers.get("Retry-After"))
            else:
                pace.answered()
            yield response

    @contextmanager
    def _request(
        self, method: str, url: SplitResult, target: str, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        connection, reused = self._take(url)
        kept = False
        try:
            try:
                response = self._send(connection, method, target, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if not reused:
                    raise
                # The server closed a connection that had been idle; that says nothing of the server.
                connection.close()
                connection = self._new(url)
                response = self._send(connection, method, target, headers)
            self._local.socket = connection.sock
            yield response
            kept = response.isclosed() and not response.will_close
        except SourceError:
            raise
        except ssl.SSLCertVerificationError as error:
            why = f"{url.scheme}://{url.netloc}: {error.verify_message}"
            hint = "option caBundle names authorities of your own"
            raise SourceError(f"{why}; {hint}", permanent=True) from error
        except (OSError, http.client.HTTPException) as error:
            what = str(error) or type(error).__name__
            if getattr(error, "reason", "") == "WRONG_VERSION_NUMBER":
                what = f"does not speak TLS; http://{url.netloc} would ask it without"
            raise SourceError(f"{url.scheme}://{url.netloc}: {what}") from error
        finally:
            if kept:
                self._pool[(url.scheme, url.netloc)] = connection
            else:
                connection.close()

    def pour(self, response: http.client.HTTPResponse, start: int, end: int, sink: Sink, what: str) -> None:
        """The body, bytes [start, end) of `what`, into the sink. Raises SourceError when it is not that."""
        given, left = response.headers.get("Content-Range"), end - start
        if given and not given.startswith(f"bytes {start}-{end - 1}/"):
            raise SourceError(f"{what}: asked for bytes {start}-{end - 1}, the answer has {given}")
        if left := left - sum(self._give(response, left, sink)):
            raise SourceError(f"{what}: the answer ended {left} bytes early")
        response.read()  # the end, so that the connection can be used again

    def _give(self, response: http.client.HTTPResponse, left: int, sink: Sink) -> Iterator[int]:
        """The next bytes of a body into the sink: how many, each time."""
        buffer, stream = self._buffer, self._local.socket
        if stream is not None and response.length is not None and left > _LAST:
            # What came together with the headers.
            count = response.readinto(buffer[: min(len(response.peek(1)), left)])
            sink(buffer[:count])
            yield count
            left -= count
            for count in self._straight(stream, min(left, response.length) - _LAST, sink):
                response.length -= count
                left -= count
                yield count
        while left and (count := response.readinto(buffer[: min(left, len(buffer))])):
            sink(buffer[:count])
            left -= count
            yield count

    def _straight(self, stream: socket.socket | Secured, left: int, sink: Sink) -> Iterator[int]:
        """Past the answer: many bytes by each call.

        The kernel gathers them. Were every few of them a call, a loader's many threads would spend their
        time on waking one another.
        """
        if isinstance(stream, Secured):
            with closing(Records(stream, self._buffer, _SHORT)) as records:
                yield from self._passed_on(stream.plain, records.receive, left, sink)
            return
        if self._splices and isinstance(sink, FileSink):
            with closing(Pipe(stream)) as pipe:
                try:
                    for count in _received(stream, pipe.receive, left, self._timeout):
                        sink.drain(pipe.exit, count)
                        yield count
                    return
                except OSError as error:  # not the sink's
                    if error.errno != errno.EINVAL:
                        raise
                    self._splices = False  # sandboxes have kernels of their own
        buffer = self._buffer

        def receive(most: int) -> int:
            return stream.recv_into(buffer, min(most, len(buffer)), socket.MSG_WAITALL)

        yield from self._passed_on(stream, receive, left, sink)

    def _passed_on(
        self, stream: socket.socket, receive: Callable[[int], int], left: int, sink: Sink
    ) -> Iterator[int]:
        """What `receive` puts into the buffer."""
        for count in _received(stream, receive, left, self._timeout):
            sink(self._buffer[:count])
            yield count

    @property
    def _pool(self) -> dict[tuple[str, str], http.client.HTTPConnection]:
        if not hasattr(self._local, "pool"):
            self._local.pool = {}
        pool: dict[tuple[str, str], http.client.HTTPConnection] = self._local.pool
        return pool

    @property
    def _buffer(self) -> memoryview:
        if not hasattr(self._local, "buffer"):
            self._local.buffer = memoryview(bytearray(_BUFFER))
        buffer: memoryview = self._local.buffer
        return buffer

    def _take(self, url: SplitResult) -> tuple[http.client.HTTPConnection, bool]:
        kept = self._pool.pop((url.scheme, url.netloc), None)
        return (kept, True) if kept is not None else (self._new(url), False)

    def _new(self, url: SplitResult) -> http.client.HTTPConnection:
        host = url.hostname or ""
        if url.scheme == "http":
            return http.client.HTTPConnection(host, url.port, timeout=self._timeout)
        if self._context is None:
            self._context = ssl.create_default_context()
        return SecuredConnection(host, url.port, self._context, self._timeout)

    def _send(
        self, connection: http.client.HTTPConnection, method: str, target: str, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        connection.request(method, target, headers=dict(headers))
        return connection.getresponse()


def trusting(authority: str) -> ssl.SSLContext:
    """Only these certificates (PEM). Raises SourceError."""
    try:
        return ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError) as error:
        raise SourceError(f"option caBundle: has no certificates (PEM): {error}", permanent=True) from None


def _received(
    stream: socket.socket, receive: Callable[[int], int], left: int, timeout: float
) -> Iterator[int]:
    """How much `receive` got, again and again, until nothing is left or the other side has closed."""
    stream.settimeout(None)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(_SHORT), 0))
    try:
        silent = 0.0
        while left > 0 and silent < timeout:
            try:
                count = receive(left)
            except BlockingIOError:
                silent += _SHORT
                continue
            if not count:
                return
            silent = 0.0
            left -= count
            yield count
        if left > 0:
            raise TimeoutError("timed out")
    finally:
        stream.settimeout(timeout)
