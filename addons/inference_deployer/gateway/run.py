"""The gateway's process: a controller and its Envoy, for as long as both live."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import structlog

from addon_framework.kube import Client, Manager
from addons.inference_deployer.gateway.controller import GatewayController, put, write_configuration
from addons.inference_deployer.gateway.envoy import GatewayError, running_envoy
from addons.inference_deployer.gateway.listener import listener
from addons.inference_deployer.gateway.routes import Model

log = structlog.get_logger(__name__)
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=2)


async def run_gateway(
    client: Client,
    directory: Path,
    address: str,
    port: int,
    *,
    url: str = "",
    handle_signals: bool = True,
) -> None:
    """Run until SIGTERM, SIGINT or cancellation. Raises GatewayError when Envoy does not run.

    What an earlier run left in `directory` is served until the hub can be asked.
    """
    put(directory / "lds.json", listener(directory, address, port))
    if not (directory / "rds.json").exists():
        write_configuration(directory, [])
    stop = asyncio.Event()
    if handle_signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    own = f"http://{f'[{address}]' if ':' in address else address}:{port}"
    url = url or own
    async with running_envoy(directory, address, port) as process, aiohttp.ClientSession() as session:

        async def answers(model: Model) -> bool:
            try:
                async with session.get(f"{own}/{model.key}/health", timeout=PROBE_TIMEOUT) as response:
                    return response.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

        log.info("gateway runs", url=url, envoy=process.pid)
        manager = Manager(client, name="inference-gateway")
        manager.add(GatewayController(directory, url, answers))
        tasks = [asyncio.ensure_future(work) for work in (manager.run(), process.wait(), stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                await tasks[0]
            if tasks[1].done():
                raise GatewayError(
                    f"Envoy ended by itself with exit code {process.returncode}, see its log above"
                )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    log.info("gateway stopped")
