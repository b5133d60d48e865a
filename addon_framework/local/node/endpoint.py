"""The kubelet's own endpoint: logs, to the API server only."""

from __future__ import annotations

import ssl

from aiohttp import web

from addon_framework.local.node import logs
from addon_framework.local.node.config import NodeConfig
from addon_framework.local.node.kubelet import Kubelet


async def serve(kubelet: Kubelet, config: NodeConfig) -> tuple[web.AppRunner, int]:
    """Listens on a free port with TLS; only certificates of the cluster's authority come in."""
    app = web.Application()

    async def container_logs(request: web.Request) -> web.StreamResponse:
        return await _logs(kubelet, request)

    app.add_routes([web.get("/containerLogs/{namespace}/{pod}/{container}", container_logs)])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=config.client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(config.certificate, config.key)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, config.address, 0, ssl_context=context)
    await site.start()
    return runner, int(runner.addresses[0][1])


async def _logs(kubelet: Kubelet, request: web.Request) -> web.StreamResponse:
    names = request.match_info
    pod, container = names["pod"], names["container"]
    previous = request.query.get("previous") == "true"
    found = kubelet.find_log(names["namespace"], pod, container, previous=previous)
    if found is None and previous:
        raise web.HTTPBadRequest(text=f'previous terminated container "{container}" in pod "{pod}" not found')
    if found is None:
        raise web.HTTPBadRequest(
            text=f'container "{container}" in pod "{pod}" is waiting to start: ContainerCreating'
        )
    path, running = found
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    content = path.read_bytes()
    content = content[: content.rfind(b"\n") + 1]  # what is written right now comes whole, later
    await response.write(logs.select(content, request.query))
    if running is not None and request.query.get("follow") == "true":
        async for line in running.follow(len(content)):
            await response.write(logs.text(line, request.query))
    await response.write_eof()
    return response
