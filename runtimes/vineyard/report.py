"""What a vineyardd holds, as reports (see runtimes.interface): `python -m runtimes.vineyard.report SOCKET`.

Messages are JSON after their length in 8 bytes, little end first.
https://github.com/v6d-io/v6d/blob/main/src/common/util/protocols.cc
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

from runtimes.reporting import report

_LENGTH = struct.Struct("<Q")
_PERIOD = 2.0  # seconds; nothing tells when it changes
_TIMEOUT = 10.0


def main() -> None:
    """Reports whenever the numbers differ from the last ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket", help="the socket of vineyardd")
    path, last = parser.parse_args().socket, (-1, -1)
    while True:
        try:
            now = usage(path)
        except OSError:
            now = last  # not there yet, or restarting
        if now != last:
            report("state", cached=now[0], capacity=now[1])
            last = now
        time.sleep(_PERIOD)


def usage(path: str) -> tuple[int, int]:
    """Bytes in use, and bytes that there are. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT)
        connection.connect(path)
        _ask(connection, {"type": "register_request", "version": "0.22.2", "store_type": "Normal"})
        said = _ask(connection, {"type": "instance_status_request"}).get("meta") or {}
        _send(connection, {"type": "exit_request"})
    return int(said.get("memory_usage") or 0), int(said.get("memory_limit") or 0)


def _ask(connection: socket.socket, message: Mapping[str, Any]) -> dict[str, Any]:
    _send(connection, message)
    (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size))
    answer = json.loads(_receive(connection, length))
    if not isinstance(answer, dict) or answer.get("code"):
        raise OSError(f"vineyardd answers {answer!r} to {message['type']}")
    return answer


def _send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    body = json.dumps(message).encode()
    connection.sendall(_LENGTH.pack(len(body)) + body)


def _receive(connection: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise OSError("vineyardd closed the connection")
        parts += part
    return parts


if __name__ == "__main__":
    main()
