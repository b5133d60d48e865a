"""`fleetadm up`, `down`, `delete`: what is there afterwards, and what is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from addon_framework.local.fleet import Fleet
from addon_framework.local.fleet.processes import sockets
from addon_framework.local.fleet.state import Layout
from addon_framework.testing import eventually
from tests.e2e.conftest import BIN, Run, interface_names, left_behind

pytestmark = pytest.mark.timeout(180)


def kubectl(directory: Path, context: str, *arguments: str) -> str:
    command = [BIN / "kubectl", "--kubeconfig", directory / "kubeconfig", "--context", context, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_fleet_comes_up_joined_goes_down_without_a_trace_and_comes_back(
    fleetadm: Run, directory: Path
) -> None:
    before = interface_names()
    up = ("up", "--dir", str(directory), "--spokes", "1", "-o", "json")
    said = json.loads(fleetadm(*up).stdout)
    assert said["contexts"] == ["hub", "cluster1"]
    clusters = json.loads(kubectl(directory, "hub", "get", "managedclusters", "-o", "json"))["items"]
    conditions = {c["type"]: c["status"] for c in clusters[0]["status"]["conditions"]}
    assert conditions["ManagedClusterJoined"] == "True"
    assert conditions["ManagedClusterConditionAvailable"] == "True"
    kubectl(directory, "cluster1", "wait", "node/cluster1-node", "--for=condition=Ready", "--timeout=90s")
    kubectl(directory, "hub", "create", "configmap", "kept", "--from-literal=a=b")
    state = Layout(directory).load()
    assert state is not None
    assert list(sockets(state))

    fleetadm("down", "--dir", str(directory))
    assert left_behind(directory, before) == []
    assert not list(sockets(state))

    again = json.loads(fleetadm("up", "--dir", str(directory), "-o", "json").stdout)
    assert again["contexts"] == ["hub", "cluster1"]  # as many spokes as there were
    assert kubectl(directory, "hub", "get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"
    fleetadm("delete", "--dir", str(directory))
    assert left_behind(directory, before) == []
    assert not directory.exists()


async def test_whatever_is_killed_is_started_again(fleetadm: Run, directory: Path) -> None:
    fleetadm("up", "--dir", str(directory), "--spokes", "1")
    fleet = Fleet(directory)
    for name, before in fleet.statuses().items():
        os.kill(before.pid, signal.SIGKILL)
        await eventually(lambda name=name, before=before: _restarted(fleet, name, before.starts))
    fleetadm("up", "--dir", str(directory), "--spokes", "1")  # which returns when the spoke is available
    assert "cluster1" in kubectl(directory, "hub", "get", "managedclusters")


def test_delete_refuses_a_directory_that_is_no_fleet(fleetadm: Run, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    done = fleetadm("delete", "--dir", str(tmp_path), check=False)
    assert done.returncode == 1
    assert "not a fleet's directory" in done.stderr
    assert (tmp_path / "precious").exists()


def test_a_rate_that_is_none_is_refused(fleetadm: Run, directory: Path) -> None:
    done = fleetadm("up", "--dir", str(directory), "--link", "fast", check=False)
    assert done.returncode == 2
    assert "--link: 'fast' is not a rate" in done.stderr
    assert not directory.exists()


def _restarted(fleet: Fleet, name: str, starts: int) -> bool:
    status = fleet.statuses().get(name)
    return status is not None and status.starts > starts and status.pid != 0
