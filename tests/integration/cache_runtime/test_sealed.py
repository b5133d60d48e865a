"""A Dataset that can only be read cannot be written to, though its client would let anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon_framework.testing import eventually
from runtimes.node.mountinfo import device_at
from runtimes.node.seal import seal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
JUICEFS = str(Path(sys.executable).with_name("juicefs"))


@pytest.fixture
def writable(tmp_path: Path) -> Iterator[Path]:
    """A mount point, and soon the mount of a client that was not told to be read-only."""
    url, point = f"sqlite3://{tmp_path}/meta.db", tmp_path / "mount"
    point.mkdir()
    blocks = [f"--bucket={tmp_path}/blocks/", "--storage=file"]
    subprocess.run([JUICEFS, "format", *blocks, url, "files"], check=True, capture_output=True)
    flags = ["--no-usage-report", "--metrics=127.0.0.1:0", f"--cache-dir={tmp_path}/cache"]
    log = (tmp_path / "log").open("w")
    with subprocess.Popen([JUICEFS, "mount", url, str(point), *flags], stdout=log, stderr=log) as client:
        try:
            yield point
        finally:
            subprocess.run(["umount", "--lazy", str(point)], check=False)
            client.terminate()


async def test_nobody_writes_into_what_is_sealed(writable: Path, tmp_path: Path) -> None:
    await eventually(lambda: _is_mounted(writable))
    (writable / "file").write_text("data")
    shown = tmp_path / "shown"
    shown.mkdir()
    _run("mount", "--bind", str(writable), str(shown))
    try:
        before = _flags(writable)
        seal(writable)
        seal(writable)  # again: nothing to do
        # A container engine makes its own bind mount of it, and may well say that it is writable.
        _run("mount", "-o", "remount,bind,rw", str(shown))
        for path in (writable, shown):
            with pytest.raises(OSError, match="Read-only file system"):
                (path / "other").write_text("x")
            assert (path / "file").read_text() == "data"
        assert _flags(writable) == before, "what the mount itself allows is as it was"
    finally:
        _run("umount", str(shown))


async def test_what_cannot_be_sealed_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be made read-only"):
        seal(tmp_path)  # a directory, nothing that is mounted there


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


async def _is_mounted(path: Path) -> bool:
    return bool(device_at(path))


def _flags(path: Path) -> str:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return next(line.split()[5] for line in lines if line.split()[4] == str(path))
