"""What is mounted while a shared volume is hung into a container reaches the container, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from addon_framework.local.node import graft
from addon_framework.local.node.mounts import share, unmount_all

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")]

# The script, but for a mount that comes between the clone and its being hung, the first time.
LATE = """
import importlib.util, subprocess, sys
spec = importlib.util.spec_from_file_location("graft", sys.argv.pop(1))
graft = importlib.util.module_from_spec(spec)
spec.loader.exec_module(graft)
taken = graft.clone
def clone(source):
    graft.clone = taken
    tree = taken(source)
    subprocess.run(["mount", "-t", "tmpfs", "none", f"{source}/late"], check=True)
    return tree
graft.clone = clone
graft.main()
"""


def test_a_mount_between_clone_and_hanging_is_not_lost(tmp_path: Path) -> None:
    shared, inside = tmp_path / "shared", tmp_path / "inside"
    share(shared)
    for each in (shared / "late", shared / "later", inside, tmp_path / "marker"):
        each.mkdir()
    apart = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", "echo apart; exec sleep 600"]
    sandbox = subprocess.Popen(apart, stdout=subprocess.PIPE)
    assert sandbox.stdout is not None

    def seen() -> set[str]:
        table = os.open(f"/proc/{sandbox.pid}/mountinfo", os.O_RDONLY)
        try:
            return graft.below(table, str(inside))
        finally:
            os.close(table)

    try:
        assert sandbox.stdout.readline() == b"apart\n"
        script = [sys.executable, "-c", LATE, graft.__file__, str(sandbox.pid), str(tmp_path / "marker")]
        subprocess.run([*script, str(shared), str(inside)], check=True)
        assert seen() == {"late"}
        assert (shared / "late").is_mount(), "what was taken down in the sandbox stays on the host"
        subprocess.run(["mount", "-t", "tmpfs", "none", shared / "later"], check=True)
        assert seen() == {"late", "later"}
    finally:
        sandbox.kill()
        sandbox.communicate()
        unmount_all(shared)
