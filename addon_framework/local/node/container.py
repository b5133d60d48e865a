"""One container: a process in its sandbox, its log, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from addon_framework.local.node.logs import LINE_LIMIT, LogFile
from addon_framework.local.node.mounts import unmount_dead
from addon_framework.local.node.sandbox import Sandbox, SandboxError, graft_command

log = structlog.get_logger(__name__)
_PACKAGES = {"bwrap": "bubblewrap", "nsenter": "util-linux"}


class ContainerProcess:
    """A running container. `exited` is done with the exit code."""

    def __init__(
        self, process: asyncio.subprocess.Process, init: int, sandbox: Sandbox, log_file: LogFile
    ) -> None:
        self._process, self._init, self.sandbox = process, init, sandbox
        self.log = log_file
        self.started_at = datetime.now(UTC)
        self.exited: asyncio.Task[int] = asyncio.create_task(self._wait())

    @property
    def pid(self) -> int:
        """The command's process in the node's numbering: the child of the namespace's first one."""
        try:
            children = Path(f"/proc/{self._init}/task/{self._init}/children").read_text().split()
        except OSError:
            return self._init
        return int(children[0]) if children else self._init

    async def stop(self, grace: float) -> int:
        """SIGTERM, then after `grace` seconds SIGKILL; the exit code."""
        if not self.exited.done() and grace > 0:
            _signal(self.pid, signal.SIGTERM)
            await asyncio.wait({self.exited}, timeout=grace)
        if not self.exited.done():
            # Killing the first process of a PID namespace ends all of it.
            _signal(self._init, signal.SIGKILL)
        return await asyncio.shield(self.exited)

    async def execute(self, command: Sequence[str], timeout: float) -> tuple[int, str]:
        """Runs a command inside the container: exit code and output, as exec probes and hooks need."""
        pid = self.pid
        enter = ["nsenter", f"--target={pid}", "--mount", "--pid", "--uts", "--ipc"]
        enter += [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        process = await _spawn(
            [*enter, f"--root=/proc/{pid}/root", "--wd=/", "--", *self.sandbox.confinement(), *command],
            env=_environment_of(pid),
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(timeout):
                output, _ = await process.communicate()
        except TimeoutError:
            return 124, f"command timed out after {timeout:g} s"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return process.returncode or 0, output.decode(errors="replace")

    async def _wait(self) -> int:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        pumps = [
            asyncio.create_task(self.log.pump(self._process.stdout, b"stdout")),
            asyncio.create_task(self.log.pump(self._process.stderr, b"stderr")),
        ]
        try:
            code = await self._process.wait()
            await asyncio.wait(pumps, timeout=0.5)
        finally:
            for pump in pumps:
                pump.cancel()
            self.log.close()
        return 128 - code if code < 0 else code


async def start(
    sandbox: Sandbox, argv: Sequence[str], environment: Mapping[str, str], log_path: Path
) -> ContainerProcess:
    """Starts a container's process. Raises SandboxError when that is not possible.

    What was started is never lost when the caller is cancelled meanwhile: it is ended then.
    """
    starting = asyncio.create_task(_start(sandbox, argv, environment, log_path))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting})
        if starting.exception() is None:
            await starting.result().stop(0)
        raise


async def _start(
    sandbox: Sandbox, argv: Sequence[str], environment: Mapping[str, str], log_path: Path
) -> ContainerProcess:
    grafts = sandbox.grafts
    if grafts and os.geteuid() != 0:
        raise SandboxError(
            "mountPropagation: Bidirectional needs root: run `fleetadm up` as root, or use a runtime without "
            "FUSE such as local"
        )
    for bind in grafts:  # what an earlier FUSE client left; nobody can mount over it, or even look at it
        await asyncio.to_thread(unmount_dead, bind.source)
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        status_read, status_write = _pipe(ours, theirs)
        go, block = _pipe(theirs, ours)[::-1] if grafts else (None, None)
        line = sandbox.command(argv, status_fd=status_write, block_fd=block)
        process = await _spawn(line, env=environment, pass_fds=[fd for fd in (status_write, block) if fd])
        theirs.close()
        init = await _child_pid(status_read) or process.pid
        started = ContainerProcess(process, init, sandbox, LogFile(log_path))
        # bubblewrap writes to its status pipe once more when it ends, so it must still be open then.
        keep = ours.pop_all()
        started.exited.add_done_callback(lambda _: keep.close())
    if go is not None:
        await _graft(started, init)
        os.write(go, b"go")
    return started


def _pipe(reads: contextlib.ExitStack, writes: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with the given stacks."""
    read, write = os.pipe()
    reads.callback(os.close, read)
    writes.callback(os.close, write)
    return read, write


async def _graft(started: ContainerProcess, init: int) -> None:
    helper = await _spawn(
        graft_command(init, started.sandbox.grafts), env={}, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await helper.communicate()
    if helper.returncode:
        await started.stop(0)
        raise SandboxError(f"cannot share a volume with the host: {output.decode(errors='replace').strip()}")


async def _spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stderr: int = asyncio.subprocess.PIPE,
    pass_fds: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    program = shutil.which(argv[0])  # by the node's PATH, not by the container's
    if program is None:
        package = _PACKAGES.get(argv[0], argv[0])
        raise SandboxError(f"{argv[0]} is not installed; pods need it: apt-get install {package}")
    try:
        return await asyncio.create_subprocess_exec(
            program,
            *argv[1:],
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            limit=LINE_LIMIT,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxError(f"cannot start {argv[0]}: {error}") from None


async def _child_pid(descriptor: int) -> int | None:
    """What bubblewrap reports, piece by piece, once it has cloned; None when it ends before that."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    line = b""
    try:
        while b"\n" not in line:
            await readable.wait()
            readable.clear()
            piece = os.read(descriptor, 4096)
            if not piece:
                return None
            line += piece
    finally:
        loop.remove_reader(descriptor)
    return int(json.loads(line.partition(b"\n")[0])["child-pid"])


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _environment_of(pid: int) -> dict[str, str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if item)
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, _, value in pairs}
