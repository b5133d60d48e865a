"""Containers of a pod: names, images, ports, environment, mounts, probes, resources."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from addon_framework.local.apiserver.schemas import Cause, cause, names

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL = ("Always", "IfNotPresent", "Never")
_PROPAGATION = ("Bidirectional", "HostToContainer", "None")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_NATIVE = frozenset({"cpu", "memory", "ephemeral-storage", "storage"})
_PORT_RANGE = "must be between 1 and 65535, inclusive"


def validate_containers(spec: Json, path: str, volumes: frozenset[str], causes: list[Cause]) -> None:
    """All containers of a PodSpec, whose names share one space."""
    seen: set[str] = set()
    host_ports: set[str] = set()
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            where = f"{path}.{key}[{index}]"
            name = container.get("name") or ""
            if name:
                causes += [cause.invalid(f"{where}.name", name, why) for why in names.label(name)]
                if name in seen:
                    causes.append(cause.duplicate(f"{where}.name", name))
                seen.add(name)
            _container(container, where, volumes, causes)
            if key == "containers":
                _host_ports(container.get("ports"), f"{where}.ports", host_ports, causes)


def _host_ports(ports: Any, path: str, seen: set[str], causes: list[Cause]) -> None:
    for index, port in enumerate(ports or ()):
        if port.get("hostPort"):
            mark = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
            if mark in seen:
                causes.append(cause.duplicate(f"{path}[{index}].hostPort", mark))
            seen.add(mark)


def _container(container: Json, path: str, volumes: frozenset[str], causes: list[Cause]) -> None:
    image = container.get("image") or ""
    if not image:
        causes.append(cause.required(f"{path}.image"))
    elif image != image.strip():
        causes.append(cause.invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))
    if container.get("imagePullPolicy") and container["imagePullPolicy"] not in _PULL:
        causes.append(cause.not_supported(f"{path}.imagePullPolicy", container["imagePullPolicy"], _PULL))
    _ports(container.get("ports"), f"{path}.ports", causes)
    _environment(container, path, causes)
    _mounts(container, path, volumes, causes)
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(key), dict):
            _probe(container[key], key, f"{path}.{key}", causes)
    validate_resources(container.get("resources") or {}, f"{path}.resources", causes)


def _ports(ports: Any, path: str, causes: list[Cause]) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports or ()):
        where = f"{path}[{index}]"
        name = port.get("name")
        if name:
            causes += [cause.invalid(f"{where}.name", name, why) for why in names.port_name(name)]
            if name in seen:
                causes.append(cause.duplicate(f"{where}.name", name))
            seen.add(name)
        number = port.get("containerPort")
        if number == 0:
            causes.append(cause.required(f"{where}.containerPort"))
        elif number is not None and not 1 <= number <= 65535:
            causes.append(cause.invalid(f"{where}.containerPort", number, _PORT_RANGE))
        host = port.get("hostPort") or 0
        if host and not 1 <= host <= 65535:
            causes.append(cause.invalid(f"{where}.hostPort", host, _PORT_RANGE))
        if port.get("protocol") and port["protocol"] not in _PROTOCOLS:
            causes.append(cause.not_supported(f"{where}.protocol", port["protocol"], _PROTOCOLS))


def _environment(container: Json, path: str, causes: list[Cause]) -> None:
    for index, variable in enumerate(container.get("env") or ()):
        where = f"{path}.env[{index}]"
        if variable.get("name"):
            causes += [
                cause.invalid(f"{where}.name", variable["name"], why)
                for why in names.env_name(variable["name"])
            ]
        source = variable.get("valueFrom")
        if source is None:
            continue
        found = [key for key in _ENV_SOURCES if source.get(key) is not None]
        if variable.get("value"):
            causes.append(
                cause.invalid(f"{where}.valueFrom", "", "may not be specified when `value` is not empty")
            )
        if len(found) != 1:
            must = (
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
                if not found
                else "may not have more than one field specified at a time"
            )
            causes.append(cause.invalid(f"{where}.valueFrom", "", must))
    for source in container.get("envFrom") or ():
        where = f"{path}.envFrom"
        found = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
        if len(found) != 1:
            must = (
                "must specify one of: `configMapRef` or `secretRef`"
                if not found
                else "may not have more than one field specified at a time"
            )
            causes.append(cause.invalid(where, "", must))


def _mounts(container: Json, path: str, volumes: frozenset[str], causes: list[Cause]) -> None:
    seen: set[str] = set()
    privileged = bool((container.get("securityContext") or {}).get("privileged"))
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{path}.volumeMounts[{index}]"
        name, at = mount.get("name"), mount.get("mountPath")
        if name not in volumes:
            shown = cause.render(name or "")
            causes.append(Cause(f"{where}.name", "FieldValueNotFound", f"Not found: {shown}"))
        if at and at in seen:
            causes.append(cause.invalid(f"{where}.mountPath", at, "must be unique"))
        seen.add(at or "")
        inner = mount.get("subPath") or ""
        if inner.startswith("/"):
            causes.append(cause.invalid(f"{where}.subPath", inner, "must be a relative path"))
        if ".." in inner.split("/"):
            causes.append(cause.invalid(f"{where}.subPath", inner, "must not contain '..'"))
        propagation = mount.get("mountPropagation")
        if propagation is not None and propagation not in _PROPAGATION:
            at = f"{path}.volumeMounts.mountPropagation"
            causes.append(cause.not_supported(at, propagation, _PROPAGATION))
        if propagation == "Bidirectional" and not privileged:
            causes.append(
                cause.forbidden(
                    f"{path}.volumeMounts.mountPropagation",
                    "Bidirectional mount propagation is available only to privileged containers",
                )
            )


def _probe(probe: Json, kind: str, path: str, causes: list[Cause]) -> None:
    handlers = [key for key in _HANDLERS if probe.get(key) is not None]
    if not handlers:
        causes.append(cause.required(path, "must specify a handler type"))
    for extra in handlers[1:]:
        causes.append(cause.forbidden(f"{path}.{extra}", "may not specify more than 1 handler type"))
    for key in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "failureThreshold",
        "successThreshold",
    ):
        if (probe.get(key) or 0) < 0:
            causes.append(cause.invalid(f"{path}.{key}", probe[key], "must be greater than or equal to 0"))
    if kind != "readinessProbe" and (probe.get("successThreshold") or 1) != 1:
        causes.append(cause.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))


def validate_resources(resources: Json, path: str, causes: list[Cause]) -> None:
    """requests and limits: known or qualified names, not negative, requests within limits."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    amounts: dict[tuple[str, str], Decimal] = {}
    for group, entries in (("limits", limits), ("requests", requests)):
        for name, text in entries.items():
            where = f"{path}.{group}[{name}]"
            if name not in _NATIVE and not name.startswith("hugepages-"):
                if "/" not in name:
                    causes.append(
                        cause.invalid(where, name, "must be a standard resource type or fully qualified")
                    )
                    continue
                causes += [cause.invalid(where, name, why) for why in names.qualified(name)]
            try:
                amount = parse_quantity(text)
            except ValueError as error:
                causes.append(cause.invalid(where, text, str(error)))
                continue
            amounts[group, name] = amount
            if amount < 0:
                causes.append(cause.invalid(where, str(text), "must be greater than or equal to 0"))
            elif "/" in name and amount != amount.to_integral_value():
                causes.append(cause.invalid(where, str(text), "must be an integer"))
    for name, text in requests.items():
        where = f"{path}.requests"
        wanted, most = amounts.get(("requests", name)), amounts.get(("limits", name))
        if wanted is None:
            continue
        if most is not None:
            if "/" in name and wanted != most:
                causes.append(
                    cause.invalid(where, str(text), f"must be equal to {name} limit of {limits[name]}")
                )
            elif wanted > most:
                causes.append(
                    cause.invalid(
                        where, str(text), f"must be less than or equal to {name} limit of {limits[name]}"
                    )
                )
        elif "/" in name:
            causes.append(
                cause.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
            )
