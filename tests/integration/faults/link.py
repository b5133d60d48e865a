"""A network link that a test can cut: everything between a client and its API server goes through it."""

from __future__ import annotations

import asyncio
import contextlib


class Link:
    """Forwards TCP connections to a port of this machine, or drops them all."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_cut = False

    async def start(self) -> str:
        """The URL to use instead of the API server's own."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """From now on nothing comes through, and what is open breaks."""
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """As before."""
        self.is_cut = False

    async def close(self) -> None:
        """Ends it."""
        self.cut()
        if self._server is not None:
            self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            if self.is_cut:
                return
            back, far = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(far)
            await asyncio.gather(_pump(reader, far), _pump(back, writer))
        except OSError:
            pass  # the server is away: so is the connection
        finally:
            for each in filter(None, (writer, far)):
                self._writers.discard(each)
                each.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.transport.abort()
