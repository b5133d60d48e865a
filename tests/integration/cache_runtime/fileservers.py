"""rclone as a server of files: FTP and SFTP, with a user; and a gate before one that lets few in."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from addon_framework.testing.servers import free_port, wait_listening

USER, PASSWORD = "reader", 'se "cret'


@contextmanager
def serving(protocol: str, directory: Path) -> Iterator[str]:
    """Its address while the block runs."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "rclone"), "serve", protocol, str(directory), "--copy-links"]
    command += [f"--addr=127.0.0.1:{port}", f"--user={USER}", f"--pass={PASSWORD}", "--dir-cache-time=0s"]
    log = directory.with_name(f"{directory.name}.log")
    with log.open("wb") as errors, subprocess.Popen(command, stderr=errors) as process:
        try:
            wait_listening(port, process, log)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


class Gate:
    """Lets `most` connections to a server through at once, and closes others. `refused` is how many.

    Once `silent` is set, nothing comes through any more.
    """

    def __init__(self, server: str, most: int) -> None:
        self._server, self._most = server.rpartition(":"), most
        self.inside = self.refused = 0
        self.silent = threading.Event()
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Lets nobody in any more."""
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                with self._lock:
                    full = self.inside >= self._most
                    self.refused, self.inside = self.refused + full, self.inside + (not full)
                if full:
                    client.close()
                else:
                    threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        host, _, port = self._server
        with client, socket.create_connection((host, int(port))) as server:
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server)
            back.join()
        with self._lock:
            self.inside -= 1

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                if not self.silent.is_set():
                    other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
