"""The bench's processes, and what the kernel says of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.testing.servers import free_port

_TICKS = os.sysconf("SC_CLK_TCK")
_LAST_WORDS = 20  # lines


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int, which: str = "VmRSS") -> float:
    """Resident memory of a process, or the most it has had (`VmHWM`)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) / 1024
    return 0.0


class HasEnded(Exception):
    """A process that is measured has ended by itself; the message has its last words."""


class Process:
    """A program that runs until the bench ends it."""

    def __init__(self, started: subprocess.Popen[bytes], log: Path) -> None:
        self._started, self._log = started, log
        self.pid = started.pid

    def check(self) -> None:
        """Raises HasEnded."""
        if (code := self._started.poll()) is not None:
            last = self._log.read_text(errors="replace").splitlines()[-_LAST_WORDS:]
            name = " ".join(map(str, self._started.args[:3])) if isinstance(self._started.args, list) else ""
            raise HasEnded("\n".join([f"{name} has ended with {code}; its last words:", *last]))


@contextmanager
def process(command: Sequence[str | Path], log: Path) -> Iterator[Process]:
    """Runs a program with its output in `log`. Ended in order afterwards."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=subprocess.STDOUT, cwd=log.parent
        )
        try:
            yield Process(started, log)
        finally:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


class Ours:
    """The hub manager, as a user runs it."""

    def __init__(self, directory: Path, kubeconfig: Path, controllers: str) -> None:
        self.directory, self.port = directory, free_port()
        self._command: list[str | Path] = [
            *(Path(sys.executable).parent / "fleetadm", "hub", "run"),
            *("--kubeconfig", kubeconfig, "--controllers", controllers),
            *("--health-port", str(self.port), "--log-level", "warning"),
        ]

    @contextmanager
    def run(self) -> Iterator[dict[str, Process]]:
        """It by its name."""
        with process(self._command, self.directory / "manager.log") as manager:
            yield {"manager": manager}

    def reconciles(self) -> dict[str, float]:
        """How often each controller has been at work."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        found: dict[str, float] = {}
        for line in lines:
            if line.startswith("controller_runtime_reconcile_total{"):
                name = line.split('controller="')[1].split('"')[0]
                found[name] = found.get(name, 0.0) + float(line.rpartition(" ")[2])
        return found


class Ocms:
    """OCM's placement controller and add-on manager, with the options that OCM gives them."""

    def __init__(self, directory: Path, kubeconfig: Path, programs: Path) -> None:
        self.directory, self.kubeconfig, self.programs = directory, kubeconfig, programs

    @contextmanager
    def run(self) -> Iterator[dict[str, Process]]:
        """They by their names."""
        found: dict[str, Process] = {}
        with ExitStack() as stack:
            for name, verb in (("placement", "controller"), ("addon", "manager")):
                command: list[str | Path] = [
                    *(self.programs / name, verb, "--kubeconfig", self.kubeconfig),
                    *("--disable-leader-election", "--namespace", HUB_NAMESPACE),
                    *("--listen", f"127.0.0.1:{free_port()}"),
                ]
                found[name] = stack.enter_context(process(command, self.directory / f"ocm-{name}.log"))
            yield found

    def reconciles(self) -> dict[str, float]:
        """They do not say."""
        return {}
