"""The objects that run an add-on's agent on a spoke: what nearly every `addon_manifests` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT_IMAGE = "ghcr.io/boundaryless/agent"
CONTAINER = "agent"  # of the agent's pod, in which others may be put beside it
KUBECONFIG_DIR = "/managed/hub-kubeconfig"
MANAGED_KUBECONFIG_DIR = "/managed/managed-kubeconfig"
_ON_HOST = {"addon.open-cluster-management.io/hosted-manifest-location": "hosting"}

_LEASE_RULE = {
    "apiGroups": ["coordination.k8s.io"],
    "resources": ["leases"],
    "verbs": ["get", "create", "update", "patch"],
}


def agent_manifests(
    name: str,
    namespace: str,
    cluster_name: str,
    *,
    spoke_rules: Sequence[Mapping[str, Any]] = (),
    image: str = DEFAULT_IMAGE,
    env: Mapping[str, str | Mapping[str, Any]] | None = None,
    hub_access: bool = True,
    volumes: Sequence[Mapping[str, Any]] = (),
    volume_mounts: Sequence[Mapping[str, Any]] = (),
    security_context: Mapping[str, Any] | None = None,
    install_mode: str = "Default",
) -> list[dict[str, Any]]:
    """Return Namespace, ServiceAccount, RBAC and Deployment of one agent.

    The agent's rights on its cluster are `spoke_rules` plus its own Lease. Its pod waits for the secret
    `<name>-hub-kubeconfig` that the registration agent makes, unless it has no hub access. With the
    `install_mode` "Hosted" all of it is for the hosting cluster, and the pod waits for the secret
    `<name>-managed-kubeconfig` there, whose maker gives the agent its rights on the cluster it is for.
    """
    hosted = install_mode == "Hosted"
    account = f"{name}-agent"
    labels = {"app": account, "open-cluster-management.io/addon-name": name}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    known, own_volumes, own_mounts = _kubeconfigs(name, hub=hub_access, hosted=hosted)
    about = {"CLUSTER_NAME": cluster_name, "ADDON_NAME": name, "INSTALL_NAMESPACE": namespace}
    container = _container(name, image, {**about, **known, **(env or {})}, [*own_mounts, *volume_mounts])
    if security_context:
        container["securityContext"] = dict(security_context)
    pod: dict[str, Any] = {"serviceAccountName": account, "containers": [container]}
    if all_volumes := [dict(each) for each in (*own_volumes, *volumes)]:
        pod["volumes"] = all_volumes
    metadata = {"name": account, "namespace": namespace, "labels": labels}
    in_use = {"addon.open-cluster-management.io/namespace": "true"}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": in_use}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": dict(metadata)},
        *_role("Role", account, [_LEASE_RULE], subject, labels, namespace),
    ]
    if spoke_rules and not hosted:
        cluster_role = f"open-cluster-management:{name}:agent"
        objects += _role("ClusterRole", cluster_role, [dict(rule) for rule in spoke_rules], subject, labels)
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": account}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    objects.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": dict(metadata), "spec": spec})
    for obj in objects if hosted else ():
        obj["metadata"]["annotations"] = dict(_ON_HOST)
    return objects


def _kubeconfigs(
    name: str, *, hub: bool, hosted: bool
) -> tuple[dict[str, str], list[dict[str, Any]], list[dict[str, Any]]]:
    """Variables, volumes and mounts of the secrets by which an agent reaches its clusters."""
    clusters = [("hub", KUBECONFIG_DIR)] if hub else []
    if hosted:
        clusters.append(("managed", MANAGED_KUBECONFIG_DIR))
    variables = {f"{which.upper()}_KUBECONFIG": f"{path}/kubeconfig" for which, path in clusters}
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    for which, path in reversed(clusters):
        volume = f"{which}-kubeconfig"
        volumes.append({"name": volume, "secret": {"secretName": f"{name}-{volume}", "optional": False}})
        mounts.append({"name": volume, "mountPath": path, "readOnly": True})
    return variables, volumes, mounts


def _container(
    name: str,
    image: str,
    variables: Mapping[str, str | Mapping[str, Any]],
    mounts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "args": [name],
        "env": [
            {"name": key, ("value" if isinstance(value, str) else "valueFrom"): value}
            for key, value in variables.items()
        ],
    }
    if mounts:
        made["volumeMounts"] = [dict(mount) for mount in mounts]
    return made


def _role(
    kind: str,
    name: str,
    rules: list[dict[str, Any]],
    subject: dict[str, str],
    labels: dict[str, str],
    namespace: str = "",
) -> list[dict[str, Any]]:
    """Return a Role or ClusterRole and its binding to the subject."""
    metadata: dict[str, Any] = {"name": name, "labels": labels}
    if namespace:
        metadata["namespace"] = namespace
    api_version = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": api_version, "kind": kind, "metadata": metadata, "rules": rules},
        {
            "apiVersion": api_version,
            "kind": f"{kind}Binding",
            "metadata": dict(metadata),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [subject],
        },
    ]
