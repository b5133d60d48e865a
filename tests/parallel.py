"""Tests in several processes at once, `pytest -n auto`: each has a network of its own.

Fixed addresses and ports of tests then meet nobody else's, and most tests wait more than they compute.
Needs root; with `-n0`, and where no network can be made, all run in one process.
"""

from __future__ import annotations

import ctypes
import os
import subprocess

import pytest
from xdist.scheduler import LoadFileScheduling

_NEWNET = 0x40000000
_MOST = 4  # each has its API servers, nodes and stores
# They look at all networks of the machine: one after the other, on one worker, beside other files.
_ONE_BY_ONE = ("tests/e2e/", "tests/unit/fleet/")


def workers() -> int:
    """One for each processor; 0 where they could not be kept apart."""
    given = any(name in os.environ for name in ("BOUNDARYLESS_TEST_KUBECONFIG", "KUBEBUILDER_ASSETS"))
    possible = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode == 0
    return min(len(os.sched_getaffinity(0)), _MOST) if possible and not given else 0


def leave_network() -> None:
    """This thread, and those and the processes that it starts, are in a network with nothing but itself."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEWNET):
        number = ctypes.get_errno()
        raise pytest.UsageError(f"no network of its own for a worker: {os.strerror(number)}; run with -n0")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Scheduler(LoadFileScheduling):  # type: ignore[misc]
    """Whole files, whose fixtures are theirs, in order of their names; those of _ONE_BY_ONE on one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return "one by one" if nodeid.startswith(_ONE_BY_ONE) else str(super()._split_scope(nodeid))
