"""Where the race is run: an object store on one side, a node's network namespace on the other, a shaped link.

The embedded fleet gives all three. Processes of a way run inside the namespace, in a session of their own, so
that their processor time and memory can be added up; what the link carried is the origin's bytes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from addon_framework.local.fleet import FleetState, network
from addon_framework.local.fleet.programs import find

REPOSITORY = Path(__file__).parents[3]
READER = Path(__file__).with_name("reader.py")
ENGINE = Path(os.environ.get("BOUNDARYLESS_ENGINE") or REPOSITORY / ".engine") / "bin" / "python"
_TICKS = os.sysconf("SC_CLK_TCK")


_TOUCH = """
import mmap, sys
size = int(sys.argv[1])
memory = mmap.mmap(-1, size)
memory.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, size, mmap.PAGESIZE):
    memory[at] = 1
"""


class WayError(Exception):
    """A way did not get the model there; with its last words."""


@dataclass
class Spent:
    """Of processes: processor seconds, and the sum of what each had resident at its largest (bytes)."""

    cpu: float = 0.0
    memory: int = 0
    seen: dict[int, tuple[float, int]] = field(default_factory=dict)

    def look(self, session: int) -> None:
        """Counts a session's processes as they are now; of those that ended, what was seen last."""
        for pid in _session(session):
            try:
                words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            peak = next((int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line), 0)
            _, before = self.seen.get(pid, (0.0, 0))  # one that is ending has no memory any more
            self.seen[pid] = ((int(words[11]) + int(words[12])) / _TICKS, max(peak << 10, before))
        self.cpu = sum(cpu for cpu, _ in self.seen.values())
        self.memory = sum(memory for _, memory in self.seen.values())


@dataclass(frozen=True)
class Ground:
    """One fleet, its first spoke's namespace, and a directory for what the ways write."""

    state: FleetState
    directory: Path

    @property
    def _inside(self) -> list[str]:
        """The network alone: `ip netns exec` would have mounts of its own."""
        return ["nsenter", f"--net=/run/netns/{network.namespace(self.state, self.state.clusters[0])}"]

    @property
    def keys(self) -> dict[str, str]:
        """The store's, as AWS's tools read them."""
        store = self.state.store
        return {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}

    @property
    def at(self) -> dict[str, str]:
        """Where the store is, for the scripts here."""
        return {"ENDPOINT": self.state.store_endpoint}

    def claim(self, size: int) -> None:
        """Makes a virtual machine's host give `size` bytes of memory now.

        What a way frees goes back to the host after seconds; the next one to take it would wait for that: the
        same loader took 1.4 s or 3.3 s.
        """
        subprocess.run([sys.executable, "-c", _TOUCH, str(size)], check=True)

    def shape(self, rate: str) -> None:
        """Sets the link's rate, or "none"."""
        network.up(msgspec.structs.replace(self.state, link=rate))

    def carried(self) -> int:
        """Bytes that went to the node so far."""
        interface = network.interface(self.state, self.state.clusters[0])
        return int(Path(f"/sys/class/net/{interface}/statistics/tx_bytes").read_text())

    def start(self, command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A process on the node. Its output goes to a file that `words` reads."""
        log = (self.directory / "last.log").open("wb")
        with log:
            return subprocess.Popen(
                [*self._inside, *command],
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), **self.keys, **env},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def words(self) -> str:
        """The last process's last words."""
        return (self.directory / "last.log").read_text(errors="replace")[-1500:].strip()

    def run(
        self, command: Sequence[str], env: Mapping[str, str], spent: Spent, until: str = '"report": "done"'
    ) -> float:
        """Seconds until it ended, or said `until`, which completes a DataLoad. Raises WayError.

        A loader then measures its cache and puts it on the disk, as copying tools do not.
        """
        began = time.perf_counter()
        process = self.start(command, env)
        said = 0.0
        while process.poll() is None:
            spent.look(process.pid)
            if not said and until in self.words():
                said = time.perf_counter()
            time.sleep(0.01)
        ended = said or time.perf_counter()
        if process.returncode:
            raise WayError(self.words())
        return ended - began

    @contextmanager
    def mounted(
        self, command: Sequence[str], env: Mapping[str, str], at: Path, spent: Spent
    ) -> Iterator[None]:
        """While a client has mounted there. Raises WayError when it does not within half a minute."""
        process = self.start(command, env)
        try:
            self._until(lambda: os.path.ismount(at), process)
            yield
            spent.look(process.pid)
        finally:
            subprocess.run(["umount", "-l", str(at)], check=False, capture_output=True)
            for pid in _session(process.pid):
                os.kill(pid, signal.SIGTERM)
            process.wait()

    def read(self, source: Sequence[str]) -> dict[str, float]:
        """The reader's numbers. Raises WayError."""
        with self.reading(source) as reader:
            return self.numbers(reader)

    @contextmanager
    def reading(self, source: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        """While a reader runs; one that waits for its shards has imported all that it needs."""
        env = {
            **os.environ,
            **self.keys,
            "AWS_ENDPOINT_URL": self.state.store_endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
        }
        command = [*self._inside, str(ENGINE), str(READER), *source]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True) as reader:
            try:
                if source[1:] and not source[0].startswith("s3://"):
                    assert reader.stdout is not None
                    reader.stdout.readline()
                yield reader
            finally:
                reader.kill()

    def numbers(self, reader: subprocess.Popen[str]) -> dict[str, float]:
        """What a reader says at its end. Raises WayError."""
        out, err = reader.communicate()
        if reader.returncode:
            raise WayError((err or out)[-1500:])
        found: dict[str, float] = json.loads(out.splitlines()[-1])
        return found

    def _until(self, true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 30
        while not true():
            if process.poll() is not None or time.monotonic() > deadline:
                raise WayError(f"it did not mount: {self.words()}")
            time.sleep(0.01)


def program(name: str) -> str:
    """Its path. Raises WayError."""
    found = find(name)
    if found is None:
        raise WayError(f"{name} is not installed")
    return found


def python(command: Sequence[str]) -> list[str]:
    """A pod's command on this machine: `python` is ours."""
    return [sys.executable if command[0] == "python" else command[0], *command[1:]]


def _session(number: int) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                words = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[3]) == number:
                found.append(int(entry.name))
    return found
