"""A container's environment: literals, the downward API, ConfigMaps, Secrets, and $(VAR) references.

https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from addon_framework.api.meta import Json, at
from addon_framework.api.quantity import parse_quantity

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")

Lookup = Callable[[str, str], Json | None]  # kind ("configmap" or "secret"), name


class MissingSourceError(Exception):
    """A ConfigMap, Secret or key that is needed is not there yet."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """$(NAME) becomes its value, unknown names stay as they are; $$ becomes $, in scripts, too."""

    def replace(match: re.Match[str]) -> str:
        return "$" if match[1] is None else variables.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def environment(
    pod: Json, container: Json, lookup: Lookup, node_capacity: Mapping[str, str]
) -> dict[str, str]:
    """Every variable of `env` and `envFrom`. Raises MissingSourceError."""
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix", "")
        for kind, field in (("configmap", "configMapRef"), ("secret", "secretRef")):
            if reference := source.get(field):
                found = lookup(kind, reference["name"])
                if found is None and not reference.get("optional"):
                    raise MissingSourceError(f"{kind} {reference['name']!r} not found")
                for key, value in values(kind, found or {}).items():
                    variables[prefix + key] = value.decode(errors="replace")
    for entry in container.get("env") or ():
        if source := entry.get("valueFrom"):
            given = _from(source, pod, container, lookup, node_capacity)
            if given is not None:
                variables[entry["name"]] = given
        else:
            variables[entry["name"]] = expand(str(entry.get("value") or ""), variables)
    return variables


def values(kind: str, obj: Json) -> dict[str, bytes]:
    """The data of a ConfigMap or Secret as bytes."""
    data = obj.get("data") or {}
    if kind == "secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}
    return {key: value.encode() for key, value in data.items()} | binary


def service_variables(service: Json) -> dict[str, str]:
    """https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables"""
    address, ports = service["spec"].get("clusterIP"), service["spec"].get("ports") or ()
    if address in (None, "", "None") or not ports:
        return {}
    name = service["metadata"]["name"].upper().replace("-", "_")
    found = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(ports[0]["port"])}
    for position, port in enumerate(ports):
        number, protocol = str(port["port"]), port.get("protocol", "TCP")
        if port.get("name"):
            found[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = number
        url, prefix = f"{protocol.lower()}://{address}:{number}", f"{name}_PORT_{number}_{protocol}"
        found |= {f"{name}_PORT": url} if position == 0 else {}
        found |= {prefix: url, f"{prefix}_PROTO": protocol.lower()}
        found |= {f"{prefix}_PORT": number, f"{prefix}_ADDR": address}
    return found


def field(pod: Json, path: str) -> str:
    """The downward API's fieldRef."""
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path):
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = pod["metadata"].get(path.split(".")[1]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    value = at(pod, path)
    return "" if value is None else str(value)


def resource(container: Json, reference: Json, node_capacity: Mapping[str, str]) -> str:
    """The downward API's resourceFieldRef, rounded up to whole divisors; without a limit, the node's size."""
    section, _, name = reference["resource"].partition(".")
    given = ((container.get("resources") or {}).get(section) or {}).get(name)
    amount = parse_quantity(given if given is not None else node_capacity.get(name, "0"))
    divisor = parse_quantity(reference.get("divisor") or "1") or Decimal(1)
    return str(math.ceil(amount / divisor))


def _from(
    source: Json, pod: Json, container: Json, lookup: Lookup, node_capacity: Mapping[str, str]
) -> str | None:
    if reference := source.get("fieldRef"):
        return field(pod, reference["fieldPath"])
    if reference := source.get("resourceFieldRef"):
        return resource(container, reference, node_capacity)
    for kind, name in (("configmap", "configMapKeyRef"), ("secret", "secretKeyRef")):
        if reference := source.get(name):
            found = lookup(kind, reference["name"])
            data = values(kind, found or {})
            if reference["key"] in data:
                return data[reference["key"]].decode(errors="replace")
            if reference.get("optional"):
                return None
            what = (
                f"key {reference['key']!r} in {kind} {reference['name']!r}"
                if found
                else f"{kind} {reference['name']!r}"
            )
            raise MissingSourceError(f"{what} not found")
    return None
