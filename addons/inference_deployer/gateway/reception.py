"""Who answers in Envoy's place while there is no model: an Envoy that waits has 60 MB.

It says what the routes of no model say, and hands over without an address that nobody listens on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from addon_framework.api.meta import Json
from addons.inference_deployer.gateway.envoy import GatewayError
from addons.inference_deployer.gateway.routes import route_configuration


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

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port, reuse_port=True, shutdown_timeout=1).start()
    except OSError as error:
        await runner.cleanup()
        raise GatewayError(f"cannot listen on {address}:{port}: {error.strerror}") from error
    try:
        yield
    finally:
        await runner.cleanup()


def _matches(match: Json, request: web.BaseRequest) -> bool:
    path = request.path == match["path"] if "path" in match else request.path.startswith(match["prefix"])
    # Without a model the method is all that is asked for.
    return path and all(each["string_match"]["exact"] == request.method for each in match.get("headers", ()))
