"""`fleetadm demo`: the main job with real parts, whole and while processes are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from addon_framework.local.fleet import Fleet
from tests.e2e.conftest import BIN, interface_names, left_behind

pytestmark = pytest.mark.timeout(900)
BASELINE = "s3fs" if os.geteuid() == 0 else "copy, then vLLM"  # nothing can be mounted without root

# What the demo says when a step is done -> what is killed then.
FAULTS = {
    "are Available on": ("cluster1-agent", "hub-manager"),
    "stock vLLM: ready": ("hub-apiserver",),
    "Preloaded on": ("cluster2-agent", "gateway"),
    "A second replica": ("cluster2-apiserver", "hub-manager"),
}


class Demo:
    """A running `fleetadm demo` with a small model."""

    def __init__(self, output: Path, *more: str) -> None:
        self.output = output
        command = [BIN / "fleetadm", "demo", "--model-mb", "10", "--shards", "2", "--output", output, *more]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said: list[str] = []

    def lines(self) -> Iterator[str]:
        """What it says, as it says it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line)
            yield line

    def result(self) -> dict[str, Any]:
        """Waits for the end; the result it wrote."""
        for _ in self.lines():
            pass
        code = self._process.wait()
        assert code == 0, "".join(self.said)
        result: dict[str, Any] = json.loads((self.output / "result.json").read_text())
        return result


def check(result: dict[str, Any]) -> None:
    """What must be true of every demo."""
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == [BASELINE, "dataset preload", "scale-out, warm", "scale-out, new cluster"]
    assert result["clusters"] == ["cluster1", "cluster2"]
    assert result["completion"].strip()
    for row in rows.values():
        assert row["sum_s"] > 0
        assert row["server_ready_s"] > 0
    assert rows["dataset preload"]["data_load_s"] > 0
    assert rows["scale-out, warm"]["data_load_s"] == 0
    ratios = result["ratios"]
    assert ratios[f"dataset preload / {BASELINE}"] == pytest.approx(
        rows["dataset preload"]["sum_s"] / rows[BASELINE]["sum_s"], abs=0.001
    )


def test_a_model_answers_on_the_best_cluster_and_scales_out(tmp_path: Path) -> None:
    before = interface_names()
    demo = Demo(tmp_path)
    result = demo.result()
    check(result)
    rows = {row["name"]: row for row in result["rows"]}
    # Not a measurement: a launcher that does not import what is imported already cannot be as slow as one
    # that does, on whatever machine.
    assert rows["scale-out, warm"]["sum_s"] < rows[BASELINE]["sum_s"]
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")
    assert left_behind(tmp_path, before) == []


def test_the_demo_ends_the_same_when_processes_are_killed(tmp_path: Path) -> None:
    before = interface_names()
    demo = Demo(tmp_path)
    fleet = Fleet(tmp_path / "fleet")
    faults = dict(FAULTS)
    for line in demo.lines():
        for said in [said for said in faults if said in line]:
            for name in faults.pop(said):
                if pid := fleet.statuses()[name].pid:
                    os.kill(pid, signal.SIGKILL)
    assert not faults, "".join(demo.said)
    check(demo.result())
    assert left_behind(tmp_path, before) == []
