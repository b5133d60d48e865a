"""The supervisor, with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from addon_framework.local.fleet import FleetOptions, network
from addon_framework.local.fleet.state import Layout, create
from addon_framework.local.fleet.supervisor import ProcessSpec, ProcessStatus
from addon_framework.testing import eventually

Supervise = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.run.mkdir()
    layout.logs.mkdir()
    return layout


@pytest.fixture
def supervise(layout: Layout) -> Iterator[Supervise]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*specs: ProcessSpec) -> subprocess.Popen[bytes]:
        layout.processes.write_bytes(msgspec.json.encode(specs))
        process = subprocess.Popen(
            [sys.executable, "-m", "addon_framework.local.fleet", "--dir", str(layout.directory)],
            env={**os.environ, "PYTHONPATH": str(layout.directory)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def status(layout: Layout, name: str) -> ProcessStatus | None:
    try:
        statuses = msgspec.json.decode(layout.status.read_bytes(), type=dict[str, ProcessStatus])
    except FileNotFoundError:
        return None
    return statuses.get(name)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def running(layout: Layout, name: str, starts: int = 1) -> int:
    def check() -> int:
        now = status(layout, name)
        return now.pid if now is not None and now.starts == starts else 0

    pid: int = await eventually(check)
    return pid


def sleeper(name: str, stage: int = 0) -> ProcessSpec:
    return ProcessSpec(name=name, argv=["sleep", "600"], stage=stage)


async def test_a_process_that_is_killed_is_started_again(layout: Layout, supervise: Supervise) -> None:
    supervise(sleeper("a"))
    first = await running(layout, "a")
    os.kill(first, signal.SIGKILL)
    second = await running(layout, "a", starts=2)
    assert second != first
    assert "ended with exit code -9" in (layout.logs / "a.log").read_text()


async def test_no_process_outlives_a_supervisor_that_is_killed(layout: Layout, supervise: Supervise) -> None:
    supervisor = supervise(sleeper("a"))
    pid = await running(layout, "a")
    supervisor.kill()
    await eventually(lambda: not alive(pid))


async def test_no_process_outlives_the_directory(layout: Layout, supervise: Supervise) -> None:
    supervisor = supervise(sleeper("a"), python(layout, "b"))
    pids = [await running(layout, name) for name in ("a", "b")]
    await eventually(lambda: log(layout, "b") != "")  # it writes no more
    shutil.rmtree(layout.directory)
    assert supervisor.wait(60) == 0
    assert not any(alive(pid) for pid in pids)
    assert not layout.directory.exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
@pytest.mark.parametrize("another", [False, True], ids=["alone", "another in its place"])
async def test_no_network_outlives_the_directory(
    layout: Layout, supervise: Supervise, *, another: bool
) -> None:
    options = FleetOptions(spokes=1, link="none")
    fleets = [create(layout, options)]
    namespace = network.namespace(fleets[0], fleets[0].clusters[0])
    network.up(fleets[0])
    try:
        layout.save(fleets[0])
        supervisor = supervise(sleeper("a"))
        await running(layout, "a")
        supervisor.send_signal(signal.SIGSTOP)  # however long it takes
        shutil.rmtree(layout.directory)
        if another:
            fleets.append(create(layout, options))
            layout.save(fleets[1])
            network.up(fleets[1])
        supervisor.send_signal(signal.SIGCONT)
        assert supervisor.wait(60) == 0
        assert (namespace in os.listdir("/run/netns")) is another
        assert create(layout, options).hub_address == fleets[0].hub_address  # which nobody has
    finally:
        for fleet in fleets:
            network.down(fleet)


async def test_what_is_made_in_its_place_is_left_alone(layout: Layout, supervise: Supervise) -> None:
    supervisor = supervise(sleeper("a"))
    await running(layout, "a")
    shutil.rmtree(layout.directory)
    layout.run.mkdir(parents=True)
    layout.logs.mkdir()
    another = supervise(sleeper("b"))
    await running(layout, "b")
    assert supervisor.wait(60) == 0
    assert another.poll() is None
    assert status(layout, "b") is not None
    assert status(layout, "a") is None


async def test_later_stages_end_first(layout: Layout, supervise: Supervise) -> None:
    ends = layout.directory / "ends"
    say = "trap 'echo {0} >> {1}; exit' TERM; echo up; while :; do sleep 0.02; done"
    specs = [
        ProcessSpec(name=name, argv=["sh", "-c", say.format(name, ends)], stage=stage)
        for stage, name in enumerate(("server", "node", "agent"))
    ]
    supervisor = supervise(*specs)
    for spec in specs:  # the trap is set once it has spoken
        await eventually(
            lambda log=layout.logs / f"{spec.name}.log": log.exists() and "up" in log.read_text()
        )
    supervisor.terminate()
    assert supervisor.wait(60) == 0
    assert ends.read_text().split() == ["agent", "node", "server"]


async def test_a_new_list_starts_and_stops_only_what_differs(layout: Layout, supervise: Supervise) -> None:
    supervisor = supervise(sleeper("stays"), sleeper("goes"))
    stays, goes = await running(layout, "stays"), await running(layout, "goes")
    layout.processes.write_bytes(msgspec.json.encode([sleeper("stays"), sleeper("comes")]))
    supervisor.send_signal(signal.SIGHUP)
    await running(layout, "comes")
    await eventually(lambda: not alive(goes))
    assert await running(layout, "stays") == stays


async def test_a_second_supervisor_of_a_fleet_refuses(layout: Layout, supervise: Supervise) -> None:
    supervise(sleeper("a"))
    await running(layout, "a")
    assert supervise(sleeper("a")).wait(60) != 0


async def test_a_program_that_is_missing_is_tried_again_and_logged(
    layout: Layout, supervise: Supervise
) -> None:
    supervise(ProcessSpec(name="a", argv=["/no/such/program"]), sleeper("b"))
    await running(layout, "b")
    await eventually(lambda: "ended with exit code" in (layout.logs / "a.log").read_text())


# Python processes: children of the zygote

PROGRAM = """
import os, sys, time

def main() -> None:
    print(*sys.argv[1:], os.environ["WORD"], flush=True)
    if sys.argv[1] == "leaves":
        sys.exit(3)
    time.sleep(600)
"""


def python(layout: Layout, name: str, module: str = "program") -> ProcessSpec:
    (layout.directory / "program.py").write_text(PROGRAM)
    return ProcessSpec(name=name, argv=[sys.executable, "-m", module, name], env={"WORD": f"of {name}"})


def log(layout: Layout, name: str) -> str:
    file = layout.logs / f"{name}.log"
    return file.read_text() if file.exists() else ""


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().strip("\0")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_python_processes_have_arguments_environment_name_and_log_of_their_own(
    layout: Layout, supervise: Supervise
) -> None:
    supervise(python(layout, "a"), python(layout, "b"))
    pids = {name: await running(layout, name) for name in ("a", "b")}
    for name, pid in pids.items():
        await eventually(lambda name=name: log(layout, name) == f"{name} of {name}\n")
        assert title(pid) == f"{sys.executable} -m program {name}"
    assert parent(pids["a"]) == parent(pids["b"])


async def test_a_python_process_is_killed_alone(layout: Layout, supervise: Supervise) -> None:
    supervise(python(layout, "a"), python(layout, "b"))
    first, other = await running(layout, "a"), await running(layout, "b")
    os.kill(first, signal.SIGKILL)
    await running(layout, "a", starts=2)
    assert await running(layout, "b") == other
    assert "a ended with exit code -9" in log(layout, "a")


async def test_the_exit_code_of_a_python_process_is_told(layout: Layout, supervise: Supervise) -> None:
    supervise(python(layout, "leaves"))
    await eventually(lambda: "exit code 3" in log(layout, "leaves"))


async def test_what_cannot_be_imported_says_so_in_its_log(layout: Layout, supervise: Supervise) -> None:
    supervise(python(layout, "a", module="program_that_is_not"), python(layout, "b"))
    await running(layout, "b")
    await eventually(lambda: "ModuleNotFoundError" in log(layout, "a"))


async def test_nothing_python_outlives_a_supervisor_that_is_killed(
    layout: Layout, supervise: Supervise
) -> None:
    supervisor = supervise(python(layout, "a"))
    pid = await running(layout, "a")
    zygote = parent(pid)
    supervisor.kill()
    await eventually(lambda: not alive(pid) and not alive(zygote))


async def test_without_its_zygote_a_supervisor_ends_and_says_why(
    layout: Layout, supervise: Supervise
) -> None:
    supervisor = supervise(python(layout, "a"), sleeper("b"))
    pid, other = await running(layout, "a"), await running(layout, "b")
    os.kill(parent(pid), signal.SIGKILL)
    assert supervisor.wait(60) == 1
    assert not alive(pid)
    assert not alive(other)
