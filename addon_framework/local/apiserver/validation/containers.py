"""Containers of a pod: environment, mounts, probes, resources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from addon_framework.local.apiserver.schemas import Cause, cause, names

_PROPAGATION = ("Bidirectional", "HostToContainer", "None")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_NATIVE = frozenset({"cpu", "memory", "ephemeral-storage", "storage"})
_FIELD_PATHS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations",
    "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP",
    "status.podIPs",
)  # fmt: skip
_RESOURCE = re.compile(r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)")


def _container(container: Json, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    privileged = bool((container.get("securityContext") or {}).get("privileged"))
    where = f"{path}volumeMounts.mountPropagation"
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        at, propagation = mount.get("mountPath") or "", mount.get("mountPropagation")
        if at and at in seen:
            yield cause.invalid(f"{path}volumeMounts[{index}].mountPath", at, "must be unique")
        seen.add(at)
        if propagation is not None and propagation not in _PROPAGATION:
            yield cause.not_supported(where, propagation, _PROPAGATION)
        if propagation == "Bidirectional" and not privileged:
            yield cause.forbidden(where, "Bidirectional mounts are for privileged containers only")
    for kind in ("livenessProbe", "startupProbe"):
        wanted = (container.get(kind) or {}).get("successThreshold") or 1
        if wanted != 1:
            yield cause.invalid(f"{path}{kind}.successThreshold", wanted, "must be 1")


def _security(value: Json, path: str) -> Iterator[Cause]:
    if value.get("privileged") and value.get("allowPrivilegeEscalation") is False:
        why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        yield cause.invalid(path[:-1], value, why)


def _mount(value: Json, path: str) -> Iterator[Cause]:
    if value.get("subPath") and value.get("subPathExpr"):
        why = "subPathExpr and subPath are mutually exclusive"
        yield cause.invalid(f"{path}subPathExpr", value["subPathExpr"], why)


def _variable(variable: Json, path: str) -> Iterator[Cause]:
    source = variable.get("valueFrom")
    if source is not None:
        if variable.get("value"):
            yield cause.invalid(f"{path}valueFrom", "", "may not be specified when `value` is not empty")
        yield from _exactly_one(source, _ENV_SOURCES, f"{path}valueFrom")


def _variables(source: Json, path: str) -> Iterator[Cause]:
    return _exactly_one(source, ("configMapRef", "secretRef"), path.rpartition("[")[0])


def _exactly_one(source: Json, allowed: tuple[str, ...], path: str) -> Iterator[Cause]:
    found = [key for key in allowed if source.get(key) is not None]
    if not found:
        yield cause.invalid(path, "", f"must specify one of: {', '.join(allowed)}")
    elif len(found) > 1:
        yield cause.invalid(path, "", "may not have more than one field specified at a time")


def _field_path(value: Json, path: str) -> Iterator[Cause]:
    text = value.get("fieldPath") or ""
    if not text:
        yield cause.required(f"{path}fieldPath")
    elif re.match(r"metadata\.(labels|annotations)\[", text) is None and text not in _FIELD_PATHS:
        why = f"error converting fieldPath: field label not supported: {text}"
        yield cause.invalid(f"{path}fieldPath", text, why)


def _resource(value: Json, path: str) -> Iterator[Cause]:
    resource, in_file = value.get("resource") or "", "ownwardAPI." in path
    if in_file and not value.get("containerName"):
        yield cause.required(f"{path}containerName")
    elif not resource:
        yield cause.required(f"{path}resource")
    elif _RESOURCE.fullmatch(resource) is None:
        known = ["limits.cpu", "limits.memory", "requests.cpu"]
        yield cause.not_supported(f"{path}resource", resource, known)


def _headers(value: Json, path: str) -> Iterator[Cause]:
    for each in value.get("httpHeaders") or ():
        name = each.get("name") or ""
        if not re.fullmatch(r"[-A-Za-z0-9]+", name):
            why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name')"
            yield cause.invalid(f"{path}httpHeaders", name, why)


def _lifecycle(value: Json, path: str) -> Iterator[Cause]:
    for name in ("postStart", "preStop"):
        if name in value and not value[name]:
            yield cause.required(path + name, "must specify a handler type")


def _probe(probe: Json, path: str) -> Iterator[Cause]:
    handlers = [key for key in _HANDLERS if probe.get(key) is not None]
    if not handlers:
        yield cause.required(path[:-1], "must specify a handler type")
    for extra in handlers[1:]:
        yield cause.forbidden(f"{path}{extra}", "may not specify more than 1 handler type")


def amounts(entries: Json, path: str) -> Iterator[Cause | tuple[str, Decimal]]:
    """Known or qualified names of resources with amounts, or what is wrong with them."""
    for name, text in entries.items():
        where = f"{path}[{name}]"
        if name not in _NATIVE and not name.startswith("hugepages-"):
            if "/" not in name:
                yield cause.invalid(where, name, "must be a standard resource type or fully qualified")
                continue
            yield from cause.broken(where, name, names.qualified(name))
        try:
            amount = parse_quantity(text)
        except ValueError as error:
            yield cause.invalid(where, text, str(error))
            continue
        yield name, amount
        if amount < 0:
            yield cause.invalid(where, str(text), "must be greater than or equal to 0")
        elif "/" in name and amount != amount.to_integral_value():
            yield cause.invalid(where, str(text), "must be an integer")


def _resources(resources: Json, path: str) -> Iterator[Cause]:
    """Requests within limits; of extended resources they are the same."""
    said: dict[str, dict[str, Decimal]] = {"limits": {}, "requests": {}}
    for group, known in said.items():
        for found in amounts(resources.get(group) or {}, f"{path}{group}"):
            if isinstance(found, Cause):
                yield found
            else:
                known[found[0]] = found[1]
    for name, wanted in said["requests"].items():
        text, most = str(resources["requests"][name]), said["limits"].get(name)
        if most is None and "/" in name:
            yield cause.required(f"{path}limits", "Limit must be set for non overcommitable resources")
        elif most is not None and (wanted != most if "/" in name else wanted > most):
            how = "equal to" if "/" in name else "less than or equal to"
            why = f"must be {how} {name} limit of {resources['limits'][name]}"
            yield cause.invalid(f"{path}requests", text, why)


def _overhead(value: Json, path: str) -> Iterator[Cause]:
    return (
        each for each in amounts(value.get("podFixed") or {}, "overhead.limits") if isinstance(each, Cause)
    )


CHECKS: dict[str, Any] = {
    "node.v1.Overhead": _overhead,
    "core.v1.Container": _container,
    "core.v1.EphemeralContainer": _container,
    "core.v1.SecurityContext": _security,
    "core.v1.VolumeMount": _mount,
    "core.v1.EnvVar": _variable,
    "core.v1.EnvFromSource": _variables,
    "core.v1.ObjectFieldSelector": _field_path,
    "core.v1.ResourceFieldSelector": _resource,
    "core.v1.HTTPGetAction": _headers,
    "core.v1.Lifecycle": _lifecycle,
    "core.v1.Probe": _probe,
    "core.v1.ResourceRequirements": _resources,
}
