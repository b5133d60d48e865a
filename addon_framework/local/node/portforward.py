"""Connections to a pod's ports over a WebSocket: tunnelled SPDY as kubectl speaks it, or channels of v4.

https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import WSMsgType, web

from addon_framework.local.node import spdy

PROTOCOLS = ("SPDY/3.1+portforward.k8s.io", "v2.portforward.k8s.io", "v4.channel.k8s.io")
_PIECE = 32 * 1024

Send = Callable[[bytes], Awaitable[None]]


class Forwarded:
    """One connection into the pod: bytes of the client one way, of the pod the other."""

    def __init__(self, address: str, port: int, send: Send, done: Callable[[str], Awaitable[None]]) -> None:
        self._address, self._port, self._send, self._done = address, port, send, done
        self._given: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=64)
        self._task = asyncio.create_task(self._run())

    async def feed(self, data: bytes) -> None:
        """Bytes for the pod; waits while it does not take them."""
        if not self._task.done():
            putting = asyncio.ensure_future(self._given.put(data))
            await asyncio.wait({putting, self._task}, return_when=asyncio.FIRST_COMPLETED)
            putting.cancel()

    async def end(self) -> None:
        """The client sends no more."""
        if not self._task.done():
            await self._given.put(None)

    async def cancel(self) -> None:
        """Nobody wants it any more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            reader, writer = await asyncio.open_connection(self._address, self._port)
        except OSError as error:
            await self._done(f"error forwarding port {self._port} to pod: dial {self._address}: {error}")
            return
        writing = asyncio.create_task(self._write(writer))
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(_PIECE):
                    await self._send(data)
            await self._done("")
        finally:
            writing.cancel()
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while (data := await self._given.get()) is not None:
                writer.write(data)
                await writer.drain()
            writer.write_eof()


async def tunnel(socket: web.WebSocketResponse, address: str) -> None:
    """SPDY: per connection a stream for errors and one for data, of one request id."""
    session = spdy.Session()
    errors: dict[str, int] = {}
    connections: dict[int, Forwarded] = {}

    def open_stream(frame: spdy.Frame) -> None:
        request, number = frame.headers.get("requestid", ""), frame.stream
        if frame.headers.get("streamtype") == "error":
            errors[request] = number
            return
        error_stream = errors.pop(request, 0)

        async def send(data: bytes) -> None:
            await socket.send_bytes(session.data(number, data))

        async def done(problem: str) -> None:
            connections.pop(number, None)
            if error_stream:
                await socket.send_bytes(session.data(error_stream, problem.encode(), fin=True))
            await socket.send_bytes(session.data(number, b"", fin=True))

        port = frame.headers.get("port", "")
        connections[number] = Forwarded(address, int(port) if port.isdigit() else 0, send, done)

    async def handle(frame: spdy.Frame) -> None:
        found = connections.get(frame.stream)
        if frame.kind == spdy.SYN_STREAM:
            await socket.send_bytes(session.reply(frame.stream))
            open_stream(frame)
        elif frame.kind == spdy.PING:
            await socket.send_bytes(session.pong(frame))
        elif frame.kind == spdy.RST_STREAM and found is not None:
            del connections[frame.stream]
            await found.cancel()
        elif frame.kind == 0 and found is not None:
            if frame.data:
                await found.feed(frame.data)
            if frame.fin:
                await found.end()

    try:
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                for frame in session.feed(message.data):
                    await handle(frame)
    finally:
        await asyncio.gather(*(each.cancel() for each in list(connections.values())))


async def channels(socket: web.WebSocketResponse, address: str, ports: Sequence[int]) -> None:
    """Per port a channel for data and one for errors, each opened by the port's number."""
    connections: dict[int, Forwarded] = {}
    for index, port in enumerate(ports):
        data_channel, error_channel = bytes((2 * index,)), bytes((2 * index + 1,))
        for channel in (data_channel, error_channel):
            await socket.send_bytes(channel + struct.pack("<H", port))

        async def send(data: bytes, channel: bytes = data_channel) -> None:
            await socket.send_bytes(channel + data)

        async def done(problem: str, channel: bytes = error_channel) -> None:
            if problem:
                await socket.send_bytes(channel + problem.encode())
            if len(ports) == 1:
                await socket.close()

        connections[2 * index] = Forwarded(address, port, send, done)
    try:
        async for message in socket:
            data = message.data if isinstance(message.data, bytes) else str(message.data).encode()
            if data and (found := connections.get(data[0])) is not None:
                await found.feed(data[1:])
    finally:
        await asyncio.gather(*(each.cancel() for each in connections.values()))
