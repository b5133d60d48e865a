"""Runs a node: `python -m addon_framework.local.node --kubeconfig F --dir DIR --name N --config node.json`.

Kubelet, scheduler, workload controllers and service proxy share one process: a node of an embedded cluster is
its only one, or else all but one are told to run the kubelet alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
from pathlib import Path

from addon_framework.kube import Client, Manager
from addon_framework.local.events import Recorder
from addon_framework.local.node import endpoint
from addon_framework.local.node.config import NodeConfig, load
from addon_framework.local.node.kubelet import Kubelet
from addon_framework.local.node.proxy import ServiceProxy
from addon_framework.local.node.registration import keep_alive, register
from addon_framework.local.workloads import controllers
from addon_framework.logs import configure


def main() -> None:
    """Parses the command line and runs until SIGTERM."""
    parser = argparse.ArgumentParser(prog="addon_framework.local.node", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--dir", type=Path, required=True, help="where pods, volumes and logs are kept")
    parser.add_argument("--name", required=True, help="of the node")
    parser.add_argument("--config", type=Path, required=True, help="node.json")
    options = parser.parse_args()
    configure()
    config = load(options.config)
    options.dir.mkdir(parents=True, exist_ok=True)
    try:
        import uvloop

        uvloop.run(run(options, config))
    except ImportError:
        asyncio.run(run(options, config))


async def run(options: argparse.Namespace, config: NodeConfig) -> None:
    """All parts, until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Client.from_kubeconfig(options.kubeconfig, user_agent="boundaryless-node") as client:
        kubelet = Kubelet(client, options.name, config, options.dir.resolve())
        runner, port = await endpoint.serve(kubelet, config)
        manager = Manager(client, name="node")
        recorder = Recorder(client, "controllers")
        proxy = ServiceProxy(config.address)
        for controller in (*controllers(recorder), proxy) if config.controllers else ():
            manager.add(controller)
        await register(client, options.name, config, port)
        tasks = [
            asyncio.create_task(work)
            for work in (kubelet.run(), manager.run(), recorder.run(), keep_alive(client, options.name))
        ]
        gc.collect()
        gc.freeze()
        await asyncio.wait({asyncio.create_task(stop.wait()), *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        proxy.close()
        await runner.cleanup()
    for result in results:
        if isinstance(result, Exception):
            raise result


if __name__ == "__main__":
    main()
