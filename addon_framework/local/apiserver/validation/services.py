"""Services and EndpointSlices."""

from __future__ import annotations

import ipaddress
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names
from addon_framework.local.apiserver.schemas.words import FORMATS
from addon_framework.local.apiserver.validation.metadata import immutable, validate_labels

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_RANGE = "must be between 1 and 65535, inclusive"


def validate_service(obj: Json, old: Json | None) -> list[Cause]:
    """v1 Service."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    kind = spec.get("type") or "ClusterIP"
    if kind not in _TYPES:
        causes.append(cause.not_supported("spec.type", kind, _TYPES))
    headless = spec.get("clusterIP") == "None"
    ports = spec.get("ports") or []
    if kind == "ExternalName":
        if not spec.get("externalName"):
            causes.append(cause.required("spec.externalName"))
        if spec.get("clusterIP"):
            causes.append(cause.forbidden("spec.clusterIPs[0]", "may not be set for ExternalName services"))
    elif not ports and not headless:
        causes.append(cause.required("spec.ports"))
    if kind == "LoadBalancer" and headless:
        causes.append(
            cause.invalid("spec.clusterIPs[0]", "None", "may not be set to 'None' for LoadBalancer services")
        )
    _ports(ports, causes)
    validate_labels(spec.get("selector"), "spec.selector", causes)
    affinity = spec.get("sessionAffinity")
    if affinity and affinity not in ("ClientIP", "None"):
        causes.append(cause.not_supported("spec.sessionAffinity", affinity, ["ClientIP", "None"]))
    _address(spec.get("clusterIP"), causes)
    if old is None:
        _of_other_types(spec, kind, ports, causes)
    else:
        _same_address(spec, old.get("spec") or {}, causes)
    return causes


def _of_other_types(spec: Json, kind: str, ports: list[Json], causes: list[Cause]) -> None:
    """What a Service of this type may not say. (An update drops what its new type has no use for.)"""
    balanced, outside = kind == "LoadBalancer", kind in ("LoadBalancer", "NodePort")
    for index, port in enumerate(ports):
        if port.get("nodePort") and kind == "ClusterIP":
            why = "may not be used when `type` is 'ClusterIP'"
            causes.append(cause.forbidden(f"spec.ports[{index}].nodePort", why))
    for field, shown in (
        ("loadBalancerSourceRanges", "LoadBalancerSourceRanges"),
        ("allocateLoadBalancerNodePorts", "allocateLoadBalancerNodePorts"),
        ("loadBalancerClass", "loadBalancerClass"),
    ):
        if spec.get(field) is not None and not balanced:
            causes.append(cause.forbidden(f"spec.{shown}", "may only be used when `type` is 'LoadBalancer'"))
    for index, text in enumerate((spec.get("loadBalancerSourceRanges") or ()) if balanced else ()):
        causes += FORMATS["cidr"](text, f"spec.LoadBalancerSourceRanges[{index}]")
    policy = spec.get("externalTrafficPolicy")
    if policy and not outside:
        why = "may only be set for externally-accessible services"
        causes.append(cause.invalid("spec.externalTrafficPolicy", policy, why))
    if spec.get("healthCheckNodePort") and not (balanced and policy == "Local"):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes.append(cause.invalid("spec.healthCheckNodePort", spec["healthCheckNodePort"], why))


def _ports(ports: list[Json], causes: list[Cause]) -> None:
    seen_names: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        where = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            causes.append(cause.required(f"{where}.name"))
        elif name:
            causes += [cause.invalid(f"{where}.name", name, why) for why in names.label(name)]
            if name in seen_names:
                causes.append(cause.duplicate(f"{where}.name", name))
            seen_names.add(name)
        number = port.get("port")
        if number is not None and not 1 <= number <= 65535:
            causes.append(cause.invalid(f"{where}.port", number, _RANGE))
        protocol = port.get("protocol")
        if protocol and protocol not in _PROTOCOLS:
            causes.append(cause.not_supported(f"{where}.protocol", protocol, _PROTOCOLS))
        target = port.get("targetPort")
        if isinstance(target, int) and not 1 <= target <= 65535:
            causes.append(cause.invalid(f"{where}.targetPort", target, _RANGE))
        elif isinstance(target, str) and target:
            causes += [cause.invalid(f"{where}.targetPort", target, why) for why in names.port_name(target)]
        key = (protocol, number)
        if key in seen:
            causes.append(cause.duplicate(where, {"protocol": protocol, "port": number}))
        seen.add(key)


def _address(text: Any, causes: list[Cause]) -> None:
    if not text or text == "None":
        return
    try:
        ipaddress.ip_address(text)
    except ValueError:
        causes.append(
            cause.invalid(
                "spec.clusterIPs[0]", text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            )
        )


def _same_address(spec: Json, before: Json, causes: list[Cause]) -> None:
    """A Service keeps its address while it has one, whatever its type becomes."""
    external = "ExternalName" in (spec.get("type"), before.get("type"))
    if before.get("clusterIP") and not external and spec.get("clusterIP") != before["clusterIP"]:
        causes.append(
            cause.invalid("spec.clusterIPs[0]", [spec.get("clusterIP") or ""], "may not change once set")
        )


def validate_endpoint_slice(obj: Json, old: Json | None) -> list[Cause]:
    """discovery.k8s.io/v1 EndpointSlice."""
    causes: list[Cause] = []
    kind = obj.get("addressType")
    allowed = ("FQDN", "IPv4", "IPv6")
    if kind and kind not in allowed:
        causes.append(cause.not_supported("addressType", kind, allowed))
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        addresses = endpoint.get("addresses") or []
        where = f"endpoints[{index}].addresses"
        if len(addresses) > 100:
            causes.append(cause.too_many(where, len(addresses), 100))
        for at, address in enumerate(addresses):
            if kind in ("IPv4", "IPv6"):
                try:
                    right = ipaddress.ip_address(address).version == (4 if kind == "IPv4" else 6)
                except ValueError:
                    right = False
                if not right:
                    causes.append(cause.invalid(f"{where}[{at}]", address, f"must be an {kind} address"))
    if old is not None:
        immutable(kind, old.get("addressType"), "addressType", causes)
    return causes
