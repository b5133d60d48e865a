"""A network link that a test can break: everything between a client and its API server goes through it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable
from typing import Any

# A packet filter of one instruction that keeps nothing: see SO_ATTACH_FILTER in socket(7). What it drops is
# not even acknowledged, as on a network that is gone.
_ATTACH_FILTER, _DETACH_FILTER = 26, 27
_KEEP_NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
_PROGRAM = struct.pack("HL", 1, ctypes.addressof(_KEEP_NOTHING))


class Link:
    """Forwards TCP connections to a port of this machine, until it is broken in one of its ways."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self.is_cut = False
        self.opened = self.refused = 0  # connections so far
        self.stumbles = 0  # how many of the next ones are refused
        self.delay = 0.0  # seconds that everything takes longer

    async def start(self) -> str:
        """The URL to use instead of the API server's own."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """From now on nothing comes through, and what is open breaks."""
        self.is_cut = True
        for connection in list(self._connections):
            connection.abort()

    def silence(self) -> None:
        """From now on nothing comes through, and nobody is told: packets vanish, connections stay."""
        self.is_cut = True
        self._listen(silently=True)
        for connection in self._connections:
            connection.silence()

    def lose_answers(self) -> None:
        """What is asked on the connections of this moment arrives; its answer does not, and they break."""
        for connection in self._connections:
            connection.loses_answers = True

    def slow(self, delay: float) -> None:
        """From now on all takes so many seconds longer, each way."""
        self.delay = delay

    def mend(self, *, forgetful: bool = False) -> None:
        """As before. A forgetful network knows no connection of before: those stay silent."""
        self.is_cut, self.delay = False, 0.0
        self._listen(silently=False)
        for connection in self._connections:
            if forgetful:
                connection.silence()
            else:
                connection.speak()

    async def close(self) -> None:
        """Ends it."""
        self.cut()
        if self._server is not None:
            self._server.close()

    def _listen(self, *, silently: bool) -> None:
        for each in self._server.sockets if self._server is not None else ():
            _filter(each, silently)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut or self.stumbles:
            self.stumbles = max(0, self.stumbles - 1)
            self.refused += 1
            writer.transport.abort()
            return
        self.opened += 1
        connection = _Connection(writer, lambda: self.delay)
        self._connections.add(connection)
        try:
            await connection.forward(reader, self._target)
        finally:
            self._connections.discard(connection)
            connection.abort()


class _Connection:
    """One client's, and the one to the server that belongs to it."""

    def __init__(self, near: asyncio.StreamWriter, delay: Callable[[], float]) -> None:
        self._writers, self._delay = [near], delay
        self._flows = asyncio.Event()
        self._flows.set()
        self.loses_answers = False

    async def forward(self, reader: asyncio.StreamReader, target: int) -> None:
        """Both ways, until one of them ends."""
        [near] = self._writers
        with contextlib.suppress(OSError):  # the server is away: so is the connection
            back, far = await asyncio.open_connection("127.0.0.1", target)
            self._writers.append(far)
            await asyncio.gather(self._pump(reader, far), self._pump(back, near, answers=True))

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await asyncio.sleep(self._delay())
                await self._flows.wait()
                if answers and self.loses_answers:
                    break
                sink.write(data)
                await sink.drain()
        await self._flows.wait()
        sink.transport.abort()

    def silence(self) -> None:
        self._flows.clear()
        for writer in self._writers:
            _filter(writer.get_extra_info("socket"), True)

    def speak(self) -> None:
        for writer in self._writers:
            _filter(writer.get_extra_info("socket"), False)
        self._flows.set()

    def abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._flows.set()


def _filter(end: Any, silently: bool) -> None:
    with contextlib.suppress(OSError):  # closed already, or it has no filter
        if silently:
            end.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _PROGRAM)
        else:
            end.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
