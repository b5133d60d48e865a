"""Services and EndpointSlices."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause
from addon_framework.local.apiserver.validation.metadata import immutable
from addon_framework.local.apiserver.validation.words import FORMATS


def _service(spec: Json, path: str) -> Iterator[Cause]:
    kind, address, ports = spec.get("type"), spec.get("clusterIP"), spec.get("ports") or []
    if kind == "ExternalName":
        if not spec.get("externalName"):
            yield cause.required(f"{path}externalName")
        if address:
            yield cause.forbidden(f"{path}clusterIPs[0]", "may not be set for ExternalName services")
    elif not ports and address != "None":
        yield cause.required(f"{path}ports")
    if kind == "LoadBalancer" and address == "None":
        why = "may not be set to 'None' for LoadBalancer services"
        yield cause.invalid(f"{path}clusterIPs[0]", address, why)
    if address and address != "None":
        yield from FORMATS["ip"](address, f"{path}clusterIPs[0]")
    yield from _ports(ports, path)


def _ports(ports: list[Json], path: str) -> Iterator[Cause]:
    said: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        where, name = f"{path}ports[{index}]", port.get("name") or ""
        if not name and len(ports) > 1:
            yield cause.required(f"{where}.name")
        elif name in said:
            yield cause.duplicate(f"{where}.name", name)
        said.add(name or str(index))
        mark = port.get("protocol"), port.get("port")
        if mark in seen:
            yield cause.duplicate(where, {"protocol": mark[0], "port": mark[1]})
        seen.add(mark)


def _new_service(service: Json, path: str) -> Iterator[Cause]:
    """What a Service of this type may not say. (An update drops what its new type has no use for.)"""
    spec = service.get("spec") or {}
    kind, policy = spec.get("type"), spec.get("externalTrafficPolicy")
    for index, port in enumerate(spec.get("ports") or ()):
        if port.get("nodePort") and kind == "ClusterIP":
            why = "may not be used when `type` is 'ClusterIP'"
            yield cause.forbidden(f"spec.ports[{index}].nodePort", why)
    for field, shown in (
        ("loadBalancerSourceRanges", "LoadBalancerSourceRanges"),
        ("allocateLoadBalancerNodePorts", "allocateLoadBalancerNodePorts"),
        ("loadBalancerClass", "loadBalancerClass"),
    ):
        if spec.get(field) is not None and kind != "LoadBalancer":
            yield cause.forbidden(f"spec.{shown}", "may only be used when `type` is 'LoadBalancer'")
    if kind == "LoadBalancer":
        for index, text in enumerate(spec.get("loadBalancerSourceRanges") or ()):
            yield from FORMATS["cidr"](text, f"spec.LoadBalancerSourceRanges[{index}]")
    if policy and kind not in ("LoadBalancer", "NodePort"):
        why = "may only be set for externally-accessible services"
        yield cause.invalid("spec.externalTrafficPolicy", policy, why)
    if spec.get("healthCheckNodePort") and (kind, policy) != ("LoadBalancer", "Local"):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield cause.invalid("spec.healthCheckNodePort", spec["healthCheckNodePort"], why)


def _service_changed(service: Json, old: Json) -> Iterator[Cause]:
    """A Service keeps its address while it has one, whatever its type becomes."""
    spec, before = service.get("spec") or {}, old.get("spec") or {}
    external = "ExternalName" in (spec.get("type"), before.get("type"))
    if before.get("clusterIP") and not external and spec.get("clusterIP") != before["clusterIP"]:
        yield cause.invalid("spec.clusterIPs[0]", [spec.get("clusterIP") or ""], "may not change once set")


def _endpoint_slice(obj: Json, path: str) -> Iterator[Cause]:
    kind = obj.get("addressType")
    wanted = {"IPv4": 4, "IPv6": 6}.get(kind or "")
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        addresses, where = endpoint.get("addresses") or [], f"endpoints[{index}].addresses"
        if len(addresses) > 100:
            yield cause.too_many(where, len(addresses), 100)
        for at, address in enumerate(addresses if wanted else ()):
            try:
                right = ipaddress.ip_address(address).version == wanted
            except ValueError:
                right = False
            if not right:
                yield cause.invalid(f"{where}[{at}]", address, f"must be an {kind} address")


def _endpoint_slice_changed(obj: Json, old: Json) -> Iterator[Cause]:
    return immutable(obj, old, "addressType")


CHECKS: dict[str, Any] = {"core.v1.ServiceSpec": _service, "discovery.v1.EndpointSlice": _endpoint_slice}
CREATIONS: dict[str, Any] = {"core.v1.Service": _new_service}
CHANGES: dict[str, Any] = {
    "core.v1.Service": _service_changed,
    "discovery.v1.EndpointSlice": _endpoint_slice_changed,
}
