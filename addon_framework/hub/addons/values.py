"""What configuration does to manifests: values for rendering, and changes to every workload. Pure."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.names import VALUES_ANNOTATION
from addon_framework.plugins import DEFAULT_INSTALL_NAMESPACE, AddonDescription

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

    The API fills in agentInstallNamespace when the user did not, so the default means "not said".
    """
    for config in configs:
        asked = (config.get("spec") or {}).get("agentInstallNamespace")
        if asked and asked != DEFAULT_INSTALL_NAMESPACE:
            return str(asked)
    return description.install_namespace


def decorate(manifests: Sequence[Json], configs: Iterable[Json]) -> list[Json]:
    """Apply AddOnDeploymentConfigs to the workloads: node placement, image mirrors, proxy, resources."""
    result = [copy.deepcopy(obj) for obj in manifests]
    for config in configs:
        spec = config.get("spec") or {}
        for obj in result:
            pod = _pod_spec(obj)
            if pod is not None:
                _node_placement(pod, spec.get("nodePlacement") or {})
                _mirrors(pod, spec.get("registries") or [])
                _proxy(pod, spec.get("proxyConfig") or {})
                _resources(obj, pod, spec.get("resourceRequirements") or [])
    return result


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


def _mirrors(pod: Json, registries: Sequence[Json]) -> None:
    for container in _containers(pod):
        for registry in registries:
            source, image = registry.get("source", ""), container.get("image", "")
            if not source:
                container["image"] = f"{registry['mirror']}/{image.rpartition('/')[2]}"
            elif image == source or image.startswith(source.rstrip("/") + "/"):
                container["image"] = registry["mirror"].rstrip("/") + image[len(source.rstrip("/")) :]


def _proxy(pod: Json, proxy: Json) -> None:
    names = {"httpProxy": "HTTP_PROXY", "httpsProxy": "HTTPS_PROXY", "noProxy": "NO_PROXY"}
    wanted = {env: proxy[field] for field, env in names.items() if proxy.get(field)}
    for container in _containers(pod):
        env = [e for e in container.get("env") or [] if e["name"] not in wanted]
        if wanted:
            container["env"] = env + [{"name": name, "value": value} for name, value in wanted.items()]


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
