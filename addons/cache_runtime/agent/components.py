"""A backend's components as DaemonSets, StatefulSets and ConfigMaps. Pure."""

from __future__ import annotations

import json

from addon_framework.api.core import CONFIGMAPS, DAEMONSETS, SERVICES, STATEFULSETS
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Key
from addons.cache_runtime.agent.affinities import joined
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import (
    HASH_ANNOTATION,
    dataset_id,
    labels,
    owner_reference,
    short_hash,
)
from runtimes.interface import Component, Service
from runtimes.pods import named_node

_SUFFIX = {"master": "master", "worker": "worker", "client": "fuse"}
_SECTION = {"master": "master", "worker": "worker", "client": "fuse"}  # of the runtime's spec
_EVERYWHERE = [{"operator": "Exists"}]


def objects(binding: Binding) -> list[tuple[Resource, Json]]:
    """Everything the runtime needs in the Dataset's namespace, each with a hash of itself."""
    made: list[tuple[Resource, Json]] = []
    for component in binding.backend.components(binding.cache):
        for name, data in component.config_maps.items():
            config = _object(binding, component, "ConfigMap", "v1", name)
            made.append((CONFIGMAPS, _hashed({**config, "data": dict(data)})))
        made += [(SERVICES, _service(binding, component, service)) for service in component.services]
        made.append(_workload(binding, component))
    return made


def template(binding: Binding, component: Component) -> Json:
    """The pod of a component: the backend's PodSpec, and what Dataset and runtime say of every pod."""
    key = Key(binding.cache.namespace, binding.cache.name)
    uid = binding.dataset["metadata"]["uid"]
    section = binding.cache.spec.get(_SECTION[component.role]) or {}
    own = {
        **component.labels,
        **labels(key, component.role),
        "app": binding.backend.type,
        "release": key.name,
        "role": f"{binding.backend.type}-{_SUFFIX[component.role]}",
    }
    own["fluid.io/managed-by"] = "fluid"
    own["fluid.io/dataset-id"] = dataset_id(key, uid)
    spec = {"terminationGracePeriodSeconds": 30, **component.pod}
    if component.role == "client" and component.portable:
        # A pod with the data may land on any node, so the client must be able to.
        spec.setdefault("tolerations", _EVERYWHERE)
    else:
        spec["tolerations"] = [*(spec.get("tolerations") or []), *binding.cache.dataset.spec.tolerations]
    if component.role != "client":
        own["fluid.io/dataset"] = dataset_id(key, uid)
        own["fluid.io/dataset-placement"] = placement(binding)
    spec["affinity"] = joined(spec.get("affinity") or {}, _affinity(binding, component))
    spec = {name: value for name, value in spec.items() if value}
    metadata: Json = {"labels": {**_pod_metadata(binding, section, "labels"), **own}}
    if annotations := {**_pod_metadata(binding, section, "annotations"), **component.annotations}:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": spec}


def placement(binding: Binding) -> str:
    """Exclusive is Fluid's default. A `local` cache is just files, so there it has to be asked for."""
    said = binding.cache.dataset.spec.placement
    return said or ("Shared" if binding.backend.type == "local" else "Exclusive")


def _workload(binding: Binding, component: Component) -> tuple[Resource, Json]:
    key = Key(binding.cache.namespace, binding.cache.name)
    daemon = component.replicas is None
    kind = "DaemonSet" if daemon else "StatefulSet"
    name = component.name or f"{key.name}-{_SUFFIX[component.role]}"
    obj = _object(binding, component, kind, "apps/v1", name)
    spec: Json = {
        "selector": {"matchLabels": labels(key, component.role)},
        "template": template(binding, component),
    }
    if component.role == "client":
        # Replacing a FUSE client breaks the mounts of pods that use it, so that waits until pods restart.
        spec["updateStrategy"] = {"type": "OnDelete"}
    if not daemon:
        service = next((each.name for each in component.services if each.governing), name)
        spec |= {
            "replicas": component.replicas,
            "serviceName": service,
            "podManagementPolicy": "Parallel",
        }
    return DAEMONSETS if daemon else STATEFULSETS, _hashed({**obj, "spec": spec})


def _service(binding: Binding, component: Component, service: Service) -> Json:
    """Names that are known before the pods are ready, since masters wait for one another."""
    key = Key(binding.cache.namespace, binding.cache.name)
    selector = labels(key, component.role)
    if service.pod:
        selector["statefulset.kubernetes.io/pod-name"] = service.pod
    ports = [{"name": name, "port": port, "targetPort": port} for name, port in service.ports.items()]
    spec: Json = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": selector,
        "ports": [{**port, "protocol": "TCP"} for port in ports],
    }
    made = _object(binding, component, "Service", "v1", service.name)
    made["metadata"]["labels"] = {**service.labels, **made["metadata"]["labels"]}
    return _hashed({**made, "spec": spec})


def _affinity(binding: Binding, component: Component) -> Json:
    """Where the Dataset allows its cache, apart from other caches when exclusive, one of a kind per node."""
    key, uid = Key(binding.cache.namespace, binding.cache.name), binding.dataset["metadata"]["uid"]
    affinity: Json = {}
    if required := binding.cache.dataset.spec.node_affinity.required:
        affinity["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    location = binding.cache.dataset.spec.data_restore_location
    if location is not None and location.node_name and binding.backend.restores:
        affinity.setdefault("nodeAffinity", {})["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": 100, "preference": named_node(location.node_name)}
        ]
    terms = []
    if component.replicas is not None:
        terms.append(_apart({"matchLabels": labels(key, component.role)}))
    if component.role != "client":
        others: Json = {
            "matchExpressions": [
                {"key": "fluid.io/dataset", "operator": "Exists"},
                {"key": "fluid.io/dataset", "operator": "NotIn", "values": [dataset_id(key, uid)]},
            ]
        }
        if placement(binding) != "Exclusive":
            others["matchLabels"] = {"fluid.io/dataset-placement": "Exclusive"}
        terms.append(_apart(others))
    if terms:
        affinity["podAntiAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    return affinity


def _apart(selector: Json) -> Json:
    return {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname", "namespaceSelector": {}}


def _object(binding: Binding, component: Component, kind: str, api_version: str, name: str) -> Json:
    key = Key(binding.cache.namespace, binding.cache.name)
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": key.namespace,
            "labels": labels(key, component.role),
            "ownerReferences": [owner_reference(binding.runtime)],
        },
    }


def _pod_metadata(binding: Binding, section: Json, field: str) -> dict[str, str]:
    """The runtime's podMetadata, and the component's over it."""
    common = (binding.cache.spec.get("podMetadata") or {}).get(field) or {}
    return {**common, **((section.get("podMetadata") or {}).get(field) or {})}


def _hashed(obj: Json) -> Json:
    """With a hash of what we want, since a server's defaults and our removals cannot be told by comparing."""
    digest = short_hash(json.dumps(obj, sort_keys=True))
    metadata = {**obj["metadata"], "annotations": {HASH_ANNOTATION: digest}}
    return {**obj, "metadata": metadata}
