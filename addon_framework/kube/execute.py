"""A command in a pod's container, by the API's `exec`: a WebSocket; messages begin with a stream's number.

https://kubernetes.io/docs/reference/using-api/api-concepts/ and KEP 4006
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import orjson

from addon_framework.api.core import PODS
from addon_framework.api.meta import Json
from addon_framework.kube.client import Client

_PROTOCOL = "v4.channel.k8s.io"
_STDOUT, _STDERR, _STATUS = 1, 2, 3
_LIMIT = 1 << 20  # bytes of output that are kept


class ExecuteError(Exception):
    """The command failed, or did not end; the text says how, in its own last words."""


async def execute(
    client: Client, namespace: str, pod: str, container: str, command: Sequence[str], *, timeout: float
) -> str:
    """What it writes to its standard output. Raises ExecuteError, and ApiError when it cannot be started."""
    query = [("container", container), ("stdout", "true"), ("stderr", "true")]
    query += [("command", part) for part in command]
    try:
        async with asyncio.timeout(timeout):
            async with client.websocket(PODS.path(namespace, pod, "exec"), query, [_PROTOCOL]) as socket:
                return await _output(socket, f"{pod}/{container}")
    except TimeoutError:
        raise ExecuteError(f"in {pod}/{container} it took longer than {timeout:.0f} s") from None


async def _output(socket: aiohttp.ClientWebSocketResponse, where: str) -> str:
    streams = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        stream = streams.get(message.data[0])
        if stream is not None and len(stream) < _LIMIT:
            stream += message.data[1:]
    if not streams[_STATUS]:
        raise ExecuteError(f"in {where} the connection ended before the command did")
    status: Json = orjson.loads(streams[_STATUS])
    if status.get("status") != "Success":
        words = streams[_STDERR].decode(errors="replace").strip() or status.get("message", "")
        raise ExecuteError(f"in {where}: {words[-400:]}")
    return streams[_STDOUT].decode(errors="replace")
