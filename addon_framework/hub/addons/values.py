"""What configuration does to manifests: values for rendering, and changes to every workload. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from addon_framework.api.meta import Json, copy_json
from addon_framework.api.names import VALUES_ANNOTATION
from addon_framework.hub.addons.images import mirrored
from addon_framework.plugins import DEFAULT_INSTALL_NAMESPACE, AddonDescription

_CA_DIR, _CA_FILE = "/managed/proxy-ca", "ca-bundle.crt"
POD_KINDS = ("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job")


class BadValues(ValueError):
    """The values annotation is not what it must be."""


def render_values(cluster: Json, addon: Json, namespace: str, configs: Iterable[Json]) -> dict[str, Any]:
    """The `values` of `addon_manifests`: users' variables first, the built-in ones on top."""
    values: dict[str, Any] = {}
    annotation = (addon["metadata"].get("annotations") or {}).get(VALUES_ANNOTATION)
    if annotation:
        try:
            parsed = json.loads(annotation)
        except ValueError as error:
            raise BadValues(f"annotation {VALUES_ANNOTATION} is not JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise BadValues(f"annotation {VALUES_ANNOTATION} must be a JSON object")
        values.update(parsed)
    for config in configs:
        for variable in (config.get("spec") or {}).get("customizedVariables") or []:
            values[variable["name"]] = variable.get("value", "")
    name = addon["metadata"]["name"]
    values["cluster_name"] = cluster["metadata"]["name"]
    values["addon_name"] = name
    values["install_namespace"] = namespace
    values["hub_kubeconfig_secret"] = f"{name}-hub-kubeconfig"
    return values


def install_namespace(description: AddonDescription, configs: Iterable[Json]) -> str:
    """Where the agent lives: an AddOnDeploymentConfig may move it from where the add-on says.

    The API fills in agentInstallNamespace when the user did not, so the default means "not said"; except
    where all manifests move, as those of templates do: so has OCM it.
    """
    for config in configs:
        asked = (config.get("spec") or {}).get("agentInstallNamespace")
        if asked and (description.relocatable or asked != DEFAULT_INSTALL_NAMESPACE):
            return str(asked)
    return description.install_namespace


def moves(description: AddonDescription, configs: Iterable[Json]) -> bool:
    """Whether the manifests go to the install namespace whatever they say: "" keeps them where they are."""
    asked = [(config.get("spec") or {}).get("agentInstallNamespace") for config in configs]
    return description.relocatable and any(asked)


def relocate(manifests: Sequence[Json], namespace: str) -> list[Json]:
    """Move everything namespaced, what binds it, and the Namespace itself, as OCM does for templates."""
    result = [copy_json(obj) for obj in manifests]
    for obj in result:
        metadata = obj.setdefault("metadata", {})
        if metadata.get("namespace"):
            metadata["namespace"] = namespace
        if obj.get("kind") == "Namespace":
            metadata["name"] = namespace
        elif obj.get("kind") in ("RoleBinding", "ClusterRoleBinding"):
            for subject in obj.get("subjects") or []:
                if subject.get("kind") == "ServiceAccount":
                    subject["namespace"] = namespace
    return result


def decorate(
    manifests: Sequence[Json], configs: Iterable[Json], *, name: str, mirrors: Sequence[Json] = ()
) -> list[Json]:
    """Apply AddOnDeploymentConfigs to the workloads: node placement, image mirrors, proxy, resources.

    `mirrors` are the cluster's, for images of which no configuration knows.
    """
    result = [copy_json(obj) for obj in manifests]
    specs = [config.get("spec") or {} for config in configs]
    registries = [registry for spec in specs for registry in spec.get("registries") or []]
    bundles: dict[str, Json] = {}
    for obj in result:
        pod = _pod_spec(obj)
        if pod is None:
            continue
        _mirrors(pod, registries, mirrors)
        for spec in specs:
            proxy = spec.get("proxyConfig") or {}
            _node_placement(pod, spec.get("nodePlacement") or {})
            _proxy(pod, proxy)
            _resources(obj, pod, spec.get("resourceRequirements") or [])
            if proxy.get("caBundle"):
                namespace = obj["metadata"].get("namespace", "")
                bundles[namespace] = _proxy_authority(pod, name, namespace, proxy["caBundle"])
    return [*result, *bundles.values()]


def _pod_spec(obj: Json) -> Json | None:
    if obj.get("kind") not in POD_KINDS:
        return None
    pod: Json | None = ((obj.get("spec") or {}).get("template") or {}).get("spec")
    return pod


def _containers(pod: Json) -> list[Json]:
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def _node_placement(pod: Json, placement: Json) -> None:
    if placement.get("nodeSelector"):
        pod["nodeSelector"] = placement["nodeSelector"]
    if placement.get("tolerations"):
        pod["tolerations"] = placement["tolerations"]


def _mirrors(pod: Json, *tables: Sequence[Json]) -> None:
    for container in _containers(pod):
        if container.get("image"):
            container["image"] = mirrored(container["image"], *tables)


def _proxy(pod: Json, proxy: Json) -> None:
    fields = {"httpProxy": "HTTP_PROXY", "httpsProxy": "HTTPS_PROXY", "noProxy": "NO_PROXY"}
    wanted = {
        spelling: proxy[field]
        for field, variable in fields.items()
        if proxy.get(field)
        for spelling in (variable, variable.lower())  # programs differ in which one they read
    }
    if wanted:
        _set_env(pod, wanted)


def _set_env(pod: Json, wanted: dict[str, str]) -> None:
    for container in _containers(pod):
        env = [e for e in container.get("env") or [] if e["name"] not in wanted]
        container["env"] = env + [{"name": name, "value": value} for name, value in wanted.items()]


def _proxy_authority(pod: Json, name: str, namespace: str, bundle: str) -> Json:
    """Mount the proxy's CA bundle as OCM does, and return the ConfigMap that has it."""
    try:
        text = base64.b64decode(bundle, validate=True).decode()
    except ValueError as error:
        raise BadValues(f"proxyConfig.caBundle is not base64 of PEM text: {error}") from error
    metadata = {"name": f"{name}-proxy-ca", "namespace": namespace}
    _set_env(pod, {"CA_BUNDLE_FILE_PATH": f"{_CA_DIR}/{_CA_FILE}"})
    mount = {"name": "proxy-ca-bundle", "mountPath": _CA_DIR}
    for container in _containers(pod):
        container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]
    volume = {"name": mount["name"], "configMap": {"name": metadata["name"]}}
    pod["volumes"] = [*(pod.get("volumes") or []), volume]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {_CA_FILE: text}}


def _resources(obj: Json, pod: Json, requirements: Sequence[Json]) -> None:
    workload = f"{obj['kind'].lower()}s", obj["metadata"]["name"]
    for container in _containers(pod):
        for requirement in requirements:  # a later match wins
            parts = requirement.get("containerID", "").split(":")
            if len(parts) == 3 and all(
                wanted in ("*", have)
                for wanted, have in zip(parts, (*workload, container["name"]), strict=True)
            ):
                container["resources"] = requirement.get("resources") or {}
