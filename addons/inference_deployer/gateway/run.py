"""The gateway's process: a controller, and what answers: Envoy from the first model on."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import structlog

from addon_framework.kube import Client, Manager
from addons.inference_deployer.gateway.controller import GatewayController, put, says, write_configuration
from addons.inference_deployer.gateway.envoy import GatewayError, find_envoy, running_envoy, url_of
from addons.inference_deployer.gateway.listener import listener
from addons.inference_deployer.gateway.reception import reception
from addons.inference_deployer.gateway.routes import Model, route_configuration

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
    find_envoy()  # one that is missing is missed now, not when the first model comes
    put(directory / "lds.json", listener(directory, address, port))
    begun, serves = asyncio.Event(), asyncio.Event()
    if not (directory / "rds.json").exists():
        write_configuration(directory, [])
    elif not says(directory / "rds.json", route_configuration([])):
        begun.set()
    stop = asyncio.Event()
    if handle_signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    own = url_of(address, port)
    async with aiohttp.ClientSession() as session:

        async def answers(model: Model) -> bool:
            try:
                async with session.get(f"{own}/{model.key}/health", timeout=PROBE_TIMEOUT) as response:
                    return response.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

        async def served() -> None:
            begun.set()
            await serves.wait()

        log.info("gateway runs", url=url or own)
        manager = Manager(client, name="inference-gateway")
        manager.add(GatewayController(directory, url or own, answers, served))
        serving = _serve(directory, address, port, begun, serves)
        tasks = [asyncio.ensure_future(work) for work in (manager.run(), serving, stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    log.info("gateway stopped")


async def _serve(
    directory: Path, address: str, port: int, begun: asyncio.Event, serves: asyncio.Event
) -> None:
    """What is answered without a model, and once there is one Envoy. Raises GatewayError.

    Envoy knows no model either until it `serves` alone, so that both say the same while both listen.
    """
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as until_envoy:
            if not begun.is_set():
                await until_envoy.enter_async_context(reception(address, port))
                await begun.wait()
            process = await stack.enter_async_context(running_envoy(directory, address, port))
        log.info("Envoy serves", pid=process.pid)
        serves.set()
        code = await process.wait()
    raise GatewayError(f"Envoy ended by itself with exit code {code}, see its log above")
