"""The kubelet's own endpoint: logs, commands and ports of containers, to the API server only."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence

from aiohttp import web

from addon_framework.api.meta import Json
from addon_framework.local.node import channels, logs, portforward
from addon_framework.local.node.config import NodeConfig
from addon_framework.local.node.kubelet import Kubelet
from addon_framework.local.node.runner import ContainerRunner
from addon_framework.local.node.sandbox import SandboxError
from addon_framework.local.node.spdy import SpdyError, is_tunnel


async def serve(kubelet: Kubelet, config: NodeConfig) -> tuple[web.AppRunner, int]:
    """Listens on a free port with TLS; only certificates of the cluster's authority come in."""
    endpoint = Endpoint(kubelet)
    app = web.Application()
    app.add_routes(
        [
            web.get("/containerLogs/{namespace}/{pod}/{container}", endpoint.logs),
            web.get("/exec/{namespace}/{pod}/{container}", endpoint.execute),
            web.get("/attach/{namespace}/{pod}/{container}", endpoint.attach),
            web.get("/portForward/{namespace}/{pod}", endpoint.forward),
        ]
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=config.client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(config.certificate, config.key)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, config.address, 0, ssl_context=context)
    await site.start()
    return runner, int(runner.addresses[0][1])


class Endpoint:
    """What one kubelet answers. Once a WebSocket is open, failures go over it."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """Lines of a container's log."""
        names = request.match_info
        pod, container = names["pod"], names["container"]
        previous = request.query.get("previous") == "true"
        found = self._kubelet.find_log(names["namespace"], pod, container, previous=previous)
        if found is None and previous:
            raise web.HTTPBadRequest(
                text=f'previous terminated container "{container}" in pod "{pod}" not found'
            )
        if found is None:
            why = self._kubelet.waits_for(names["namespace"], pod, container)
            raise web.HTTPBadRequest(
                text=f'container "{container}" in pod "{pod}" is waiting to start: {why}'
            )
        path, running = found
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        content = path.read_bytes()
        content = content[: content.rfind(b"\n") + 1]  # what is written right now comes whole, later
        with contextlib.suppress(ConnectionError):  # whoever reads may leave at any time
            await response.write(logs.select(content, request.query))
            if running is not None and request.query.get("follow") == "true":
                async for line in running.follow(len(content)):
                    await response.write(logs.text(line, request.query))
            await response.write_eof()
        return response

    async def execute(self, request: web.Request) -> web.StreamResponse:
        """A command in a container."""
        socket, runner = await _open(request, channels.PROTOCOLS), self._runner(request)
        client, command = channels.Channels(socket), request.query.getall("command", [])
        if runner is None or runner.process is None:
            await client.finish(_no_container(request))
            return socket
        try:
            with contextlib.suppress(ConnectionError):
                await client.execute(runner.process, command, _wanted(request))
        except SandboxError as error:
            await client.finish(channels.failure(str(error)))
        return socket

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """The streams of a container's own process."""
        socket, runner = await _open(request, channels.PROTOCOLS), self._runner(request)
        client = channels.Channels(socket)
        if runner is None or runner.process is None:
            await client.finish(_no_container(request))
            return socket
        with contextlib.suppress(ConnectionError):
            once = bool(runner.spec.get("stdinOnce"))
            await client.attach(runner.process, _wanted(request), once=once)
        return socket

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Connections to a pod's ports."""
        names = request.match_info
        worker = self._kubelet.worker(names["namespace"], names["pod"])
        socket = await _open(request, portforward.PROTOCOLS)
        with contextlib.suppress(ConnectionError, SpdyError):
            if worker is None:
                await socket.close(message=b"the pod does not run here")
            elif is_tunnel(socket.ws_protocol):
                await portforward.tunnel(socket, worker.address)
            else:
                ports = [int(port) for port in request.query.getall("ports", [])]
                await portforward.channels(socket, worker.address, ports)
        return socket

    def _runner(self, request: web.Request) -> ContainerRunner | None:
        names = request.match_info
        worker = self._kubelet.worker(names["namespace"], names["pod"])
        return worker.runner(names["container"]) if worker else None


async def _open(request: web.Request, protocols: Sequence[str]) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(
        protocols=protocols, max_msg_size=channels.MAX_MESSAGE, compress=False, timeout=1
    )
    await socket.prepare(request)
    return socket


def _wanted(request: web.Request) -> set[str]:
    names = ("stdin", "stdout", "stderr", "tty")
    return {name for name in names if request.query.get(name, "").lower() in ("true", "1")}


def _no_container(request: web.Request) -> Json:
    name = request.match_info["container"]
    return channels.failure(f'unable to upgrade connection: container not found ("{name}")')
