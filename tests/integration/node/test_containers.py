"""One container, without a node around it."""

from __future__ import annotations

from pathlib import Path

from addon_framework.local.node import container
from addon_framework.local.node.sandbox import Sandbox


async def test_a_command_enters_a_container_that_has_only_just_started(tmp_path: Path) -> None:
    made = [tmp_path / str(number) for number in range(300)]  # the more mounts, the longer until it is one
    for directory in made:
        directory.mkdir()
    sandbox = Sandbox(binds=(), hidden=[*map(str, made), str(tmp_path)])
    started = await container.start(sandbox, ["sleep", "100"], {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    try:
        # Hidden from the container: who sees it has entered before the root was in place.
        assert await started.execute(["sh", "-c", f"ls {tmp_path} && echo inside"], 20) == (0, "inside\n")
    finally:
        await started.stop(0)
