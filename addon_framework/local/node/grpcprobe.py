"""The health check of gRPC servers, over HTTP/2 without TLS, as the kubelet asks it.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

_STATES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_OK, _UNIMPLEMENTED = "0", "12"


async def healthy(host: str, port: int, service: str, timeout: float) -> tuple[bool, str]:
    """Whether the service says SERVING, and what it says else. Raises OSError, TimeoutError."""
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            headers, body = await _check(reader, writer, f"{host}:{port}", service)
        finally:
            writer.close()
    return _verdict(headers, body)


async def _check(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str
) -> tuple[dict[str, str], bytes]:
    """Headers with trailers, and the body of the answer."""
    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    head = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    connection.send_headers(1, list(head.items()))
    message = _request(service)
    connection.send_data(1, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
    headers: dict[str, str] = {}
    body = b""
    writer.write(connection.data_to_send())
    while data := await reader.read(1 << 16):
        for event in connection.receive_data(data):
            if isinstance(event, ResponseReceived | TrailersReceived):
                headers |= {str(key): str(value) for key, value in event.headers}
            elif isinstance(event, DataReceived):
                body += event.data
            elif isinstance(event, StreamEnded):
                return headers, body
            elif isinstance(event, StreamReset | ConnectionTerminated):
                raise ConnectionResetError(f"{authority} broke the call off")
        writer.write(connection.data_to_send())
    raise ConnectionResetError(f"{authority} closed the connection")


def _request(service: str) -> bytes:
    """HealthCheckRequest in protobuf: the name of the service is field 1."""
    name = service.encode()
    length, left = b"", len(name)
    while left > 0x7F:
        length += bytes([left & 0x7F | 0x80])
        left >>= 7
    return b"\x0a" + length + bytes([left]) + name if name else b""


def _verdict(headers: dict[str, str], body: bytes) -> tuple[bool, str]:
    code, text = headers.get("grpc-status", ""), headers.get("grpc-message", "")
    if code == _UNIMPLEMENTED:
        return (
            False,
            f"this server does not implement the grpc health protocol (grpc.health.v1.Health): {text}",
        )
    if code != _OK:
        return False, f"rpc failed: code {code or 'unknown'}: {text}"
    # HealthCheckResponse: the state is field 1, absent when it is 0.
    state = body[6] if len(body) > 6 and body[5] == 0x08 else 0
    name = _STATES[state] if state < len(_STATES) else str(state)
    return name == "SERVING", f'service unhealthy (responded with "{name}")'
