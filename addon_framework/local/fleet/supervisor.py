"""Keeps the fleet's processes running: `python -m addon_framework.local.fleet --dir DIR`.

It knows processes, not fleets. `processes.json` says which; SIGHUP reads it again, SIGTERM ends them all,
the last stage first. One that ends by itself is started again after a pause that grows. When the supervisor
itself is killed, the kernel kills its children (PR_SET_PDEATHSIG), so nothing runs unattended. And when the
fleet's directory is removed, without `fleetadm down`, it ends them all by itself: nobody else could.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import IO

import msgspec

from addon_framework.local.fleet import network, zygote
from addon_framework.local.fleet.state import FleetState, Layout
from addon_framework.local.fleet.zygote import Birth, Child, Zygote

_MIN_PAUSE, _MAX_PAUSE, _STEADY = 0.1, 5.0, 10.0  # seconds; after _STEADY a process counts as healthy
_LOOK = 1.0  # seconds between looks whether the directory is there


class ProcessSpec(msgspec.Struct, frozen=True):
    """One process. `network` is the name of a network namespace; `private_mounts` keeps its mounts to itself.

    `python -m ...` comes from the zygote, which imports the module, and `imports` with it, once for all.

    A process is stopped after those of later stages, with SIGTERM and `grace` seconds.
    """

    name: str
    argv: list[str]
    imports: list[str] = []
    env: dict[str, str] = {}
    network: str = ""
    private_mounts: bool = False
    stage: int = 0
    grace: float = 10.0


class ProcessStatus(msgspec.Struct, frozen=True):
    """As `status.json` has it. `pid` is 0 while the process is down."""

    pid: int
    starts: int
    exit_code: int | None = None


def command(spec: ProcessSpec) -> list[str]:
    """The argument vector with what puts the process into its namespaces; all exec, so the pid stays."""
    argv = ["setpriv", "--pdeathsig", "KILL", "--", *spec.argv]
    if spec.private_mounts:
        argv = ["unshare", "--mount", "--propagation", "slave", "--", *argv]
    if spec.network:
        argv = ["nsenter", f"--net=/run/netns/{spec.network}", "--", *argv]
    return argv


class Supervised:
    """One process, from its first start to its last end."""

    def __init__(self, spec: ProcessSpec, log: Path, zygote: Zygote, changed: asyncio.Event) -> None:
        self.spec, self._log, self._zygote, self._changed = spec, log, zygote, changed
        self.status = ProcessStatus(pid=0, starts=0)
        self._process: asyncio.subprocess.Process | Child | None = None
        self._stopping = False
        self.task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """SIGTERM, SIGKILL after the grace, and no new start."""
        self._stopping = True
        if self._process is None:
            self.task.cancel()
        else:
            self._signal(signal.SIGTERM)
            done, _ = await asyncio.wait({self.task}, timeout=self.spec.grace)
            if not done:
                self._signal(signal.SIGKILL)
        await asyncio.gather(self.task, return_exceptions=True)

    async def _run(self) -> None:
        pause = _MIN_PAUSE
        while not self._stopping:
            began = time.monotonic()
            code = await self._once()
            if self._stopping:
                return
            pause = _MIN_PAUSE if time.monotonic() - began > _STEADY else min(pause * 2, _MAX_PAUSE)
            self._note(f"{self.spec.name} ended with exit code {code}; it is started again in {pause:g} s")
            await asyncio.sleep(pause)

    async def _once(self) -> int:
        try:
            self._process = await self._start()
        except OSError as error:
            self._note(f"{self.spec.name} cannot be started: {error}")
            return 127
        self._set(ProcessStatus(pid=self._process.pid, starts=self.status.starts + 1))
        code = await self._process.wait()
        self._process = None
        self._set(ProcessStatus(pid=0, starts=self.status.starts, exit_code=code))
        return code

    async def _start(self) -> asyncio.subprocess.Process | Child:
        spec = self.spec
        if spec.argv[:2] == [sys.executable, "-m"]:
            module, *args = spec.argv[2:]
            return await self._zygote.start(
                Birth(module, args, str(self._log), spec.imports, spec.env, spec.network, spec.private_mounts)
            )
        with self._log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *command(spec),
                env={**os.environ, **spec.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            try:
                self._process.send_signal(number)
            except ProcessLookupError:
                return

    def _set(self, status: ProcessStatus) -> None:
        self.status = status
        self._changed.set()

    def _note(self, text: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} supervisor: {text}\n")


class Supervisor:
    """All processes of one fleet, for as long as its `lock` has a name."""

    def __init__(self, layout: Layout, zygote: Zygote, lock: IO[str]) -> None:
        self._layout, self._zygote, self._lock = layout, zygote, lock
        self._running: dict[str, Supervised] = {}
        self._fleet: FleetState | None = None
        self._changed, self._reload, self._stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM, or the fleet is removed. Raises SystemExit when the zygote is lost: nothing could
        be started again."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._zygote.lost.add_done_callback(lambda _: self._stop.set())
        beside = [asyncio.create_task(self._report()), asyncio.create_task(self._watch_directory())]
        stopping = asyncio.create_task(self._stop.wait())
        await self._adopt()
        while not stopping.done():
            reloading = asyncio.create_task(self._reload.wait())
            await asyncio.wait({reloading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            reloading.cancel()
            if self._reload.is_set() and not stopping.done():
                self._reload.clear()
                await self._adopt()
        await self._stop_all(list(self._running.values()))
        for task in beside:
            task.cancel()
        if self._removed:
            self._remove_network()
        else:
            self._layout.status.unlink(missing_ok=True)
        if self._zygote.lost.done():
            raise SystemExit("the zygote was killed, and with it what it had started; start the fleet again")

    async def _adopt(self) -> None:
        """Makes what runs what the file says."""
        self._fleet = self._layout.load()
        specs = {
            spec.name: spec
            for spec in msgspec.json.decode(self._layout.processes.read_bytes(), type=list[ProcessSpec])
        }
        gone = [s for name, s in self._running.items() if specs.get(name) != s.spec]
        await self._stop_all(gone)
        for supervised in gone:
            del self._running[supervised.spec.name]
        for name, spec in specs.items():
            if name not in self._running:
                self._running[name] = Supervised(
                    spec, self._layout.logs / f"{name}.log", self._zygote, self._changed
                )

    async def _stop_all(self, processes: list[Supervised]) -> None:
        for stage in sorted({p.spec.stage for p in processes}, reverse=True):
            await asyncio.gather(*(p.stop() for p in processes if p.spec.stage == stage))

    async def _report(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._removed:
                return
            statuses = {name: supervised.status for name, supervised in self._running.items()}
            temporary = self._layout.status.with_suffix(".tmp")
            temporary.write_bytes(msgspec.json.encode(statuses))
            temporary.replace(self._layout.status)

    @property
    def _removed(self) -> bool:
        """Whether the directory is; one that is made in its place has a lock of its own."""
        return os.fstat(self._lock.fileno()).st_nlink == 0

    async def _watch_directory(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if self._removed:
                self._stop.set()

    def _remove_network(self) -> None:
        """As `fleetadm down` would, which knows no more of it; but one made in its place has these names."""
        if self._fleet is None or not self._fleet.isolated:
            return
        new = self._layout.load()
        if new is None:
            network.down(self._fleet)
        elif new.hub_address != self._fleet.hub_address:
            network.release(self._fleet)


def hold(layout: Layout) -> IO[str] | None:
    """The lock that the supervisor holds for its life, with its pid inside; None when another has it."""
    file = layout.lock.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def main() -> None:
    """Parses the command line and runs until SIGTERM."""
    parser = argparse.ArgumentParser(prog="addon_framework.local.fleet", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="of the fleet")
    layout = Layout(parser.parse_args().dir)
    connection = zygote.fork()  # first: the lock is nobody's but ours
    if connection is None:
        return
    lock = hold(layout)
    if lock is None:
        raise SystemExit(f"a supervisor of {layout.directory} runs already")
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    asyncio.run(_supervise(layout, connection, lock))


async def _supervise(layout: Layout, connection: socket.socket, lock: IO[str]) -> None:
    await Supervisor(layout, Zygote(connection), lock).run()
