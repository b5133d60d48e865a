"""Services and EndpointSlices."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause
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
    ranges = spec.get("loadBalancerSourceRanges") or []
    if ranges and kind != "LoadBalancer":
        why = "may only be used when `type` is 'LoadBalancer'"
        yield cause.forbidden(f"{path}LoadBalancerSourceRanges", why)
    for index, text in enumerate(ranges if kind == "LoadBalancer" else ()):
        yield from FORMATS["cidr"](text, f"{path}LoadBalancerSourceRanges[{index}]")


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
        ("allocateLoadBalancerNodePorts", "allocateLoadBalancerNodePorts"),
        ("loadBalancerClass", "loadBalancerClass"),
    ):
        if spec.get(field) is not None and kind != "LoadBalancer":
            yield cause.forbidden(f"spec.{shown}", "may only be used when `type` is 'LoadBalancer'")
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
    if before.get("type") == spec.get("type") == "LoadBalancer":
        now, past = spec.get("loadBalancerClass"), before.get("loadBalancerClass")
        if past is not None and now != past:
            yield cause.invalid("spec.loadBalancerClass", now, "may not change once set")


def _ingress(spec: Json, path: str) -> Iterator[Cause]:
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        why = "either `defaultBackend` or `rules` must be specified"
        yield cause.invalid(path[:-1], None, why)
    if spec.get("defaultBackend") is not None:
        yield from _backend(spec["defaultBackend"], f"{path}defaultBackend")


def _backend(value: Json, path: str) -> Iterator[Cause]:
    service = value.get("service")
    if service is None and value.get("resource") is None:
        yield cause.invalid(path, "", "resource or service backend is required")
    elif service is not None and not any(
        (service.get("port") or {}).get(each) for each in ("name", "number")
    ):
        yield cause.required(path, "port name or number is required")


def _ingress_path(value: Json, path: str) -> Iterator[Cause]:
    text = value.get("path") or ""
    strict = value.get("pathType") in ("Exact", "Prefix") or (text and value.get("pathType") is not None)
    if strict and not text.startswith("/"):
        yield cause.invalid(f"{path}path", text, "must be an absolute path")
    yield from _backend(value.get("backend") or {}, f"{path}backend")


def _subset(value: Json, path: str) -> Iterator[Cause]:
    if not value.get("addresses") and not value.get("notReadyAddresses"):
        yield cause.required(path[:-1], "must specify `addresses` or `notReadyAddresses`")
    for index, port in enumerate(value.get("ports") or ()):
        if len(value["ports"]) > 1 and not port.get("name"):
            yield cause.required(f"{path}ports[{index}].name")


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


CHECKS: dict[str, Any] = {
    "core.v1.EndpointSubset": _subset,
    "core.v1.ServiceSpec": _service,
    "discovery.v1.EndpointSlice": _endpoint_slice,
    "networking.v1.HTTPIngressPath": _ingress_path,
    "networking.v1.IngressSpec": _ingress,
}
CREATIONS: dict[str, Any] = {"core.v1.Service": _new_service}
CHANGES: dict[str, Any] = {"core.v1.Service": _service_changed}
