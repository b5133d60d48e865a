"""What the bench creates on a hub."""

from __future__ import annotations

from typing import Any

from addon_framework.api.addon import AddOnDeploymentConfig, AddOnTemplate, ClusterManagementAddOn
from addon_framework.api.cluster import (
    AddOnPlacementScore,
    ManagedCluster,
    ManagedClusterSetBinding,
    Placement,
)
from addon_framework.api.core import NAMESPACES
from addon_framework.api.meta import Json, Resource
from addon_framework.hub.clustersets import GLOBAL_SET

ADDON, NAMESPACE, SCORE, LEVEL = "bench-agent", "bench", "usage", "LEVEL"
BUILT_IN = "resource-scorer"  # an add-on with code, here in every checkout


def obj(resource: Resource, name: str, namespace: str | None = None, **fields: Any) -> Json:
    """A wire object."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}


def cluster_name(number: int) -> str:
    """The n-th cluster."""
    return f"c{number:05}"


def cluster(number: int) -> Json:
    """A ManagedCluster that a person has accepted."""
    spec = {"hubAcceptsClient": True, "leaseDurationSeconds": 60}
    return obj(ManagedCluster.RESOURCE, cluster_name(number), spec=spec)


def score_status(value: int) -> Json:
    """What a scorer says."""
    return {"scores": [{"name": "gpu", "value": value}]}


def score(number: int) -> Json:
    """A cluster's AddOnPlacementScore, without its status."""
    return obj(AddOnPlacementScore.RESOURCE, SCORE, cluster_name(number))


def placement(name: str, count: int | None = None) -> Json:
    """All clusters, or the best few by their score."""
    spec: Json = {"clusterSets": [GLOBAL_SET]}
    if count is not None:
        by_score = {"type": "AddOn", "addOn": {"resourceName": SCORE, "scoreName": "gpu"}}
        policy = {"mode": "Exact", "configurations": [{"scoreCoordinate": by_score, "weight": 1}]}
        spec |= {"numberOfClusters": count, "prioritizerPolicy": policy}
    return obj(Placement.RESOURCE, name, NAMESPACE, spec=spec)


def surroundings() -> list[tuple[Resource, Json]]:
    """What the placements and the add-on need: a namespace, its binding, template and configuration."""
    binding = obj(ManagedClusterSetBinding.RESOURCE, GLOBAL_SET, NAMESPACE, spec={"clusterSet": GLOBAL_SET})
    return [
        (NAMESPACES, obj(NAMESPACES, NAMESPACE)),
        (ManagedClusterSetBinding.RESOURCE, binding),
        (AddOnTemplate.RESOURCE, template()),
        (AddOnDeploymentConfig.RESOURCE, config("1")),
    ]


def config(level: str) -> Json:
    """The add-on's configuration."""
    spec = {"customizedVariables": [{"name": LEVEL, "value": level}]}
    return obj(AddOnDeploymentConfig.RESOURCE, ADDON, NAMESPACE, spec=spec)


def addon() -> Json:
    """The add-on, by its template and its configuration."""
    group = AddOnDeploymentConfig.RESOURCE.group
    supported = [
        {"group": group, "resource": "addontemplates", "defaultConfig": {"name": ADDON}},
        {
            "group": group,
            "resource": "addondeploymentconfigs",
            "defaultConfig": {"name": ADDON, "namespace": NAMESPACE},
        },
    ]
    return installed(ADDON, supportedConfigs=supported)


def installed(name: str, **spec: Any) -> Json:
    """An add-on on all clusters that the placement `all` has chosen."""
    strategy = {"type": "Placements", "placements": [{"name": "all", "namespace": NAMESPACE}]}
    return obj(ClusterManagementAddOn.RESOURCE, name, spec={"installStrategy": strategy, **spec})


def template() -> Json:
    """An agent as they are: a ServiceAccount, its rights, a Deployment, an identity on the hub."""
    name, namespace = ADDON, "open-cluster-management-agent-addon"
    labels = {"app": name}
    container = {
        "name": "agent",
        "image": "registry.example/agent:1",
        "args": ["--level={{LEVEL}}", "--cluster={{CLUSTER_NAME}}"],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    pod = {"serviceAccountName": name, "containers": [container]}
    deployment = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    manifests = [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "view"},
            "subjects": [subject],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": deployment,
        },
    ]
    spec = {
        "addonName": name,
        "agentSpec": {"workload": {"manifests": manifests}},
        "registration": [{"type": "KubeClient", "kubeClient": {}}],
    }
    return obj(AddOnTemplate.RESOURCE, name, spec=spec)
