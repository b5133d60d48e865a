"""Which programs and which API servers: OCM_BIN, OCM_SOURCE, KUBEBUILDER_ASSETS; see the README."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from addon_framework.kube import Client
from addon_framework.testing.servers import chosen_server
from tests.interop.fleet import Fleet
from tests.interop.parts import Cast, chosen, every
from tests.interop.programs import Programs

_PROGRAMS = ("registration", "work", "placement", "addon")


def pytest_addoption(parser: pytest.Parser) -> None:
    """--all-casts."""
    parser.addoption("--all-casts", action="store_true", help="interop: all 64 casts, not the 16 that matter")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a cast is run with each."""
    if "cast" in metafunc.fixturenames:
        casts = every() if metafunc.config.getoption("--all-casts", default=False) else chosen()
        metafunc.parametrize("cast", casts, ids=str)


@pytest.fixture
def ocm_programs() -> Path:
    """OCM's programs; the test is skipped where they are not given."""
    directory = os.environ.get("OCM_BIN")
    if not directory:
        pytest.skip("OCM_BIN names no directory with OCM's programs (registration, work, placement, addon)")
    missing = [name for name in _PROGRAMS if not os.access(Path(directory) / name, os.X_OK)]
    if missing:
        pytest.fail(f"OCM_BIN={directory} has no program {', '.join(missing)}")
    return Path(directory)


@asynccontextmanager
async def on_stage(cast: Cast, directory: Path) -> AsyncIterator[Fleet]:
    """Two API servers of their own and the programs; their logs are told when something fails."""
    for name in ("hub", "spoke"):
        (directory / name).mkdir()
    servers = [
        chosen_server(directory / "hub", name="hub", service_cidr="127.7.1.0/24"),
        chosen_server(directory / "spoke", name="spoke", service_cidr="127.7.2.0/24"),
    ]
    programs = Programs(directory / "programs")
    programs.directory.mkdir()
    try:
        for server in servers:
            server.start()
        hub, spoke = (server.kubeconfig for server in servers)
        async with Client.from_kubeconfig(hub) as one, Client.from_kubeconfig(spoke) as other:
            fleet = Fleet(cast, one, other, (hub, spoke), programs)
            try:
                yield fleet
            except Exception as error:
                error.add_note(programs.tails())
                raise
            finally:
                await fleet.close()
    finally:
        programs.close()
        for server in servers:
            server.stop()
