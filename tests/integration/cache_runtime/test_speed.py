"""Caches are measured against their source, on a mount that really is slow."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addon_framework.testing import eventually
from runtimes.local import loader
from runtimes.local.speed import speeds
from runtimes.local.transfer import Item
from runtimes.source import open_source

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
MIB = 1 << 20


@pytest.fixture
async def slow_mount(tmp_path: Path) -> AsyncIterator[tuple[Path, Path]]:
    """A directory, and the same through FUSE at 8 MiB a second."""
    plain, mounted = tmp_path / "plain", tmp_path / "mounted"
    plain.mkdir()
    mounted.mkdir()
    (plain / "small").write_bytes(b"small")
    (plain / "large").write_bytes(os.urandom(16 * MIB))
    rclone = shutil.which("rclone") or str(Path(sys.executable).parent / "rclone")
    command = [rclone, "mount", f":local:{plain}", str(mounted), "--bwlimit=8M", "--read-only"]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await eventually(lambda: os.path.ismount(mounted))
        yield plain, mounted
    finally:
        process.terminate()
        await process.wait()
        await (await asyncio.create_subprocess_exec("umount", "-lq", str(mounted))).wait()


def items(directory: Path) -> list[Item]:
    source = open_source(f"file://{directory}", {}, None)
    return [Item(obj.path, f"file://{directory}", source, obj) for obj in source.objects()]


async def test_a_slow_mount_is_slower_than_its_source(slow_mount: tuple[Path, Path]) -> None:
    plain, mounted = slow_mount
    found = speeds(mounted, items(plain), rate=7 * MIB)
    assert found is not None
    assert found["file"] == "large"
    assert found["cache"] < 32 * MIB
    assert found["source"] > 2 * found["cache"]


async def test_a_fast_cache_asks_its_source_nothing(slow_mount: tuple[Path, Path]) -> None:
    plain, mounted = slow_mount
    found = speeds(plain, items(mounted), rate=4 * MIB)
    assert found is not None
    assert found["source"] == 4 * MIB
    assert found["cache"] > 8 * MIB


def test_small_files_say_nothing_of_speed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    assert speeds(tmp_path, items(tmp_path), rate=1) is None


def test_a_load_of_little_says_nothing_of_its_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/large").write_bytes(os.urandom(16 * MIB))
    sources = [{"url": f"file://{tmp_path}/source", "path": "/", "options": {}}]
    told = {"directory": str(tmp_path / "cache"), "sources": sources}
    assert loader.run(told, {}) == 0
    assert '"report": "speed"' in capsys.readouterr().out
    (tmp_path / "source/small").write_bytes(b"x")
    assert loader.run(told, {}) == 0
    assert '"report": "speed"' not in capsys.readouterr().out
