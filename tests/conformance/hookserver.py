"""A webhook server for tests: HTTPS with an authority of its own, answering as the test says."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from aiohttp import web

from addon_framework.api.meta import Json
from addon_framework.local.pki import Authority

Answer = Callable[[Json], Json]


class HookServer:
    """What it was asked is in `asked`; `answers` are by path and get the request of a review."""

    def __init__(self, port: int, bundle: str) -> None:
        self.port, self.bundle = port, bundle
        self.answers: dict[str, Answer] = {}
        self.asked: list[Json] = []
        self.held = asyncio.Event()  # /slow waits for it

    def url(self, path: str, **more: str) -> Json:
        """The clientConfig that leads to an answer."""
        return {"url": f"https://127.0.0.1:{self.port}/{path}", "caBundle": self.bundle, **more}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One review."""
        review = orjson.loads(await request.read())
        self.asked.append(review)
        path = request.path.strip("/")
        if path == "slow":
            await self.held.wait()
        if path not in self.answers:
            return web.Response(status=500, text="no such answer")
        response = {"uid": review["request"]["uid"], **self.answers[path](review["request"])}
        answer = {"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response}
        return web.Response(body=orjson.dumps(answer), content_type="application/json")


def patch(*operations: Json) -> Json:
    """An answer that allows with a JSON patch."""
    text = base64.b64encode(orjson.dumps(list(operations))).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": text}


@asynccontextmanager
async def serve(
    directory: Path, *names: str, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[HookServer]:
    """Listens on a free port unless it is given, as 127.0.0.1 and as the names say."""
    authority = Authority.create("hooks-ca")
    pair = authority.issue("hooks", usage="server auth", addresses=["127.0.0.1", *names])
    (directory / "hook.crt").write_bytes(pair.cert)
    (directory / "hook.key").write_bytes(pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "hook.crt", directory / "hook.key")
    hooks = HookServer(0, base64.b64encode(authority.cert_pem).decode())
    runner = web.ServerRunner(web.Server(hooks.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=context).start()
    hooks.port = runner.addresses[0][1]
    try:
        yield hooks
    finally:
        hooks.held.set()
        await runner.cleanup()
