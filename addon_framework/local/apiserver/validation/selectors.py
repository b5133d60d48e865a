"""Selectors of labels, nodes and peers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names
from addon_framework.local.apiserver.validation.words import FORMATS, labels


def _requirement(value: Json, path: str) -> Iterator[Cause]:
    """Values of a selector's requirement, as its operator wants them."""
    operator, values = value.get("operator"), value.get("values")
    if operator in ("In", "NotIn") and not values:
        yield cause.required(f"{path}values", "must be specified when `operator` is 'In' or 'NotIn'")
    if operator in ("Exists", "DoesNotExist") and values:
        why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        yield cause.forbidden(f"{path}values", why)


def _selector(value: Json, path: str) -> Iterator[Cause]:
    return labels(value.get("matchLabels"), f"{path}matchLabels")


def _node_term(value: Json, path: str) -> Iterator[Cause]:
    for index, each in enumerate(value.get("matchExpressions") or ()):
        at = f"{path}matchExpressions[{index}]."
        yield from FORMATS["qualified"](each.get("key") or "", f"{at}key")
        if each.get("operator") not in ("Gt", "Lt"):
            yield from FORMATS["operator"](each.get("operator") or "", f"{at}operator")
            yield from _requirement(each, at)
        elif len(each.get("values") or ()) != 1:
            why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            yield cause.required(f"{at}values", why)
        for item, label in enumerate(each.get("values") or ()):
            yield from FORMATS["value"](label, f"{at}values[{item}]")
    for index, each in enumerate(value.get("matchFields") or ()):
        yield from _node_field(each, f"{path}matchFields[{index}].")


def _node_field(value: Json, path: str) -> Iterator[Cause]:
    key, operator, values = value.get("key") or "", value.get("operator") or "", value.get("values") or ()
    if key != "metadata.name":
        yield cause.invalid(f"{path}key", key, "not a valid field selector key")
    if operator not in ("In", "NotIn"):
        yield cause.invalid(f"{path}operator", operator, "not a valid selector operator")
    elif len(values) != 1:
        yield cause.required(f"{path}values", "must be only one value when `operator` is 'In' or 'NotIn'")
    for index, name in enumerate(values if key == "metadata.name" else ()):
        yield from FORMATS["dns"](name, f"{path}values[{index}]")


def _node_affinity(value: Json, path: str) -> Iterator[Cause]:
    if value.get("required") is None:
        yield cause.required(f"{path}required", "must specify required node constraints")


def _affinity_term(value: Json, path: str) -> Iterator[Cause]:
    for name in value.get("namespaces") or ():
        yield from cause.broken(f"{path}namespace", name, names.label(name))


def _peer(value: Json, path: str) -> Iterator[Cause]:
    if not any(value.get(key) is not None for key in ("podSelector", "namespaceSelector", "ipBlock")):
        yield cause.required(path[:-1], "must specify a peer")


def _end_port(value: Json, path: str) -> Iterator[Cause]:
    end, port = value.get("endPort"), value.get("port")
    where = f"{path}endPort"
    if end is None:
        return
    if not isinstance(port, int):
        how = "not specified" if port is None else "non-numeric"
        yield cause.invalid(where, end, f"may not be specified when `port` is {how}")
    elif end < port:
        yield cause.invalid(where, port, "must be greater than or equal to `port`")
    yield from FORMATS["port"](end, where)


def _network_policy(value: Json, path: str) -> Iterator[Cause]:
    if len(types := value.get("policyTypes") or ()) > 2:
        yield cause.invalid(f"{path}policyTypes", types, "may not specify more than two policyTypes")


CHECKS: dict[str, Any] = {
    "networking.v1.NetworkPolicyPort": _end_port,
    "networking.v1.NetworkPolicySpec": _network_policy,
    "meta.v1.LabelSelector": _selector,
    "meta.v1.LabelSelectorRequirement": _requirement,
    "core.v1.NodeSelectorTerm": _node_term,
    "core.v1.VolumeNodeAffinity": _node_affinity,
    "core.v1.PodAffinityTerm": _affinity_term,
    "networking.v1.NetworkPolicyPeer": _peer,
}
