"""What only a node knows is asked of its kubelet: logs, and streams into containers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from aiohttp import web

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.call import is_true
from addon_framework.local.apiserver.logoptions import log_options
from addon_framework.local.apiserver.registry import SUBRESOURCE_KINDS
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.store import Store

_CHANNELS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_PROTOCOLS = {
    "exec": _CHANNELS,
    "attach": _CHANNELS,
    "portforward": ("SPDY/3.1+portforward.k8s.io", "v2.portforward.k8s.io", "v4.channel.k8s.io"),
}
_PATHS = {"portforward": "portForward"}
_STREAM_OPTIONS = ("command", "stdin", "stdout", "stderr", "tty", "ports")
_MAX_MESSAGE = 16 << 20
_CLOSING = aiohttp.ClientWSTimeout(ws_close=1)

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


def stream_options(subresource: str, request: web.BaseRequest) -> Json:
    """What is asked of a stream, as admission sees it."""
    query = request.query
    asked: Json = {"kind": SUBRESOURCE_KINDS[subresource][2], "apiVersion": "v1"}
    if subresource == "portforward":
        ports = [int(port) for port in query.getall("ports", []) if port.isdigit()]
        return asked | ({"ports": ports} if ports else {})
    asked |= {each: True for each in ("stdin", "stdout", "stderr", "tty") if is_true(query, each)}
    if container := query.get("container"):
        asked["container"] = container
    if subresource == "exec" and (command := query.getall("command", [])):
        asked["command"] = command
    return asked


class Kubelets:
    """Proxies to nodes over TLS, showing the cluster's kubelet client certificate."""

    def __init__(self, store: Store, pki: Path) -> None:
        self._store, self._pki = store, pki
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Closes the connections."""
        for session in self._sessions.values():
            await session.close()

    async def proxy(
        self, request: web.BaseRequest, namespace: str, name: str, subresource: str
    ) -> web.StreamResponse:
        """Answers a pod's subresource by its node."""
        pod = self._store.get("pods", (namespace, name))
        if pod is None:
            raise StatusError(404, "NotFound", f'pods "{name}" not found', {"name": name, "kind": "pods"})
        if subresource == "log":
            options = log_options(name, request.query)
            container = self._container(pod, request.query.get("container", ""))
            if not pod["spec"].get("nodeName"):
                return web.Response(status=204)  # it has said nothing yet
            url = f"{self._node(pod)}/containerLogs/{namespace}/{name}/{container}"
            return await self._stream(request, url, options)
        path, query = (
            f"{namespace}/{name}",
            [(k, v) for k, v in request.query.items() if k in _STREAM_OPTIONS],
        )
        if subresource != "portforward":
            path += f"/{self._container(pod, request.query.get('container', ''))}"
            phase = (pod.get("status") or {}).get("phase")
            if phase in ("Succeeded", "Failed"):
                raise status.bad_request(
                    f"cannot exec into a container in a completed pod; current phase is {phase}"
                )
            if not any(is_true(request.query, stream) for stream in ("stdin", "stdout", "stderr")):
                raise status.bad_request("you must specify at least 1 of stdin, stdout, stderr")
        if subresource == "exec" and not request.query.get("command"):
            raise status.bad_request("you must specify a command")
        url = f"{self._node(pod)}/{_PATHS.get(subresource, subresource)}/{path}"
        return await self._tunnel(request, url, query, _PROTOCOLS[subresource])

    def _container(self, pod: Json, wanted: str) -> str:
        spec, name = pod["spec"], pod["metadata"]["name"]
        names = [c["name"] for c in (*(spec.get("initContainers") or ()), *spec["containers"])]
        if wanted:
            if wanted not in names:
                raise status.bad_request(f"container {wanted} is not valid for pod {name}")
            return wanted
        if len(spec["containers"]) > 1:
            listed = " ".join(c["name"] for c in spec["containers"])
            raise status.bad_request(
                f"a container name must be specified for pod {name}, choose one of: [{listed}]"
            )
        return str(spec["containers"][0]["name"])

    def _node(self, pod: Json) -> str:
        pod_name, node_name = pod["metadata"]["name"], pod["spec"].get("nodeName", "")
        if not node_name:
            raise status.bad_request(f"pod {pod_name} does not have a host assigned")
        node = self._store.get("nodes", ("", node_name))
        if node is None:
            details = {"name": node_name, "kind": "pods"}  # as a real server has it
            raise StatusError(404, "NotFound", f'pods "{node_name}" not found', details)
        return self.address(node)

    def address(self, node: Json) -> str:
        """Where a node's kubelet listens."""
        state, node_name = node.get("status") or {}, node["metadata"]["name"]
        port = ((state.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
        addresses = [a["address"] for a in state.get("addresses") or () if a["type"] == "InternalIP"]
        if not port or not addresses:
            raise StatusError(
                500, "InternalError", f"node {node_name} does not say where its kubelet listens"
            )
        return f"https://{addresses[0]}:{port}"

    async def _tunnel(
        self, request: web.BaseRequest, url: str, query: Sequence[tuple[str, str]], known: Sequence[str]
    ) -> web.StreamResponse:
        """A WebSocket through to the kubelet, message by message."""
        offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        spoken = [each for each in offered if each in known]
        upgrade = request.headers.get("Upgrade", "").lower()
        if upgrade.startswith("spdy"):
            raise StatusError(
                501, "NotImplemented", "SPDY is not spoken here: use a client that streams over WebSockets"
            )
        if upgrade != "websocket" or request.method != "GET":
            raise status.bad_request("Upgrade request required")
        if not spoken:
            raise status.bad_request(f"unable to upgrade: none of the protocols {offered} is known")
        if "*/*" not in request.headers.get("Accept", "*/*"):  # a kubelet gives its streams no type
            raise StatusError(406, "NotAcceptable", "406: Not Acceptable\n\nAvailable representations: ")
        dialing = self.session().ws_connect(
            url, params=query, protocols=spoken, max_msg_size=_MAX_MESSAGE, timeout=_CLOSING
        )
        try:
            kubelet = await dialing
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StatusError(500, "InternalError", f"error dialing the kubelet at {url}: {error}") from None
        async with kubelet:
            client = web.WebSocketResponse(
                protocols=[kubelet.protocol or ""], max_msg_size=_MAX_MESSAGE, compress=False, timeout=1
            )
            await client.prepare(request)
            ways = [
                asyncio.create_task(_relay(kubelet, client)),
                asyncio.create_task(_relay(client, kubelet)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            await client.close()
        return client

    def session(self, *, of_nodes: bool = True) -> aiohttp.ClientSession:
        """To kubelets, which know us and are known; or to whatever runs in pods, with neither."""
        if of_nodes not in self._sessions:
            context: ssl.SSLContext | bool = False
            if of_nodes:
                context = ssl.create_default_context(cafile=str(self._pki / "ca.crt"))
                context.load_cert_chain(self._pki / "kubelet-client.crt", self._pki / "kubelet-client.key")
                context.check_hostname = False  # a node's certificate names the node, we call its address
            connector = aiohttp.TCPConnector(ssl=context, limit=0)
            self._sessions[of_nodes] = aiohttp.ClientSession(connector=connector)
        return self._sessions[of_nodes]

    async def _stream(self, request: web.BaseRequest, url: str, query: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        try:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
            async with self.session().get(url, params=query, timeout=timeout) as answer:
                if answer.status >= 400:
                    text = await answer.text()
                    code = answer.status
                    raise StatusError(code, "BadRequest" if code == 400 else "NotFound", text)
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
        except (aiohttp.ClientError, TimeoutError) as error:
            if not response.prepared:
                raise StatusError(
                    500, "InternalError", f"error dialing the kubelet at {url}: {error}"
                ) from None
            if request.transport is not None:  # a log that breaks off must not look like one that ends
                request.transport.close()
        return response


async def _relay(source: Socket, sink: Socket) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type == aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
