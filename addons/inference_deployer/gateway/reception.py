"""Who answers in Envoy's place while there is no model: an Envoy that waits has 60 MB.

It says what the routes of no model say, and hands over without an address that nobody listens on.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from socket import AF_INET, AF_INET6

from aiohttp import web

from addon_framework.api.meta import Json
from addons.inference_deployer.gateway.envoy import GatewayError
from addons.inference_deployer.gateway.routes import route_configuration

_TICKS = 200  # of 10 ms: two seconds for those who are connected and ask nothing


@asynccontextmanager
async def reception(address: str, port: int) -> AsyncIterator[None]:
    """Listens beside an Envoy that starts meanwhile, as Envoy's workers do. Raises GatewayError."""
    routes: list[Json] = route_configuration([])["virtual_hosts"][0]["routes"]

    async def answer(request: web.BaseRequest) -> web.Response:
        route = next(route for route in routes if _matches(route["match"], request))
        said, header = route["direct_response"], route["response_headers_to_add"][0]["header"]
        # Nobody stays with us: the next request may be Envoy's.
        headers = {header["key"]: header["value"], "connection": "close"}
        return web.Response(status=said["status"], text=said["body"]["inline_string"], headers=headers)

    server = web.Server(answer, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=1)
    try:
        listening = socket.create_server(
            (address, port), family=AF_INET6 if ":" in address else AF_INET, reuse_port=True
        )
    except OSError as error:
        raise GatewayError(f"cannot listen on {address}:{port}: {error.strerror}") from error
    await runner.setup()
    site = web.SockSite(runner, listening)
    await site.start()
    try:
        yield
        await _last(site, listening, server)
    finally:
        await runner.cleanup()


async def _last(site: web.SockSite, listening: socket.socket, server: web.Server) -> None:
    """Whoever has reached us is answered; the others find Envoy."""
    late = []
    with suppress(BlockingIOError):
        while True:
            late.append(listening.accept()[0])
    await site.stop()
    loop = asyncio.get_running_loop()
    for connection in late:
        await loop.connect_accepted_socket(server, connection)
    for _ in range(_TICKS):
        # Whom the loop has accepted is known to the server a few rounds later; each ends with its answer.
        await asyncio.sleep(0.01)
        if not server.connections:
            return


def _matches(match: Json, request: web.BaseRequest) -> bool:
    path = request.path == match["path"] if "path" in match else request.path.startswith(match["prefix"])
    # Without a model the method is all that is asked for.
    return path and all(each["string_match"]["exact"] == request.method for each in match.get("headers", ()))
