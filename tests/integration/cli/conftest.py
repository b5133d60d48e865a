"""fleetadm as a process of its own, as users and scripts run it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

PROGRAM = [sys.executable, "-m", "addon_framework.cli.main"]


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """The cells of a table, split at blanks."""
        return [line.split() for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        """Stdout, which must be one JSON document and nothing else."""
        return orjson.loads(self.out)


class Fleetadm:
    """Runs commands against a fleet directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._env = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}
        self._env["BOUNDARYLESS_DIR"] = str(directory)

    async def __call__(self, *arguments: str, kubeconfig: Path | None = None) -> Done:
        """Runs one to its end."""
        more = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
        process = await self._start(*arguments, *more)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        done = Done(process.returncode or 0, out.decode(), err.decode())
        assert "Traceback" not in done.err, done.err
        return done

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """One that goes on; ended afterwards, in order."""
        process = await self._start(*arguments)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.communicate(), 90)

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        command = [*PROGRAM, *arguments]
        return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=self._env)


@pytest.fixture
def merge(tmp_path: Path) -> Callable[..., Path]:
    """Makes the fleet's kubeconfig of others: each becomes the context it is named by."""

    def write(**kubeconfigs: Path) -> Path:
        merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": ""}
        merged |= {"clusters": [], "users": [], "contexts": []}
        for name, path in kubeconfigs.items():
            one = yaml.safe_load(path.read_bytes())
            merged["clusters"].append({"name": name, "cluster": one["clusters"][0]["cluster"]})
            merged["users"].append({"name": name, "user": one["users"][0]["user"]})
            merged["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(merged))
        return path

    return write


@pytest.fixture
def fleetadm(tmp_path: Path) -> Fleetadm:
    """On a fleet directory of the test's own; `merge` puts a kubeconfig there."""
    return Fleetadm(tmp_path)
