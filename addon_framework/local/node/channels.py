"""A process over a WebSocket: the first byte of a message says which stream it belongs to.

https://pkg.go.dev/k8s.io/apimachinery/pkg/util/remotecommand
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import WSMsgType, web

from addon_framework.api.meta import Json
from addon_framework.local.node.container import ContainerProcess
from addon_framework.local.node.stdio import Source, Stdio

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
MAX_MESSAGE = 16 << 20
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_NUMBERS = {"stdout": _STDOUT, "stderr": _STDERR}
_PIECE = 32 * 1024
_LINGER = 0.5  # seconds that output may still come when the process has ended
_BEHIND = 1000  # pieces that somebody attached may be late

SUCCESS: Json = {"metadata": {}, "status": "Success"}


def exit_status(code: int) -> Json:
    """As kubectl and client-go read it."""
    if code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure(message: str) -> Json:
    """Something else than an exit code."""
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "InternalError",
        "message": message,
        "code": 500,
    }


class Channels:
    """One client's streams."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def send(self, channel: int, data: bytes) -> None:
        """A piece of a stream."""
        await self._socket.send_bytes(bytes((channel,)) + data)

    async def finish(self, status: Json) -> None:
        """How it ended; the last message."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self.send(_ERROR, orjson.dumps(status))
            await self._socket.close()

    async def receive(
        self, write: Callable[[bytes], Awaitable[None]], end: Callable[[], None], io: Stdio
    ) -> None:
        """Passes on what the client types, until it leaves."""
        async for message in self._socket:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT) or not message.data:
                continue
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            channel, payload = data[0], data[1:]
            if channel == _STDIN:
                await write(payload)
            elif channel == _RESIZE:
                io.resize(*_size(payload))
            elif channel == _CLOSE and payload[:1] == bytes((_STDIN,)):
                end()

    async def execute(self, container: ContainerProcess, command: list[str], wanted: set[str]) -> None:
        """Runs a command in a container; it ends with the client."""
        spawned = await container.enter(command, stdin="stdin" in wanted, tty="tty" in wanted)
        io, exited = spawned.stdio, asyncio.create_task(spawned.process.wait())
        receiving = asyncio.create_task(self.receive(io.write, io.close_input, io))
        copying = [
            asyncio.create_task(self._copy(_NUMBERS[name] if name in wanted else None, source, exited))
            for name, source in io.outputs.items()
        ]
        ending = asyncio.create_task(self._ended(exited, copying))
        try:
            await self._announce(wanted)
            await asyncio.wait({receiving, ending}, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                await self.finish(exit_status(ending.result()))
        finally:
            spawned.kill()
            for task in (receiving, ending, exited, *copying):
                task.cancel()
            await asyncio.gather(receiving, ending, exited, *copying, return_exceptions=True)

    async def attach(self, container: ContainerProcess, wanted: set[str], *, once: bool) -> None:
        """The output of a container from now on, and its input; it lives on without the client."""
        pieces: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        io = container.stdio

        async def forward() -> None:
            while not (container.exited.done() and pieces.empty()):
                getting = asyncio.ensure_future(pieces.get())
                await asyncio.wait({getting, container.exited}, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    getting.cancel()
                elif (piece := getting.result())[0] in wanted:
                    await self.send(_NUMBERS[piece[0]], piece[1])
                if pieces.qsize() > _BEHIND:
                    raise ConnectionError("the client is too slow")

        def end() -> None:
            if once:
                io.close_input()

        async def write(data: bytes) -> None:
            if "stdin" in wanted:
                await io.write(data)

        with container.log.tapped(lambda name, data: pieces.put_nowait((name, data))):
            await self._announce(wanted)
            tasks = [asyncio.create_task(forward()), asyncio.create_task(self.receive(write, end, io))]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if container.exited.done():
                    await self.finish(exit_status(container.exited.result()))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _ended(self, exited: asyncio.Task[int], copying: list[asyncio.Task[None]]) -> int:
        """The exit code, once all output is sent."""
        await asyncio.gather(*copying)
        code = await exited
        return 128 - code if code < 0 else code

    async def _announce(self, wanted: set[str]) -> None:
        """Nothing, on the first stream that the client reads: it is connected."""
        await self.send(min((_NUMBERS[name] for name in wanted & _NUMBERS.keys()), default=_ERROR), b"")

    async def _copy(self, channel: int | None, source: Source, exited: asyncio.Task[int]) -> None:
        """All output, though not of what a command has left behind in the background."""
        while True:
            reading = asyncio.ensure_future(source.read(_PIECE))
            try:
                await asyncio.wait({reading, exited}, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait({reading}, timeout=_LINGER)
            finally:
                if not reading.done():
                    reading.cancel()
            if not reading.done() or not (data := reading.result()):
                return
            if channel is not None:
                await self.send(channel, data)


def _size(payload: bytes) -> tuple[int, int]:
    """Width and height; nothing sensible is 80 by 24."""
    try:
        size = orjson.loads(payload)
        return max(0, int(size["Width"])), max(0, int(size["Height"]))
    except (ValueError, KeyError, TypeError):
        return 80, 24
