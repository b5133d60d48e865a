"""Services: their addresses are listened on, and connections go to ready endpoints, the least busy first.

What kube-proxy does with packets, this does with connections; it needs no rights but to bind.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import structlog

from addon_framework.api.core import ENDPOINTSLICES, SERVICES
from addon_framework.api.meta import Json
from addon_framework.kube import Controller, Key, NotFound, Watch, patch_status
from addon_framework.local.workloads.endpoints import service_key

log = structlog.get_logger(__name__)
_CHUNK = 256 * 1024
_AGAIN = 5.0  # seconds until an address that is taken is tried again


@dataclass
class Listener:
    """One port of one service."""

    server: asyncio.Server
    backends: list[tuple[str, int]] = field(default_factory=list)
    active: dict[tuple[str, int], int] = field(default_factory=dict)

    def order(self) -> list[tuple[str, int]]:
        """Backends, the one with the fewest connections first."""
        return sorted(self.backends, key=lambda backend: self.active.get(backend, 0))


class ServiceProxy(Controller):
    """Keeps a listener for every TCP port of every service with a cluster IP."""

    name = "service-proxy"

    def __init__(self, node_address: str) -> None:
        self._node_address = node_address
        self._listeners: dict[Key, dict[tuple[str, int], Listener]] = {}

    def watches(self) -> list[Watch]:
        """Services, and the slices that say where they lead."""
        return [Watch(SERVICES), Watch(ENDPOINTSLICES, map=service_key)]

    async def reconcile(self, key: Key) -> float | None:
        """Opens, closes and points the listeners of one service."""
        service = self.cache(SERVICES).get(key)
        wanted = self._wanted(service) if service is not None else {}
        listeners = self._listeners.setdefault(key, {})
        for where in [where for where in listeners if where not in wanted]:
            listeners.pop(where).server.close()
        missing = False
        for where, port in wanted.items():
            if where not in listeners:
                try:
                    listeners[where] = await self._open(key, where)
                except OSError as error:
                    missing = True
                    log.warning("cannot listen", service=str(key), address=where, reason=str(error))
                    continue
            listeners[where].backends = self._backends(key, port)
        if not listeners:
            del self._listeners[key]
        if service is not None and service["spec"].get("type") == "LoadBalancer" and wanted:
            ingress = [{"ip": service["spec"]["clusterIP"], "ipMode": "Proxy"}]
            status = {**(service.get("status") or {}), "loadBalancer": {"ingress": ingress}}
            try:
                await patch_status(self.client, SERVICES, service, status)
            except NotFound:
                return None
        return _AGAIN if missing else None

    def _wanted(self, service: Json) -> dict[tuple[str, int], Json]:
        """Where to listen for which port: the service's address, and the node's for node ports."""
        spec = service["spec"]
        address = spec.get("clusterIP")
        wanted: dict[tuple[str, int], Json] = {}
        if address in (None, "", "None") or not spec.get("selector"):
            return wanted
        for port in spec.get("ports") or ():
            if port.get("protocol", "TCP") == "TCP":
                wanted[(address, port["port"])] = port
                if node_port := port.get("nodePort"):
                    wanted[(self._node_address, node_port)] = port
        return wanted

    def close(self) -> None:
        """Closes every listener."""
        for listeners in self._listeners.values():
            for listener in listeners.values():
                listener.server.close()

    async def _open(self, key: Key, where: tuple[str, int]) -> Listener:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._forward(listener, reader, writer)

        server = await asyncio.start_server(connected, where[0], where[1], limit=_CHUNK, reuse_address=True)
        listener = Listener(server)
        log.debug("listening", service=str(key), address=where)
        return listener

    def _backends(self, key: Key, port: Json) -> list[tuple[str, int]]:
        """Ready endpoints of a port, from all slices of the service."""
        found = []
        for item in self.cache(ENDPOINTSLICES).in_namespace(key.namespace):
            if (item["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != key.name:
                continue
            numbers = [
                p["port"] for p in item.get("ports") or () if p.get("name", "") == port.get("name", "")
            ]
            for endpoint in item.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready"):
                    found += [(address, number) for address in endpoint["addresses"] for number in numbers]
        return found

    async def _forward(
        self, listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        upstream = None
        for backend in listener.order():
            try:
                async with asyncio.timeout(5):
                    upstream = await asyncio.open_connection(*backend, limit=_CHUNK)
                break
            except (OSError, TimeoutError):
                continue
        if upstream is None:
            writer.transport.abort()  # what a client sees when a service has no endpoints
            return
        listener.active[backend] = listener.active.get(backend, 0) + 1
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, upstream[1]))
                group.create_task(_copy(upstream[0], writer))
        except* (OSError, RuntimeError):
            writer.transport.abort()  # one side broke off, so does the other
        finally:
            listener.active[backend] -= 1
            if not listener.active[backend]:
                del listener.active[backend]
            for side in (writer, upstream[1]):
                side.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes as they come, then half a close. uvloop says RuntimeError of a transport that is closed."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
