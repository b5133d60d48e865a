"""A backend's components as DaemonSets, StatefulSets and ConfigMaps. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from addon_framework.api.core import CONFIGMAPS, DAEMONSETS, NETWORKPOLICIES, SERVICES, STATEFULSETS
from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.kube import Key
from addons.cache_runtime.agent.affinities import both, joined
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.making import MADE_FROM_ANNOTATION, MEASURING, made_from, secrets_of
from addons.cache_runtime.agent.names import (
    CREDENTIALS_ANNOTATION,
    HASH_ANNOTATION,
    NO_MESH,
    ROLE_LABEL,
    cache_node_label,
    client_node_label,
    dataset_id,
    labels,
    short_hash,
)
from runtimes.interface import Component, Service
from runtimes.pods import named_node
from runtimes.presence import holder, is_lazy

_SUFFIX = {"master": "master", "worker": "worker", "client": "fuse"}
_SECTION = {"master": "master", "worker": "worker", "client": "fuse"}  # of the runtime's spec
_EVERYWHERE = [{"operator": "Exists"}]


def objects(binding: Binding, *, everywhere: bool = False) -> list[tuple[Resource, Json]]:
    """Everything the runtime needs in the Dataset's namespace, each with a hash of itself.

    `everywhere`: clients of a lazy kind run where nobody uses them too.
    """
    made: list[tuple[Resource, Json]] = []
    for component in binding.backend.components(binding.cache):
        for name, data in component.config_maps.items():
            config = _object(binding, component, "ConfigMap", "v1", name)
            made.append((CONFIGMAPS, _hashed({**config, "data": dict(data)})))
        made += [(SERVICES, _service(binding, component, service)) for service in component.services]
        if component.private:
            made.append((NETWORKPOLICIES, _among_its_own(binding, component)))
        made.append(_workload(binding, component, everywhere))
    return made


def template(binding: Binding, component: Component) -> Json:
    """The pod of a component: the backend's PodSpec, and what Dataset and runtime say of every pod."""
    key = Key(binding.cache.namespace, binding.cache.name)
    uid = binding.dataset["metadata"]["uid"]
    section = binding.cache.spec.get(_SECTION[component.role]) or {}
    own = _labels(binding, component)
    spec = {"terminationGracePeriodSeconds": 30, **component.pod}
    if component.role == "client" and component.portable:
        # A pod with the data may land on any node, so the client must be able to.
        spec.setdefault("tolerations", _EVERYWHERE)
    else:
        spec["tolerations"] = [*(spec.get("tolerations") or []), *binding.cache.dataset.spec.tolerations]
    if component.role == "worker":
        own["fluid.io/dataset"] = dataset_id(key, uid)
        own["fluid.io/dataset-placement"] = placement(binding)
    spec["affinity"] = joined(spec.get("affinity") or {}, _affinity(binding, component))
    spec |= {name: with_last_words(spec.get(name) or []) for name in ("containers", "initContainers")}
    spec = {name: value for name, value in spec.items() if value}
    metadata: Json = {"labels": {**NO_MESH, **_pod_metadata(binding, section, "labels"), **own}}
    if annotations := {**_pod_metadata(binding, section, "annotations"), **component.annotations}:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": spec}


def with_last_words(containers: list[Json]) -> list[Json]:
    """What they log before they fail becomes the kubelet's word, and so ours: the Dataset's (see troubles),
    or the operation's.
    """
    return [{"terminationMessagePolicy": "FallbackToLogsOnError", **each} for each in containers]


def _labels(binding: Binding, component: Component) -> dict[str, str]:
    """By which Fluid's users find a component's objects and pods, and ours."""
    key, uid = Key(binding.cache.namespace, binding.cache.name), binding.dataset["metadata"]["uid"]
    return {
        "app": binding.backend.type,
        "role": f"{binding.backend.type}-{_SUFFIX[component.role]}",
        **component.labels,
        **labels(key, component.role),
        "release": key.name,
        "fluid.io/managed-by": "fluid",
        "fluid.io/dataset-id": dataset_id(key, uid),
    }


def places(binding: Binding) -> list[Json]:
    """Terms of the nodes on which a client may run; none: any."""
    spec = template(binding, _client(binding))["spec"]
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms: list[Json] = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(required, {}).get(
        "nodeSelectorTerms"
    ) or []
    chosen = [_has(label, value) for label, value in sorted((spec.get("nodeSelector") or {}).items())]
    if not chosen:
        return terms
    return [both(term, {"matchExpressions": chosen}) for term in terms or [{}]]


def client_digest(binding: Binding) -> str:
    """Of what a client's pod is made from; it says whether one that runs is of today's."""
    client = _client(binding)
    metadata = template(binding, client)["metadata"]
    pod = {**client.pod, "containers": [_unmeasured(each) for each in client.pod["containers"]]}
    read = binding.credentials if secrets_of(client.pod) else ""
    config = {} if client.follows else client.config_maps
    made = {**config, "": pod, " ": metadata, "  ": read}
    return short_hash(json.dumps(made, sort_keys=True, default=dict))


def _unmeasured(container: Json) -> Json:
    """Without what the remounter measures, which changes nothing for users of the mount."""
    return {**container, "env": []} if container["name"] == MEASURING else container


def placement(binding: Binding) -> str:
    """Exclusive is Fluid's default. A `local` cache is just files, so there it has to be asked for; clients
    share their nodes with any cache.
    """
    if holder(binding.backend, binding.cache) == "client":
        return "Shared"
    said = binding.cache.dataset.spec.placement
    return said or ("Shared" if binding.backend.type == "local" else "Exclusive")


def _workload(binding: Binding, component: Component, everywhere: bool) -> tuple[Resource, Json]:
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
        # Replacing a FUSE client breaks open files of pods that use it: see renewal.
        spec["updateStrategy"] = {"type": "OnDelete"}
        said = {HASH_ANNOTATION: client_digest(binding), MADE_FROM_ANNOTATION: made_from(binding)}
        spec["template"] = _annotated(spec["template"], said)
        if is_lazy(binding.backend, binding.cache):
            spec["template"] = _lazy(binding, spec["template"], everywhere)
    elif binding.credentials and secrets_of(component.pod):
        # They read them when they start.
        spec["template"] = _annotated(spec["template"], {CREDENTIALS_ANNOTATION: binding.credentials})
    if not daemon:
        service = next((each.name for each in component.services if each.governing), name)
        spec |= {
            "replicas": component.replicas,
            "serviceName": service,
            "podManagementPolicy": "Parallel",
        }
    return DAEMONSETS if daemon else STATEFULSETS, _hashed({**obj, "spec": spec})


def _lazy(binding: Binding, made: Json, everywhere: bool) -> Json:
    """The template of a client that runs on nodes with its label; `everywhere`: on those of the cache too."""
    key, uid = Key(binding.cache.namespace, binding.cache.name), binding.dataset["metadata"]["uid"]
    terms = [{"matchExpressions": [_has(client_node_label(key, uid), "true")]}]
    if everywhere:
        workers = any(c.role == "worker" for c in binding.backend.components(binding.cache))
        held = {"matchExpressions": [_has(cache_node_label(key, uid), "true")]}
        terms = [*terms, held] if workers else []
    ours: Json = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    }
    spec: Json = made["spec"]
    if terms:
        spec = {**spec, "affinity": joined(spec.get("affinity") or {}, ours)}
    return {**made, "spec": spec}


def _annotated(made: Json, said: Mapping[str, str]) -> Json:
    """A template that says more of its pods."""
    annotations = {**(made["metadata"].get("annotations") or {}), **said}
    return {**made, "metadata": {**made["metadata"], "annotations": annotations}}


def _client(binding: Binding) -> Component:
    return next(c for c in binding.backend.components(binding.cache) if c.role == "client")


def _has(label: str, value: str) -> Json:
    return {"key": label, "operator": "In", "values": [value]}


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


def _among_its_own(binding: Binding, component: Component) -> Json:
    """Whatever its pods listen on, pods of this Dataset may ask, and nobody else."""
    key = Key(binding.cache.namespace, binding.cache.name)
    own = labels(key, component.role)
    mates = {name: value for name, value in own.items() if name != ROLE_LABEL}
    name = f"{key.name}-{_SUFFIX[component.role]}"
    made = _object(binding, component, NETWORKPOLICIES.kind, NETWORKPOLICIES.api_version, name)
    spec = {
        "podSelector": {"matchLabels": own},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": mates}}]}],
    }
    return _hashed({**made, "spec": spec})


def _affinity(binding: Binding, component: Component) -> Json:
    """Where the Dataset allows its cache, apart from other caches when exclusive, one of a kind per node."""
    key, uid = Key(binding.cache.namespace, binding.cache.name), binding.dataset["metadata"]["uid"]
    affinity: Json = {}
    if required := binding.cache.dataset.spec.node_affinity.required:
        affinity["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    preferred = []
    if component.role == "worker" or (component.role == "client" and not component.portable):
        # One that starts anew would find its files where the last one left them; as strongly as Fluid.
        preferred.append(
            {"weight": 100, "preference": {"matchExpressions": [_has(cache_node_label(key, uid), "true")]}}
        )
    location = binding.cache.dataset.spec.data_restore_location
    if location is not None and location.node_name and binding.backend.restores:
        preferred.append({"weight": 100, "preference": named_node(location.node_name)})
    if preferred:
        name = "preferredDuringSchedulingIgnoredDuringExecution"
        affinity.setdefault("nodeAffinity", {})[name] = preferred
    terms = []
    if component.replicas is not None:
        terms.append(_apart({"matchLabels": labels(key, component.role)}))
    if component.role == "worker":  # who has the data; masters take no node from other caches
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
            "labels": _labels(binding, component),
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
