"""The kubelet's own endpoint: logs, to the API server only."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from addon_framework.api.time import parse_time
from addon_framework.local.node.config import NodeConfig
from addon_framework.local.node.kubelet import Kubelet

_POLL = 0.1  # seconds between looks at a file that is followed


async def serve(kubelet: Kubelet, config: NodeConfig) -> tuple[web.AppRunner, int]:
    """Listens on a free port with TLS; only certificates of the cluster's authority come in."""
    app = web.Application()

    async def logs(request: web.Request) -> web.StreamResponse:
        return await _logs(kubelet, request)

    app.add_routes([web.get("/containerLogs/{namespace}/{pod}/{container}", logs)])
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
    worker = next(
        (
            w
            for w in kubelet.workers.values()
            if (w.namespace, w.name) == (names["namespace"], names["pod"])
        ),
        None,
    )
    previous = request.query.get("previous") == "true"
    path = worker.log_file(names["container"], previous) if worker else None
    if path is None or not path.exists():
        if previous:
            raise web.HTTPBadRequest(
                text=f'previous terminated container "{names["container"]}" in pod "{names["pod"]}" not found'
            )
        raise web.HTTPBadRequest(
            text=f'container "{names["container"]}" in pod "{names["pod"]}" is waiting to start'
        )
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    lines = path.read_bytes().splitlines(keepends=True)
    lines = _since(lines, request)
    if (tail := request.query.get("tailLines")) is not None:
        lines = lines[-int(tail) :] if int(tail) else []
    stamps = request.query.get("timestamps") == "true"
    body = b"".join(_line(line, stamps) for line in lines)
    if limit := request.query.get("limitBytes"):
        body = body[: int(limit)]
    await response.write(body)
    if request.query.get("follow") == "true":
        await _follow(response, path, worker is not None, stamps, kubelet, names)
    await response.write_eof()
    return response


async def _follow(
    response: web.StreamResponse, path: Path, running: bool, stamps: bool, kubelet: Kubelet, names: object
) -> None:
    """Until the container ends. A file gives no events without another dependency, so it is looked at."""
    with path.open("rb") as file:
        file.seek(0, 2)
        while True:
            line = file.readline()
            if line.endswith(b"\n"):
                await response.write(_line(line, stamps))
                continue
            if line:
                file.seek(-len(line), 1)
            done = not any(
                state.process is not None and worker.log_file(state.spec["name"]) == path
                for worker in kubelet.workers.values()
                for state in worker.states
            )
            if done:
                return
            await asyncio.sleep(_POLL)


def _since(lines: list[bytes], request: web.Request) -> list[bytes]:
    start: datetime | None = None
    if seconds := request.query.get("sinceSeconds"):
        start = datetime.now(UTC) - timedelta(seconds=int(seconds))
    elif text := request.query.get("sinceTime"):
        start = parse_time(text)
    if start is None:
        return lines
    return [line for line in lines if _time(line) >= start]


def _time(line: bytes) -> datetime:
    """Python reads microseconds, the log has nanoseconds."""
    return parse_time(line[:26].decode() + "Z")


def _line(line: bytes, stamps: bool) -> bytes:
    """`TIME STREAM F text` as text, with the time where asked."""
    time, _, rest = line.partition(b" ")
    _, _, rest = rest.partition(b" ")
    flag, _, text = rest.partition(b" ")
    if flag == b"P":
        text = text.rstrip(b"\n")
    return time + b" " + text if stamps else text
