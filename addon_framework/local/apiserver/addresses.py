"""Cluster IPs and node ports of Services: given out once, kept, and refused where they are taken.

https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/
"""

from __future__ import annotations

import ipaddress
from itertools import islice
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.registry import Kind
from addon_framework.local.apiserver.schemas import Cause
from addon_framework.local.apiserver.store import Store

_NODE_PORTS = range(30000, 32768)


class Addresses:
    """What the Services in the store leave free."""

    def __init__(self, store: Store, cidr: str) -> None:
        self._store, self._network = store, ipaddress.ip_network(cidr)

    def assign(self, kind: Kind, obj: Json, current: Json | None) -> None:
        """Fills in, in place, what a Service of this type needs."""
        spec, before = obj.setdefault("spec", {}), (current or {}).get("spec") or {}
        service_type = spec.get("type", "ClusterIP")
        if service_type == "ExternalName":
            return
        if not spec.get("clusterIP"):
            spec["clusterIP"] = before.get("clusterIP") or self._free_address()
        elif current is None and spec["clusterIP"] != "None":
            self._check_address(kind, obj, spec["clusterIP"])
        spec["clusterIPs"] = [spec["clusterIP"]]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        if service_type != "ClusterIP" and spec.get("allocateLoadBalancerNodePorts") is not False:
            self._assign_ports(kind, obj, before.get("ports") or [])

    def _assign_ports(self, kind: Kind, obj: Json, before: list[Json]) -> None:
        mine = [port.get("nodePort") for port in before]
        taken = self._node_ports() - set(mine)
        for index, port in enumerate(obj["spec"].get("ports") or ()):
            wanted = port.get("nodePort") or (mine[index] if index < len(mine) else None)
            if wanted in taken:
                message = f"Invalid value: {wanted}: provided port is already allocated"
                raise _refused(kind, obj, f"spec.ports[{index}].nodePort", message)
            port["nodePort"] = wanted or next(free for free in _NODE_PORTS if free not in taken)
            taken.add(port["nodePort"])

    def _free_address(self) -> str:
        taken = self._addresses()
        # The first address is the API server's own service.
        for address in islice(self._network.hosts(), 1, None):
            if str(address) not in taken:
                return str(address)
        raise status.StatusError(
            500, "InternalError", f"no free cluster IP is left in {self._network}; delete services"
        )

    def _check_address(self, kind: Kind, obj: Json, address: str) -> None:
        try:
            inside = ipaddress.ip_address(address) in self._network
        except ValueError:
            return  # validation says so
        why = ""
        if not inside:
            why = f"the provided IP is not in the valid range. The range of valid IPs is {self._network}"
        elif address in self._addresses():
            why = "provided IP is already allocated"
        if why:
            message = f'Invalid value: ["{address}"]: failed to allocate IP {address}: {why}'
            raise _refused(kind, obj, "spec.clusterIPs", message)

    def _addresses(self) -> set[Any]:
        return {(service.get("spec") or {}).get("clusterIP") for service in self._store.list("services")}

    def _node_ports(self) -> set[Any]:
        return {
            port.get("nodePort")
            for service in self._store.list("services")
            for port in (service.get("spec") or {}).get("ports") or ()
            if port.get("nodePort")
        }


def _refused(kind: Kind, obj: Json, field: str, message: str) -> status.StatusError:
    name = obj["metadata"].get("name", "")
    return status.invalid(kind, name, [Cause(field, "FieldValueInvalid", message)])
