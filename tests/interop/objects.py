"""What users write in the scenario, and what runs on the spoke."""

from __future__ import annotations

from typing import Any

from addon_framework.api.addon import AddOnDeploymentConfig, AddOnTemplate, ClusterManagementAddOn
from addon_framework.api.cluster import ManagedClusterSetBinding, Placement
from addon_framework.api.meta import Json, Resource
from addon_framework.api.work import ManifestWork, ManifestWorkReplicaSet

NAMESPACE = "fleet"  # of users, on the hub
PLACEMENT = "all"
TEMPLATE, PLUGIN = "interop-template", "interop-plugin"
INSTALL_NAMESPACE = "open-cluster-management-agent-addon"
GROUP = "addon.open-cluster-management.io"
HUB_ROLE = "interop-agent"


def made(resource: Resource, name: str, namespace: str = "", /, **rest: Any) -> Json:
    """An object of a kind."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **rest}


def binding() -> Json:
    """The user's namespace may choose among all clusters."""
    return made(ManagedClusterSetBinding.RESOURCE, "global", NAMESPACE, spec={"clusterSet": "global"})


def placement(**spec: Any) -> Json:
    """One that selects by a label, so that a label moves it."""
    selector = {"requiredClusterSelector": {"labelSelector": {"matchLabels": {"env": "interop"}}}}
    return made(
        Placement.RESOURCE, PLACEMENT, NAMESPACE, spec={"clusterSets": ["global"], "predicates": [selector]}
    )


def deployment(name: str, namespace: str, **pod: Any) -> Json:
    """A workload; the test says for the node how it does."""
    labels = {"app": name}
    spec = {"containers": [{"name": "main", "image": "busybox", "command": ["sleep", "3600"]}], **pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def config_map(name: str, namespace: str, **data: str) -> Json:
    """Data that a test can look at."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def namespace(name: str, **annotations: str) -> Json:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}}


def template(name: str = TEMPLATE) -> Json:
    """An add-on without code, for either add-on manager."""
    manifests = [
        namespace(INSTALL_NAMESPACE, **{f"{GROUP}/deletion-orphan": ""}),
        deployment(f"{name}-agent", INSTALL_NAMESPACE),
        config_map(f"{name}-says", INSTALL_NAMESPACE, greeting="{{GREETING}}", cluster="{{CLUSTER_NAME}}"),
    ]
    permission = {"type": "CurrentCluster", "currentCluster": {"clusterRoleName": HUB_ROLE}}
    registration = [{"type": "KubeClient", "kubeClient": {"hubPermissions": [permission]}}]
    spec = {
        "addonName": name,
        "agentSpec": {"workload": {"manifests": manifests}},
        "registration": registration,
    }
    return made(AddOnTemplate.RESOURCE, name, spec=spec)


def hub_role() -> Json:
    """What the template's agent may do in its cluster's namespace on the hub."""
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create"]}]
    metadata = {"name": HUB_ROLE}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": rules,
    }


def management_addon(name: str, *, by_template: bool) -> Json:
    """Installed by the placement, configured by the AddOnDeploymentConfig of its name."""
    placements = [{"namespace": NAMESPACE, "name": PLACEMENT}]
    config = {"namespace": NAMESPACE, "name": name}
    supported: list[Json] = [{"group": GROUP, "resource": "addondeploymentconfigs", "defaultConfig": config}]
    if by_template:
        supported.append({"group": GROUP, "resource": "addontemplates", "defaultConfig": {"name": name}})
    return made(
        ClusterManagementAddOn.RESOURCE,
        name,
        spec={
            "addOnMeta": {"displayName": name, "description": "Tests who works with whom"},
            "supportedConfigs": supported,
            "installStrategy": {"type": "Placements", "placements": placements},
        },
    )


def addon_config(name: str, greeting: str) -> Json:
    """How the add-on greets."""
    variables = [{"name": "GREETING", "value": greeting}]
    return made(AddOnDeploymentConfig.RESOURCE, name, NAMESPACE, spec={"customizedVariables": variables})


def work(name: str, cluster: str) -> Json:
    """A work with a workload whose state comes back."""
    target = deployment(name, name)
    rules = [
        {"type": "WellKnownStatus"},
        {"type": "JSONPaths", "jsonPaths": [{"name": "wanted", "path": ".spec.replicas"}]},
    ]
    identifier = {"group": "apps", "resource": "deployments", "name": name, "namespace": name}
    spec = {
        "workload": {"manifests": [target, config_map(name, name, said="yes"), namespace(name)]},
        "manifestConfigs": [{"resourceIdentifier": identifier, "feedbackRules": rules}],
    }
    return made(ManifestWork.RESOURCE, name, cluster, spec=spec)


def replica_set(name: str, *, rules: bool) -> Json:
    """The same work for every cluster of the placement; with rules for those that need to be told."""
    progress = {
        "resourceIdentifier": {"group": "", "resource": "configmaps", "name": name, "namespace": name},
        "conditionRules": [
            {"condition": "Progressing", "type": "CEL", "celExpressions": ["!has(object.data)"]},
        ],
    }
    manifests = [namespace(name), config_map(name, name, said="yes")]
    return made(
        ManifestWorkReplicaSet.RESOURCE,
        name,
        NAMESPACE,
        spec={
            "manifestWorkTemplate": {
                "workload": {"manifests": manifests},
                "manifestConfigs": [progress] if rules else [],
            },
            "placementRefs": [{"name": PLACEMENT, "rolloutStrategy": {"type": "All"}}],
        },
    )
