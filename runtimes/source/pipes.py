"""Bodies go from a socket to a file within the kernel, by way of a pipe: splice(2).

Bytes that are received and then written are copied twice, and each copy costs as much as the network.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress

_SIZE = 1 << 20  # bytes; what any user may have, /proc/sys/fs/pipe-max-size
_TOGETHER = 1 << 19  # bytes for which the kernel wakes us


class Pipe:
    """Between one socket and one file."""

    def __init__(self, plain: socket.socket) -> None:
        self._socket = plain
        self.exit, self._entry = os.pipe()
        with suppress(OSError):  # many pipes are there: then less at once
            fcntl.fcntl(self._entry, fcntl.F_SETPIPE_SZ, _SIZE)

    def receive(self, most: int) -> int:
        """Fills the empty pipe; how much came, 0 at the end. Raises OSError."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(most, _TOGETHER))
        return os.splice(self._socket.fileno(), self._entry, min(most, _SIZE))

    def close(self) -> None:
        """With what is in it. The socket is as before."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        for end in (self.exit, self._entry):
            os.close(end)
