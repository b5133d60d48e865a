"""HTTP to what runs in the cluster, through its API server: pods/proxy, services/proxy, nodes/proxy.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.call import Target
from addon_framework.local.apiserver.kubelet import Kubelets
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.store import Store

# Of one connection, or of whom the API server knows the client to be.
_DROPPED = frozenset(
    (
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "host", "authorization", "content-length", "accept-encoding",
    )
)  # fmt: skip
_ENCODED = frozenset(("content-encoding", "content-length"))  # the client has decoded it


class Proxies:
    """Names are NAME, NAME:PORT or SCHEME:NAME:PORT."""

    def __init__(self, store: Store, kubelets: Kubelets) -> None:
        self._store, self._kubelets = store, kubelets

    async def answer(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """Whatever is answered there, as it comes."""
        if request.headers.get("Upgrade"):
            raise StatusError(501, "NotImplemented", "the proxy passes plain HTTP on, and no upgrades")
        base = self._base(target)
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in _DROPPED)
        if request.remote:
            headers.add("X-Forwarded-For", request.remote)
        body = request.content if request.body_exists else None
        session = self._kubelets.session(of_nodes=target.kind.plural == "nodes")
        response = web.StreamResponse()
        try:
            asked = session.request(
                request.method, URL(f"{base}/{_rest(request, target)}", encoded=True), headers=headers,
                data=body, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            )  # fmt: skip
            async with asked as found:
                response.set_status(found.status, found.reason)
                for key, value in found.headers.items():
                    if key.lower() not in _DROPPED | _ENCODED:
                        response.headers.add(key, value)
                await response.prepare(request)
                async for chunk in found.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            if response.prepared:  # the answer has begun, and no other can follow
                if request.transport is not None:
                    request.transport.close()
                return response
            why = f"error trying to reach service: {error}"
            raise StatusError(503, "ServiceUnavailable", why) from None

    def _base(self, target: Target) -> str:
        parts = target.name.split(":")
        scheme, name, port = (parts if len(parts) == 3 else ["", *parts, ""])[:3]
        found = self._store.get(target.kind.key, (target.namespace, name))
        if len(parts) > 3 or scheme not in ("", "http", "https"):
            raise status.bad_request(f'invalid {target.kind.singular} request "{target.name}"')
        if found is None:
            raise status.not_found(target.kind, name)
        if target.kind.plural == "nodes":
            return self._kubelets.address(found)
        where = _of_pod(found, port) if target.kind.plural == "pods" else self._of_service(found, port)
        return f"{scheme or 'http'}://{where}"

    def _of_service(self, service: Json, port: str) -> str:
        """One of the ready endpoints; the port is said by its name or number, or is the only one."""
        ports = (service.get("spec") or {}).get("ports") or ()
        said = [
            p for p in ports if port in (p.get("name", ""), str(p["port"])) or (not port and len(ports) == 1)
        ]
        ready = [where for each in said for where in self._ready(service, each.get("name", ""))]
        if not ready:
            shown = service["metadata"]["name"] + (f":{port}" if port else "")
            why = f'no endpoints available for service "{shown}"'
            raise StatusError(503, "ServiceUnavailable", why)
        return random.choice(ready)

    def _ready(self, service: Json, port: str) -> Iterator[str]:
        metadata = service["metadata"]
        for part in self._store.list("endpointslices.discovery.k8s.io", metadata["namespace"]):
            if (part["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != metadata["name"]:
                continue
            numbers = [each["port"] for each in part.get("ports") or () if each.get("name", "") == port]
            for endpoint in part.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready"):
                    yield from (f"{a}:{n}" for a in endpoint["addresses"] for n in numbers)


def _rest(request: web.BaseRequest, target: Target) -> str:
    """What follows .../proxy/, as the client has written it."""
    before = 8 if target.namespace else 6  # slashes
    rest = "".join(request.rel_url.raw_path.split("/", before)[before:])
    return f"{rest}?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else rest


def _of_pod(pod: Json, port: str) -> str:
    """Without a port, the first one that the pod says it has."""
    address = (pod.get("status") or {}).get("podIP")
    said = [p["containerPort"] for c in pod["spec"]["containers"] for p in c.get("ports") or ()]
    if not address:
        raise status.bad_request("address not allowed")  # it has none yet
    return f"{address}:{port or next(iter(said), 80)}"
