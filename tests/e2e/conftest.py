"""The whole fleet, driven by the command a user has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
BIN = Path(sys.executable).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("e2e")


@pytest.fixture(scope="session")
def fleetadm() -> Run:
    """Runs `fleetadm`; what it says is shown when it fails."""

    def run(*arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [BIN / "fleetadm", *arguments], capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            pytest.fail(f"fleetadm {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
        return done

    return run


@pytest.fixture
def directory(tmp_path: Path, fleetadm: Run) -> Iterator[Path]:
    """Where a test's fleet is; deleted whatever happens."""
    directory = tmp_path / "fleet"
    yield directory
    fleetadm("delete", "--dir", str(directory), check=False)


def left_behind(directory: Path, interfaces: set[str]) -> list[str]:
    """Processes, mounts, namespaces and interfaces of a fleet that is down."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    return [
        *(f"process {text}" for text in _processes() if str(directory) in text),
        *(f"mount {line}" for line in mounts if str(directory) in line),
        *(f"interface {name}" for name in interface_names() - interfaces),
    ]


def interface_names() -> set[str]:
    """Network interfaces, and namespaces, which have names too."""
    namespaces = Path("/run/netns")
    names = {f"netns {entry.name}" for entry in namespaces.iterdir()} if namespaces.is_dir() else set()
    return names | {name for _, name in socket.if_nameindex()}  # /sys may show another network's


def _processes() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                yield (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
