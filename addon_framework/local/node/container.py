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

from addon_framework.local.node.cgroups import Cgroup
from addon_framework.local.node.logs import LINE_LIMIT, LogFile
from addon_framework.local.node.sandbox import Sandbox, SandboxError, graft_command
from addon_framework.local.node.stdio import Stdio, Terminal, open_terminal

log = structlog.get_logger(__name__)
_FORKING = 0.002  # seconds; nobody tells
_PACKAGES = {"bwrap": "bubblewrap", "nsenter": "util-linux"}


class ContainerProcess:
    """A running container. `exited` is done with the exit code."""

    def __init__(
        self, spawned: Spawned, told: Told, sandbox: Sandbox, log_file: LogFile, cgroup: Cgroup | None
    ) -> None:
        self._process, self.stdio, self.sandbox = spawned.process, spawned.stdio, sandbox
        self._told, self._init = told, told.child or spawned.process.pid
        self.log, self._cgroup = log_file, cgroup
        self.oom_killed = False
        self.started_at = datetime.now(UTC)
        self.exited: asyncio.Task[int] = asyncio.create_task(self._wait())

    @property
    def pid(self) -> int:
        """The command's process in the node's numbering: the child of the namespace's first one."""
        return next(iter(_children(self._init)), self._init)

    async def stop(self, grace: float) -> int:
        """SIGTERM, then after `grace` seconds SIGKILL; the exit code."""
        if not self.exited.done() and grace > 0:
            _signal(self.pid, signal.SIGTERM)
            await asyncio.wait({self.exited}, timeout=grace)
        if not self.exited.done():
            # Killing the first process of a PID namespace ends all of it.
            _signal(self._init, signal.SIGKILL)
        return await asyncio.shield(self.exited)

    async def enter(self, command: Sequence[str], *, stdin: bool = False, tty: bool = False) -> Spawned:
        """Starts a command inside the container, under the same limits."""
        pid = await self._begun()
        line = ["nsenter", f"--target={pid}", "--mount", "--pid", "--uts", "--ipc"]
        line += [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        line += [f"--root=/proc/{pid}/root", f"--wdns={self.sandbox.cwd}", "--", *self.sandbox.confinement()]
        environment = _environment_of(pid)
        if tty:
            environment.setdefault("TERM", "xterm")
        line += [*_on_terminal(tty), *command]
        return await _spawn(
            line,
            env=environment,
            stdin=stdin,
            tty=f"/proc/{pid}/root/dev" if tty else "",
            cgroup=self._cgroup,
        )

    async def _begun(self) -> int:
        """The command's process, once there is one: bubblewrap forks it when the root is in place."""
        while not _children(self._init) and not self.exited.done():  # noqa: ASYNC110
            await asyncio.sleep(_FORKING)
        return self.pid

    async def made(self) -> None:
        """Until its root is in place. Raises SandboxError when that was not possible: no command has run.

        A volume may have gone since it was looked at; a kubelet tries such a container again, whatever the
        restart policy.
        """
        await self._begun()
        if self.exited.done() and not self._told.exit_code and await self.exited == 1:
            why = self.log.tail(1).decode(errors="replace").strip()
            if not why.startswith("bwrap: execvp"):
                self.log.path.unlink()  # no container wrote it
                raise SandboxError(f"the container could not be made: {why.removeprefix('bwrap: ')}")

    async def execute(self, command: Sequence[str], timeout: float) -> tuple[int, str]:
        """Runs a command inside the container: exit code and output, as exec probes and hooks need."""
        spawned = await self.enter(command)
        try:
            async with asyncio.timeout(timeout):
                out, err = await spawned.process.communicate()
        except TimeoutError:
            return 124, f"command timed out after {timeout:g} s"
        finally:
            spawned.kill()
        return spawned.process.returncode or 0, (out + err).decode(errors="replace")

    async def _wait(self) -> int:
        pumps = [
            asyncio.create_task(self.log.pump(source, name)) for name, source in self.stdio.outputs.items()
        ]
        try:
            code = await self._process.wait()
            self._told.rest()
            await asyncio.wait(pumps, timeout=0.5)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.stdio.close()
            self.log.close()
            if self._cgroup is not None:
                self.oom_killed = self._cgroup.oom_kills > 0
                self._cgroup.remove()
        return 128 - code if code < 0 else code


class Told:
    """What bubblewrap says on its status pipe: its child once it has cloned, how a command that ran ended."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._text = descriptor, b""
        os.set_blocking(descriptor, False)

    @property
    def child(self) -> int | None:
        """The namespace's first process; None when bubblewrap ended before there was one."""
        first, end, _ = self._text.partition(b"\n")
        return int(json.loads(first)["child-pid"]) if end else None

    @property
    def exit_code(self) -> bool:
        """Whether it told one: then the command had been started."""
        return b'"exit-code"' in self._text

    async def begin(self) -> None:
        """Until there is a child, or will be none."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._descriptor, readable.set)
        try:
            while b"\n" not in self._text:
                await readable.wait()
                readable.clear()
                with contextlib.suppress(BlockingIOError):  # a busy loop tells of the same piece twice
                    if not (piece := os.read(self._descriptor, 4096)):
                        return
                    self._text += piece
        finally:
            loop.remove_reader(self._descriptor)

    def rest(self) -> None:
        """All that it has written, once it has ended."""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._descriptor, 4096):
                self._text += piece


class Spawned:
    """A process that was started, and its streams."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: Terminal | None) -> None:
        self.process, self.stdio = process, Stdio(process, terminal)

    def kill(self) -> None:
        """With all it started, if it still runs; and hangs up."""
        if self.process.returncode is None:
            # Who is on a terminal leads a session of its own, below the one that entered.
            for pid in (*_children(self.process.pid), self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
        self.stdio.close()


async def start(
    sandbox: Sandbox,
    argv: Sequence[str],
    environment: Mapping[str, str],
    log_path: Path,
    *,
    stdin: bool = False,
    tty: bool = False,
    cgroup: Cgroup | None = None,
) -> ContainerProcess:
    """Starts a container's process. Raises SandboxError when that is not possible.

    What was started is never lost when the caller is cancelled meanwhile: it is ended then.
    """
    starting = asyncio.create_task(
        _start(sandbox, argv, environment, log_path, stdin=stdin, tty=tty, cgroup=cgroup)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting})
        if starting.exception() is None:
            await starting.result().stop(0)
        raise


async def _start(
    sandbox: Sandbox,
    argv: Sequence[str],
    environment: Mapping[str, str],
    log_path: Path,
    *,
    stdin: bool,
    tty: bool,
    cgroup: Cgroup | None,
) -> ContainerProcess:
    grafts = sandbox.grafts
    if grafts and os.geteuid() != 0:
        raise SandboxError(
            "mountPropagation: Bidirectional needs root: run `fleetadm up` as root, or use a runtime without "
            "FUSE such as local"
        )
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        status_read, status_write = _pipe(ours, theirs)
        go, block = _pipe(theirs, ours)[::-1] if grafts else (None, None)
        argv = [*_on_terminal(tty), *argv]
        line = sandbox.command(argv, status_fd=status_write, block_fd=block)
        descriptors = [fd for fd in (status_write, block) if fd]
        spawned = await _spawn(
            line, env=environment, pass_fds=descriptors, stdin=stdin, tty="/dev" if tty else "", cgroup=cgroup
        )
        theirs.close()
        told = Told(status_read)
        await told.begin()
        started = ContainerProcess(spawned, told, sandbox, LogFile(log_path), cgroup)
        # bubblewrap writes to its status pipe once more when it ends, so it must still be open then.
        keep = ours.pop_all()
        started.exited.add_done_callback(lambda _: keep.close())
    if go is not None:
        await _graft(started, told.child or spawned.process.pid)
        os.write(go, b"go")
    await started.made()
    return started


def _pipe(reads: contextlib.ExitStack, writes: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with the given stacks."""
    read, write = os.pipe()
    reads.callback(os.close, read)
    writes.callback(os.close, write)
    return read, write


async def _graft(started: ContainerProcess, init: int) -> None:
    helper = (await _spawn(graft_command(init, started.sandbox.grafts), env={})).process
    _, errors = await helper.communicate()
    if helper.returncode:
        await started.stop(0)
        raise SandboxError(f"cannot share a volume with the host: {errors.decode(errors='replace').strip()}")


async def _spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    stdin: bool = False,
    tty: str = "",
    cgroup: Cgroup | None = None,
) -> Spawned:
    """Starts a program, with pipes, or on a terminal of the devices in `tty`."""
    program = shutil.which(argv[0])  # by the node's PATH, not by the container's
    if program is None:
        package = _PACKAGES.get(argv[0], argv[0])
        raise SandboxError(f"{argv[0]} is not installed; pods need it: apt-get install {package}")
    line = [program, *argv[1:]]
    line = cgroup.entering(line) if cgroup is not None else line
    near, far = -1, -1
    pipe = asyncio.subprocess.PIPE
    try:
        if tty:
            near, far = open_terminal(tty)
        process = await asyncio.create_subprocess_exec(
            *line,
            env=env,
            stdin=far if tty else pipe if stdin else asyncio.subprocess.DEVNULL,
            stdout=far if tty else pipe,
            stderr=far if tty else pipe,
            limit=LINE_LIMIT,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except BaseException as error:
        if near >= 0:
            os.close(near)
        if isinstance(error, OSError):
            raise SandboxError(f"cannot start {argv[0]}: {error}") from None
        raise
    finally:
        if far >= 0:
            os.close(far)
    return Spawned(process, Terminal(near) if tty else None)


def _on_terminal(tty: bool) -> list[str]:
    """Makes a command the leader of the session that its terminal controls, for Ctrl-C and job control."""
    return ["setsid", "--ctty", "--"] if tty else []


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


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
