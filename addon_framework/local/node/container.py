"""One container: a process, its log, its probes, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from addon_framework.api.meta import Json
from addon_framework.local.node import sandbox
from addon_framework.local.node.sandbox import Bind, SandboxError

log = structlog.get_logger(__name__)
_LINE_LIMIT = 16 * 1024


def timestamp() -> str:
    """RFC 3339 with nanoseconds, as log lines have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


class ContainerProcess:
    """A running container. `exited` is done with the exit code."""

    def __init__(self, process: asyncio.subprocess.Process, log_path: Path, status_fd: int | None) -> None:
        self._process = process
        self._status_fd = status_fd
        self._init_pid: int | None = None
        self.started_at = datetime.now(UTC)
        self.exited: asyncio.Task[int] = asyncio.create_task(self._wait(log_path))

    @property
    def pid(self) -> int:
        """The container's own first process, in the node's numbering."""
        if self._status_fd is not None and self._init_pid is None:
            self._init_pid = _child_pid(self._status_fd)
        return _workload(self._init_pid) if self._init_pid else self._process.pid

    async def stop(self, grace: float) -> int:
        """SIGTERM, then after `grace` seconds SIGKILL; the exit code."""
        if not self.exited.done():
            self._signal(self.pid, signal.SIGTERM)
            await asyncio.wait({self.exited}, timeout=max(grace, 0.01))
        if not self.exited.done():
            # Killing the first process of a PID namespace ends all of it.
            self._signal(self._init_pid or self._process.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return await asyncio.shield(self.exited)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    async def _wait(self, log_path: Path) -> int:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with log_path.open("ab", buffering=0) as output:
            pumps = [
                asyncio.create_task(_pump(stream, name, output.write))
                for stream, name in ((self._process.stdout, "stdout"), (self._process.stderr, "stderr"))
            ]
            code = await self._process.wait()
            # A grandchild may hold the pipe open; its output no longer belongs to the container.
            await asyncio.wait(pumps, timeout=0.5)
            for pump in pumps:
                pump.cancel()
        if self._status_fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._status_fd)
        return 128 - code if code < 0 else code


async def _pump(stream: asyncio.StreamReader, name: str, write: object) -> None:
    """Lines into the log in the CRI's form: time, stream, F or P, text."""
    assert callable(write)
    while True:
        try:
            line = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            line = error.partial
            if not line:
                return
        except asyncio.LimitOverrunError:
            line = await stream.read(_LINE_LIMIT)
        full = "F" if line.endswith(b"\n") or len(line) < _LINE_LIMIT else "P"
        write(f"{timestamp()} {name} {full} ".encode() + line.rstrip(b"\n") + b"\n")


async def start(
    command: Sequence[str],
    environment: dict[str, str],
    binds: Sequence[Bind],
    *,
    cwd: str,
    log_path: Path,
    scratch: Path,
    hidden: Sequence[str],
    bidirectional: bool,
) -> ContainerProcess:
    """Starts a container's process. Raises SandboxError when it cannot be started."""
    steps = sandbox.plan([*binds, Bind(scratch, "/tmp")], hidden)
    status_read: int | None = None
    passed: tuple[int, ...] = ()
    if bidirectional:
        if os.geteuid() != 0:
            raise SandboxError(
                "mountPropagation: Bidirectional needs root: run `fleetadm up` as root, or use a runtime "
                "without FUSE such as local"
            )
        argv = sandbox.privileged(steps, command, cwd=cwd, root=scratch.parent / f"{scratch.name}.root")
    else:
        status_read, status_write = os.pipe()
        passed = (status_write,)
        argv = sandbox.bubblewrap(steps, command, cwd=cwd, status_fd=status_write)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            pass_fds=passed,
            start_new_session=True,
        )
    except FileNotFoundError:
        package = {"bwrap": "bubblewrap", "unshare": "util-linux"}[argv[0]]
        raise SandboxError(
            f"{argv[0]} is not installed; pods run in its sandbox: apt-get install {package}"
        ) from None
    except OSError as error:
        raise SandboxError(f"cannot start {argv[0]}: {error}") from None
    finally:
        for descriptor in passed:
            os.close(descriptor)
    return ContainerProcess(process, log_path, status_read)


async def execute(pid: int, command: Sequence[str], timeout: float) -> tuple[int, str]:
    """Runs a command inside a container's namespaces: exit code and output, as exec probes need."""
    process = await asyncio.create_subprocess_exec(
        "nsenter",
        f"--target={pid}",
        "--mount",
        "--pid",
        "--root",
        "--wd",
        "--",
        *command,
        env=_environment_of(pid),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(timeout):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return 124, f"command timed out after {timeout:g} s"
    return process.returncode or 0, output.decode(errors="replace")


def _environment_of(pid: int) -> dict[str, str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if item)
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, _, value in pairs}


def _child_pid(descriptor: int) -> int | None:
    """What bubblewrap reports once it has cloned."""
    try:
        os.set_blocking(descriptor, False)
        first = os.read(descriptor, 4096).splitlines()[0]
        child: Json = json.loads(first)
        return int(child["child-pid"])
    except (OSError, IndexError, ValueError, KeyError):
        return None


def _workload(init: int) -> int:
    """The command itself: the child of bubblewrap's own first process in the namespace."""
    try:
        children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    except OSError:
        return init
    return int(children[0]) if children else init
