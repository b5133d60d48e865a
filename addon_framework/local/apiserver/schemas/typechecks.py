"""Limits of built-in types that concern several fields at once, or that the server names in its own way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import cause, names
from addon_framework.local.apiserver.schemas.cause import Cause
from addon_framework.local.apiserver.schemas.words import FORMATS, OPERATORS

Limit = Callable[[Json, str], Iterator[Cause]]


def _requirement(value: Json, path: str) -> Iterator[Cause]:
    """Values of a selector's requirement, as its operator wants them."""
    operator, values = value.get("operator"), value.get("values")
    if operator in ("In", "NotIn") and not values:
        yield cause.required(f"{path}values", "must be specified when `operator` is 'In' or 'NotIn'")
    if operator in ("Exists", "DoesNotExist") and values:
        why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        yield cause.forbidden(f"{path}values", why)


def _labels(value: Json, path: str) -> Iterator[Cause]:
    for key, label in (value.get("matchLabels") or {}).items():
        for why in names.qualified(key):
            yield cause.invalid(f"{path}matchLabels", key, why)
        for why in names.label_value(label or ""):
            yield cause.invalid(f"{path}matchLabels", label, why)


def _node_term(value: Json, path: str) -> Iterator[Cause]:
    for index, each in enumerate(value.get("matchExpressions") or ()):
        at = f"{path}matchExpressions[{index}]."
        yield from FORMATS["qualified"](each.get("key") or "", f"{at}key")
        yield from _node_operator(each, at, ("Gt", "Lt"))
        for item, label in enumerate(each.get("values") or ()):
            yield from FORMATS["value"](label, f"{at}values[{item}]")
    for index, each in enumerate(value.get("matchFields") or ()):
        at = f"{path}matchFields[{index}]."
        if each.get("key") != "metadata.name":
            yield cause.invalid(f"{at}key", each.get("key") or "", "not a valid field selector key")
        if each.get("operator") not in ("In", "NotIn"):
            yield cause.invalid(f"{at}operator", each.get("operator") or "", "not a valid selector operator")
        elif len(each.get("values") or ()) != 1:
            yield cause.required(f"{at}values", "must be only one value when `operator` is 'In' or 'NotIn'")
        for item, name in enumerate(each.get("values") or () if each.get("key") == "metadata.name" else ()):
            yield from FORMATS["dns"](name, f"{at}values[{item}]")


def _node_operator(value: Json, path: str, more: Iterable[str]) -> Iterator[Cause]:
    operator = value.get("operator") or ""
    if operator in more:
        if len(value.get("values") or ()) != 1:
            yield cause.required(
                f"{path}values", "must be specified single value when `operator` is 'Lt' or 'Gt'"
            )
    elif operator not in OPERATORS.split("|"):
        yield cause.invalid(f"{path}operator", operator, "not a valid selector operator")
    else:
        yield from _requirement(value, path)


def _toleration(value: Json, path: str) -> Iterator[Cause]:
    if (value.get("operator") or "Equal") == "Equal":
        for why in names.label_value(value.get("value") or ""):
            yield cause.invalid(f"{path}operator", value["value"], why)


def _affinity_term(value: Json, path: str) -> Iterator[Cause]:
    for name in value.get("namespaces") or ():
        for why in names.label(name):
            yield cause.invalid(f"{path}namespace", name, why)


def _dns_options(value: Json, path: str) -> Iterator[Cause]:
    for index, option in enumerate(value.get("options") or ()):
        if not option.get("name"):
            yield cause.required(f"{path}options[{index}]", "must not be empty")


def _spreads(value: Json, path: str) -> Iterator[Cause]:
    seen: list[tuple[Any, Any]] = []
    for each in value.get("topologySpreadConstraints") or ():
        mark = each.get("topologyKey"), each.get("whenUnsatisfiable")
        if mark in seen:
            where = f"{path}topologySpreadConstraints[{seen.index(mark)}].{{topologyKey, whenUnsatisfiable}}"
            yield cause.duplicate(where, f"{{{mark[0]}, {mark[1]}}}")
        seen.append(mark)


def _headers(value: Json, path: str) -> Iterator[Cause]:
    for each in value.get("httpHeaders") or ():
        name = each.get("name") or ""
        if not re.fullmatch(r"[-A-Za-z0-9]+", name):
            why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name')"
            yield cause.invalid(f"{path}httpHeaders", name, why)


def _handlers(value: Json, path: str) -> Iterator[Cause]:
    for name in ("postStart", "preStop"):
        if name in value and not value[name]:
            yield cause.required(path + name, "must specify a handler type")


_FIELD_PATHS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs", "metadata.labels",
    "metadata.annotations",
)  # fmt: skip
_DIVISORS = frozenset(
    (
        "0",
        "1",
        "1m",
        *(f"1{each}" for each in ("k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")),
    )
)
_RESOURCE = re.compile(r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)")


def _field_path(value: Json, path: str) -> Iterator[Cause]:
    text = value.get("fieldPath") or ""
    if not text:
        yield cause.required(f"{path}fieldPath")
    elif re.match(r"metadata\.(labels|annotations)\[", text) is None and text not in _FIELD_PATHS:
        yield cause.invalid(
            f"{path}fieldPath", text, f"error converting fieldPath: field label not supported: {text}"
        )


def _resource(value: Json, path: str) -> Iterator[Cause]:
    resource, in_file = value.get("resource") or "", "ownwardAPI." in path
    if in_file and not value.get("containerName"):
        yield cause.required(f"{path}containerName")
    elif not resource:
        yield cause.required(f"{path}resource")
    elif _RESOURCE.fullmatch(resource) is None:
        yield cause.not_supported(
            f"{path}resource", resource, ["limits.cpu", "limits.memory", "requests.cpu"]
        )


def _node_affinity(value: Json, path: str) -> Iterator[Cause]:
    if value.get("required") is None:
        yield cause.required(f"{path}required", "must specify required node constraints")


def _peer(value: Json, path: str) -> Iterator[Cause]:
    if not any(value.get(key) is not None for key in ("podSelector", "namespaceSelector", "ipBlock")):
        yield cause.required(path[:-1], "must specify a peer")


def _file(value: Json, path: str) -> Iterator[Cause]:
    if value.get("fieldRef") is None and value.get("resourceFieldRef") is None:
        yield cause.required(path[:-1], "one of fieldRef and resourceFieldRef must be specified")
    divisor = (value.get("resourceFieldRef") or {}).get("divisor")
    if divisor is not None and str(divisor) not in _DIVISORS:
        yield cause.invalid(f"{path}resourceFieldRef.divisor", str(divisor), "is no divisor of the resource")


def _projected(value: Json, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, source in enumerate(value.get("sources") or ()):
        files = [
            each
            for kind in ("secret", "configMap", "downwardAPI")
            for each in (source.get(kind) or {}).get("items") or ()
        ]
        token = source.get("serviceAccountToken")
        if token is not None:
            seconds = token.get("expirationSeconds", 3600)
            if not 600 <= seconds < 2**32:
                why = "may not specify a duration less than 10 minutes"
                yield cause.invalid(
                    f"{path}sources[{index}].serviceAccountToken.expirationSeconds", seconds, why
                )
            if not token.get("path"):
                yield cause.required(f"{path}path")
            files.append(token)
        for each in files:
            if each.get("path") in seen:
                why = "conflicting duplicate paths"
                yield cause.invalid(path[:-1], each["path"], why)
            seen.add(each.get("path") or "")


CHECKS: dict[str, Limit] = {
    "core.v1.PodDNSConfig": _dns_options,
    "core.v1.PodSpec": _spreads,
    "core.v1.Toleration": _toleration,
    "core.v1.NodeSelectorTerm": _node_term,
    "core.v1.PodAffinityTerm": _affinity_term,
    "core.v1.HTTPGetAction": _headers,
    "core.v1.Lifecycle": _handlers,
    "core.v1.DownwardAPIVolumeFile": _file,
    "core.v1.ProjectedVolumeSource": _projected,
    "core.v1.ObjectFieldSelector": _field_path,
    "core.v1.ResourceFieldSelector": _resource,
    "core.v1.VolumeNodeAffinity": _node_affinity,
    "networking.v1.NetworkPolicyPeer": _peer,
    "meta.v1.LabelSelector": _labels,
    "meta.v1.LabelSelectorRequirement": _requirement,
}
