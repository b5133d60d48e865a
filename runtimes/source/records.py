"""TLS of which many records come at once.

A record has 16 KiB at most. ssl.SSLSocket asks the kernel for each twice; and were each also written by
itself, a loader's many threads would spend their time on waiting for one another.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_SIZE = 1 << 18  # bytes of records that are taken from the kernel together


class SecuredConnection(http.client.HTTPConnection):
    """HTTPS. Raises ssl.SSLError, too."""

    default_port = http.client.HTTPS_PORT

    def __init__(self, host: str, port: int | None, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._trusting = context

    def connect(self) -> None:
        """With TLS."""
        super().connect()
        self.sock = Secured(self.sock, self._trusting, self.host)


class Secured:
    """A socket with TLS, as far as http.client needs one."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self.plain = plain
        self._records = memoryview(bytearray(_SIZE))
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        # Its type is told as if there were no buffer.
        self._decipher = cast("Callable[[int, memoryview], int]", self._tls.read)
        while not self._greeted():
            self.more()

    def _greeted(self) -> bool:
        """Whether the handshake is complete."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()
        return True

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.plain.sendall(self._outgoing.read())

    def sendall(self, data: ReadableBuffer) -> None:
        """All of it."""
        self._tls.write(data)
        self._flush()

    def more(self, flags: int = 0) -> None:
        """Takes what comes next from the kernel."""
        if count := self.plain.recv_into(self._records, 0, flags):
            self._incoming.write(self._records[:count])
        else:
            self._incoming.write_eof()

    def read(self, buffer: memoryview) -> int | None:
        """What was taken, as much as there is room for: how much, 0 at the end; None where more is needed."""
        count = 0
        try:
            while count < len(buffer) and (got := self._decipher(len(buffer) - count, buffer[count:])):
                count += got
        except ssl.SSLWantReadError:
            return count or None
        except ssl.SSLEOFError:  # the other side closed without a word
            pass
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """For reading."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Once nobody reads any more, as sockets do."""
        self.plain.close()


class Records:
    """Many at a time into a buffer. `patience`: seconds that few are waited for."""

    def __init__(self, secured: Secured, buffer: memoryview, patience: float) -> None:
        self._secured, self._buffer, self._patience = secured, buffer, patience
        self._ready = select.poll()
        self._ready.register(secured.plain, select.POLLIN)

    def receive(self, most: int) -> int:
        """How much came, 0 at the end. Raises BlockingIOError when nothing did, and OSError."""
        piece = self._buffer[:most]
        while (count := self._secured.read(piece)) is None:
            self._wake_at(min(len(piece), _SIZE))
            self._ready.poll(self._patience * 1000)
            self._secured.more(socket.MSG_DONTWAIT)
        return count

    def close(self) -> None:
        """The connection is as before."""
        self._wake_at(1)

    def _wake_at(self, count: int) -> None:
        with suppress(OSError):  # a kernel that cannot wakes us for less
            self._secured.plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


class _Reader(io.RawIOBase):
    """Holds the socket open."""

    def __init__(self, secured: Secured) -> None:
        self._secured, self._hold = secured, secured.plain.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        while (count := self._secured.read(view)) is None:
            self._secured.more()
        return count

    def close(self) -> None:
        self._hold.close()
        super().close()
