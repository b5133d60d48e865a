"""The streams of a process: pipes, or one terminal for all three."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Any, Protocol


class Source(Protocol):
    """Where output comes from."""

    async def read(self, n: int) -> bytes:
        """Up to `n` bytes; none at the end."""


_SET_LOCK, _PEER = 0x40045431, 0x5441  # https://man7.org/linux/man-pages/man2/TIOCGPTPEER.2const.html


def open_terminal(devices: str) -> tuple[int, int]:
    """The near and the far side of a new terminal, of the container whose /dev that is."""
    near = os.open(f"{devices}/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(near, _SET_LOCK, struct.pack("i", 0))
        return near, fcntl.ioctl(near, _PEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except BaseException:
        os.close(near)
        raise


class Terminal:
    """The near side of a pseudo-terminal whose far side a process has."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    async def read(self, n: int) -> bytes:
        """What the process writes; nothing once no process has the far side any more."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._descriptor, n)
            except BlockingIOError:
                await self._ready(loop.add_reader, loop.remove_reader)
            except OSError:  # EIO
                return b""

    async def write(self, data: bytes) -> None:
        """What somebody types."""
        loop = asyncio.get_running_loop()
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                await self._ready(loop.add_writer, loop.remove_writer)
            except OSError:
                return

    def resize(self, width: int, height: int) -> None:
        """The process is told by SIGWINCH."""
        size = struct.pack("HHHH", min(height, 0xFFFF), min(width, 0xFFFF), 0, 0)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, size)

    def close(self) -> None:
        """Hangs up."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    async def _ready(self, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
        descriptor, ready = self._descriptor, asyncio.Event()
        if descriptor < 0:
            raise OSError("the terminal is closed")
        add(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            remove(descriptor)


class Stdio:
    """A process's input and outputs by name, whichever way it has them."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: Terminal | None) -> None:
        self._input, self.terminal = process.stdin, terminal
        self.outputs: dict[str, Source] = {}
        if terminal is not None:
            self.outputs["stdout"] = terminal
        else:
            assert process.stdout is not None
            self.outputs["stdout"] = process.stdout
            if process.stderr is not None:
                self.outputs["stderr"] = process.stderr

    async def write(self, data: bytes) -> None:
        """To the process's input, if it has one that is open."""
        if self.terminal is not None:
            await self.terminal.write(data)
        elif self._input is not None and not self._input.is_closing():
            self._input.write(data)
            with contextlib.suppress(ConnectionError):
                await self._input.drain()

    def close_input(self) -> None:
        """No more comes; on a terminal that means nothing."""
        if self._input is not None:
            self._input.close()

    def resize(self, width: int, height: int) -> None:
        """Of the terminal, if there is one."""
        if self.terminal is not None:
            self.terminal.resize(width, height)

    def close(self) -> None:
        """Hangs up."""
        self.close_input()
        if self.terminal is not None:
            self.terminal.close()
