"""EndpointSlices: where the pods behind a service listen, and whether they are ready.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

import contextlib
import hashlib

import orjson

from addon_framework.api.conditions import is_true
from addon_framework.api.core import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES
from addon_framework.api.meta import Json, owner_reference
from addon_framework.kube import AlreadyExists, Controller, Key, Watch, covers, key_of
from addon_framework.local.workloads.pods import has_ended

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SERVICE_NAME = "kubernetes.io/service-name"
_MANAGED, _OURS = "endpoints.kubernetes.io/managed-by", "endpoint-controller"
_US = "endpointslice-controller.k8s.io"


class EndpointController(Controller):
    """One slice per set of port numbers; pods that name their ports differently are in different ones."""

    name = "endpoints"

    def watches(self) -> list[Watch]:
        """Services, pods they may select, and our slices, so that what is taken away comes back."""
        return [
            Watch(SERVICES),
            Watch(PODS, map=self._services_of),
            Watch(ENDPOINTSLICES, map=service_key, predicate=_managed_by_us),
            Watch(ENDPOINTS),
        ]

    async def reconcile(self, key: Key) -> None:
        """The slices of one service."""
        service = self.cache(SERVICES).get(key)
        existing = {
            item["metadata"]["name"]: item
            for item in self.cache(ENDPOINTSLICES).in_namespace(key.namespace)
            if _is_ours(item) and service_key(item) == [key]
        }
        wanted: dict[str, Json] = {}
        if service is not None and service["spec"].get("selector"):
            wanted = self._slices(service)
        await self._write_endpoints(key, service, wanted)
        for name in existing.keys() - wanted.keys():
            await self.client.remove(ENDPOINTSLICES, existing[name])
        for name, item in wanted.items():
            current = existing.get(name)
            if current is None:
                try:
                    await self.client.create(ENDPOINTSLICES, item)
                except AlreadyExists:
                    continue  # our cache has not seen it yet; its event brings us back
            elif not _same(current, item):
                version = current["metadata"]["resourceVersion"]
                body = {**item, "metadata": {**item["metadata"], "resourceVersion": version}}
                await self.client.update(ENDPOINTSLICES, body)

    async def _write_endpoints(self, key: Key, service: Json | None, slices: dict[str, Json]) -> None:
        """The older form of the same; what others have made is theirs."""
        current = self.cache(ENDPOINTS).get(key)
        ours = current is not None and (current["metadata"].get("labels") or {}).get(_MANAGED) == _OURS
        if service is None or not slices:
            if current is not None and ours:
                await self.client.remove(ENDPOINTS, current)
            return
        wanted = _endpoints(service, slices)
        if current is None:
            with contextlib.suppress(AlreadyExists):
                await self.client.create(ENDPOINTS, wanted)
        elif ours and not (
            covers(current["metadata"].get("labels"), wanted["metadata"]["labels"])
            and (current.get("subsets") or []) == wanted["subsets"]
        ):
            version = current["metadata"]["resourceVersion"]
            metadata = {**wanted["metadata"], "resourceVersion": version}
            await self.client.update(ENDPOINTS, {**wanted, "metadata": metadata})

    def _slices(self, service: Json) -> dict[str, Json]:
        groups: dict[str, tuple[list[Json], list[Json]]] = {}
        for pod in self.cache(PODS).in_namespace(service["metadata"]["namespace"]):
            if not _selects(service, pod) or not (pod.get("status") or {}).get("podIP") or has_ended(pod):
                continue
            ports = _ports(service, pod)
            digest = hashlib.sha256(orjson.dumps(ports)).hexdigest()[:5]
            groups.setdefault(digest, (ports, []))[1].append(_endpoint(service, pod))
        if not groups:
            groups["none"] = ([], [])
        return {
            (name := f"{service['metadata']['name']}-{digest}"): _slice(service, name, ports, endpoints)
            for digest, (ports, endpoints) in groups.items()
        }

    def _services_of(self, pod: Json) -> list[Key]:
        services = self.cache(SERVICES).in_namespace(pod["metadata"]["namespace"])
        return [key_of(service) for service in services if _selects(service, pod)]


def service_key(endpoint_slice: Json) -> list[Key]:
    """The service a slice belongs to."""
    name = (endpoint_slice["metadata"].get("labels") or {}).get(SERVICE_NAME)
    return [Key(endpoint_slice["metadata"]["namespace"], name)] if name else []


def _endpoints(service: Json, slices: dict[str, Json]) -> Json:
    metadata = service["metadata"]
    labels = {**(metadata.get("labels") or {}), _MANAGED: _OURS}
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    subsets = []
    for item in slices.values():
        subset: Json = {}
        for endpoint in item["endpoints"]:
            if not endpoint["conditions"]["terminating"]:
                field = "addresses" if endpoint["conditions"]["ready"] else "notReadyAddresses"
                about = {
                    name: endpoint[name] for name in ("hostname", "nodeName", "targetRef") if name in endpoint
                }
                subset.setdefault(field, []).append({"ip": endpoint["addresses"][0], **about})
        if subset:
            ports = [{k: v for k, v in port.items() if v} for port in item["ports"]]
            subsets.append({**subset, "ports": ports} if ports else subset)
    return {
        "apiVersion": ENDPOINTS.api_version,
        "kind": ENDPOINTS.kind,
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "labels": labels},
        "subsets": subsets,
    }


def _slice(service: Json, name: str, ports: list[Json], endpoints: list[Json]) -> Json:
    metadata = service["metadata"]
    labels = {**(metadata.get("labels") or {}), SERVICE_NAME: metadata["name"], MANAGED_BY: _US}
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    return {
        "apiVersion": ENDPOINTSLICES.api_version,
        "kind": ENDPOINTSLICES.kind,
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service, SERVICES, controller=True)],
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": sorted(endpoints, key=lambda endpoint: str(endpoint["addresses"])),
    }


def _ports(service: Json, pod: Json) -> list[Json]:
    """The service's ports with this pod's numbers; a name that the pod does not have is left out."""
    named = {
        port["name"]: port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("name")
    }
    ports = []
    for port in service["spec"].get("ports") or ():
        target = port.get("targetPort") or port["port"]
        number = target if isinstance(target, int) else named.get(target)
        if number is None:
            continue
        entry: Json = {"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        ports.append(entry)
    return ports


def _endpoint(service: Json, pod: Json) -> Json:
    metadata, spec = pod["metadata"], pod["spec"]
    serving = is_true(pod, "Ready") or bool(service["spec"].get("publishNotReadyAddresses"))
    leaving = bool(metadata.get("deletionTimestamp"))
    endpoint: Json = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": serving and not leaving, "serving": serving, "terminating": leaving},
        "nodeName": spec.get("nodeName", ""),
        "targetRef": {
            "kind": "Pod",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
    }
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    return endpoint


def _selects(service: Json, pod: Json) -> bool:
    selector = service["spec"].get("selector")
    labels = pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _same(current: Json, wanted: Json) -> bool:
    return bool(
        covers(current["metadata"].get("labels"), wanted["metadata"]["labels"])
        and (current.get("ports") or []) == wanted["ports"]
        and (current.get("endpoints") or []) == wanted["endpoints"]
    )


def _is_ours(endpoint_slice: Json) -> bool:
    return (endpoint_slice["metadata"].get("labels") or {}).get(MANAGED_BY) == _US


def _managed_by_us(old: Json | None, new: Json | None) -> bool:
    """Slices that others made are left alone."""
    return any(obj is not None and _is_ours(obj) for obj in (old, new))
