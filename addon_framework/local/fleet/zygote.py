"""Where the fleet's Python processes come from: a process that has imported what they need, and forks.

What is imported is in memory once for the whole fleet (copy on write), and a process starts without it.
The supervisor forks the zygote before it has threads and talks to it over a socket; each child is a process
of its own that can be killed alone. When the supervisor dies, all die (PR_SET_PDEATHSIG), as they do with
the zygote: https://man7.org/linux/man-pages/man2/prctl.2.html.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import importlib.util
import os
import selectors
import signal
import socket
import sys
from collections import deque
from contextlib import suppress
from types import ModuleType

import msgspec
from setproctitle import setproctitle

_PDEATHSIG = 1
_NEWNS, _NEWNET = 0x20000, 0x40000000
_RECURSIVE, _SLAVE = 0x4000, 0x80000
_MESSAGE = 1 << 17  # bytes; a command line is far below

_libc = ctypes.CDLL(None, use_errno=True)


class Birth(msgspec.Struct, frozen=True):
    """`python -m module args`. Its `imports` are kept for those that come later."""

    module: str
    args: list[str]
    log: str
    imports: list[str] = []
    env: dict[str, str] = {}
    network: str = ""
    private_mounts: bool = False


class News(msgspec.Struct, frozen=True):
    """A process was born (0: none could be), or has ended with a code."""

    pid: int
    code: int | None = None


class Child:
    """A process of the zygote's, to be used as asyncio's own are."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        """Its exit code; that of a signal is negative."""
        return await asyncio.shield(self.ended)

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError when it has ended."""
        if self.ended.done():
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, number)


class Zygote:
    """The supervisor's end of the socket. `lost` is done when the zygote is no more."""

    def __init__(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._connection = connection
        self._unborn: deque[asyncio.Future[Child]] = deque()
        self._children: dict[int, Child] = {}
        self.lost: asyncio.Future[None] = loop.create_future()
        loop.add_reader(connection.fileno(), self._heard)

    async def start(self, birth: Birth) -> Child:
        """Raises OSError when that fails."""
        born: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._connection.send(msgspec.json.encode(birth))
        self._unborn.append(born)
        try:
            return await asyncio.shield(born)
        except asyncio.CancelledError:
            born.add_done_callback(_unwanted)
            raise

    def _heard(self) -> None:
        message = _receive(self._connection)
        if not message:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._bereave()
            return
        news = msgspec.json.decode(message, type=News)
        if news.code is not None:
            self._children.pop(news.pid).ended.set_result(news.code)
        elif news.pid:
            child = self._children[news.pid] = Child(news.pid)
            self._unborn.popleft().set_result(child)
        else:
            self._unborn.popleft().set_exception(OSError("the machine has no room for a process"))

    def _bereave(self) -> None:
        """With the zygote went its children."""
        self.lost.set_result(None)
        for child in self._children.values():
            child.ended.set_result(-signal.SIGKILL)
        for born in self._unborn:
            born.set_exception(OSError("the zygote is gone"))


def _unwanted(born: asyncio.Future[Child]) -> None:
    if born.exception() is None:
        born.result().send_signal(signal.SIGKILL)


def fork() -> socket.socket | None:
    """Makes the zygote. Returns the connection to it; in a child None, after that has run to its end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor = os.getpid()
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    _die_with(supervisor)
    setproctitle(f"{sys.executable} -m addon_framework.local.fleet (zygote)")
    _run(_serve(theirs))
    return None


def _serve(connection: socket.socket) -> Birth:
    """Forks what is asked for and tells what has ended; returns only in the children."""
    gc.disable()
    zygote = os.getpid()
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not connection:
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    _, status = os.waitpid(key.data, 0)
                    connection.send(msgspec.json.encode(News(key.data, os.waitstatus_to_exitcode(status))))
                    continue
                message = _receive(connection)
                if not message:
                    os._exit(0)
                birth = msgspec.json.decode(message, type=Birth)
                _prepare(birth)
                try:
                    pid = os.fork()
                except OSError:
                    connection.send(msgspec.json.encode(News(0)))
                    continue
                if pid == 0:
                    for other in list(selector.get_map().values()):
                        os.close(other.fd)
                    connection.detach()
                    _die_with(zygote)
                    return birth
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                connection.send(msgspec.json.encode(News(pid)))


def _prepare(birth: Birth) -> None:
    """Imports, once for all. What cannot be imported fails in the child, whose log says so."""
    for name in (*birth.imports, birth.module):
        with suppress(Exception):
            _import(name)
    gc.collect()
    gc.freeze()  # collections in the children leave these pages alone


def _import(name: str) -> ModuleType:
    """What `python -m` runs by this name."""
    module = importlib.import_module(name)
    return importlib.import_module(f"{name}.__main__") if hasattr(module, "__path__") else module


def _run(birth: Birth) -> None:
    """This process becomes what was asked for."""
    log = os.open(birth.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)
    setproctitle(" ".join([sys.executable, "-m", birth.module, *birth.args]))
    os.environ.update(birth.env)
    if birth.network:
        namespace = os.open(f"/run/netns/{birth.network}", os.O_RDONLY)
        _check(_libc.setns(namespace, _NEWNET), f"network namespace {birth.network}")
        os.close(namespace)
    if birth.private_mounts:
        _check(_libc.unshare(_NEWNS), "mount namespace")
        _check(_libc.mount(None, b"/", None, _RECURSIVE | _SLAVE, None), "mounts as slaves")
    module = _import(birth.module)
    sys.argv = [str(module.__file__), *birth.args]
    gc.enable()
    module.main()


def _die_with(parent: int) -> None:
    _check(_libc.prctl(_PDEATHSIG, signal.SIGKILL), "PR_SET_PDEATHSIG")
    if os.getppid() != parent:  # it was quicker
        os._exit(1)


def _receive(connection: socket.socket) -> bytes:
    """Nothing when the other end is gone."""
    try:
        return connection.recv(_MESSAGE)
    except ConnectionError:
        return b""


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
