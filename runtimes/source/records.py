"""Bodies that come over TLS: many records at once.

A record has 16 KiB at most, and each is a call. Were each also written by itself, writers would wait for one
another; and were each waited for, a loader's many threads would spend their time on waking one another.
"""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress


class Records:
    """What comes over one connection, which must not block. `patience`: seconds that little is waited for."""

    def __init__(self, secured: ssl.SSLSocket, buffer: memoryview, patience: float) -> None:
        self._socket, self._buffer, self._patience = secured, buffer, patience
        self._ready = select.poll()
        self._ready.register(secured, select.POLLIN)
        self._dry = True  # all that has come was read

    def receive(self, most: int) -> int:
        """Into the buffer; how much, 0 at the end. Raises BlockingIOError when nothing came, and OSError."""
        most = min(most, len(self._buffer))
        while True:
            waited = not self._dry or self._wait(most)
            if count := self._read(most):
                return count
            if not self._dry:
                return 0
            if not waited:
                raise BlockingIOError("nothing came")

    def close(self) -> None:
        """The connection is as before."""
        self._wake_at(1)

    def _wait(self, most: int) -> bool:
        """Until the kernel has so much, which is less than what it takes as records."""
        self._wake_at(most)
        return bool(self._ready.poll(self._patience * 1000))

    def _read(self, most: int) -> int:
        count, self._dry = 0, False
        try:
            while count < most and (got := self._socket.recv_into(self._buffer[count:most])):
                count += got
        except ssl.SSLWantReadError:
            self._dry = True
        return count

    def _wake_at(self, count: int) -> None:
        with suppress(OSError):  # a kernel that cannot wakes us for less
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
