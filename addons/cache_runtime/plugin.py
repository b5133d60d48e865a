"""Add-on `cache-runtime`: Fluid's Datasets, runtimes and DataLoads on every cluster, without Fluid."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from addon_framework.api.core import CLUSTERROLES, PODS, ROLEBINDINGS
from addon_framework.api.crd import load_crds
from addon_framework.api.data import GROUP, LOCAL_GROUP
from addon_framework.api.meta import Json
from addon_framework.api.names import DELETION_ORPHAN_ANNOTATION
from addon_framework.plugins import AddonDescription, AgentContext, Lease, agent_manifests, hookimpl
from addon_framework.plugins.manifests import CONTAINER, DEFAULT_IMAGE
from addons.cache_runtime.admission.names import (
    CONFIGURATION,
    EXEC_ROLE,
    MUTATING,
    PORT,
    RENEW_ROLE,
    ROLE,
    SERVICE,
    VALIDATING,
)

NAME = "cache-runtime"
_OWNER_ENV = "CACHE_RUNTIME_OWNER_UID"
_IP_ENV, _POD_ENV = "POD_IP", "POD_NAME"
_IMAGE = "IMAGE"  # of the agent, its workers and loaders: a variable of AddOnDeploymentConfig
# Of nodes, separated by commas: what Datasets, runtimes and backups may name. Else all but the system's.
_DIRECTORIES = "NODE_DIRECTORIES"
_ALL = ["get", "list", "watch", "create", "update", "patch", "delete"]
_READ = ["get", "list", "watch"]

SPOKE_RULES: list[Json] = [
    # Finalizers, owners, labels and status; operations are deleted after their time to live.
    {"apiGroups": [GROUP, LOCAL_GROUP], "resources": ["*"], "verbs": [*_READ, "update", "patch", "delete"]},
    # Of Datasets that refer to another, and copies beside a slow cache.
    {"apiGroups": [GROUP], "resources": ["thinruntimes", "datasets", "dataloads"], "verbs": ["create"]},
    {"apiGroups": [LOCAL_GROUP], "resources": ["localruntimes"], "verbs": ["create"]},
    {"apiGroups": ["apps"], "resources": ["daemonsets", "statefulsets"], "verbs": _ALL},
    {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": _ALL},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": _ALL},
    {
        "apiGroups": [""],
        # Secrets: copies of the hub's beside a Dataset, and the values that a source is counted with.
        "resources": ["configmaps", "persistentvolumes", "persistentvolumeclaims", "secrets", "services"],
        "verbs": _ALL,
    },
    {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": _READ},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": [*_READ, "patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    *(
        {"apiGroups": [resource.group], "resources": [resource.plural], **which}
        for resource in (MUTATING, VALIDATING)
        # What does not exist has no name that a rule could go by.
        for which in ({"verbs": ["create"]}, {"verbs": ["get", "patch"], "resourceNames": [CONFIGURATION]})
    ),
    {
        "apiGroups": [CLUSTERROLES.group],
        "resources": [CLUSTERROLES.plural],
        "verbs": ["get"],
        "resourceNames": [ROLE],
    },
    # Some backends mount sources and ask for a cache's state by commands in their own pods, and clients that
    # nobody uses are replaced when what they are made from changes. In a namespace that has such a cache the
    # agent binds these roles to itself.
    {
        "apiGroups": [CLUSTERROLES.group],
        "resources": [CLUSTERROLES.plural],
        "verbs": ["bind"],
        "resourceNames": [EXEC_ROLE, RENEW_ROLE],
    },
    {"apiGroups": [ROLEBINDINGS.group], "resources": [ROLEBINDINGS.plural], "verbs": ["create", "patch"]},
]


class CacheRuntime:
    """The hooks."""

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        """Healthy as long as its agent renews its lease."""
        return AddonDescription(
            name=NAME,
            display_name="Cache runtime",
            description="Caches data on the nodes that need it: Datasets, runtimes, DataLoads",
            health=Lease(),
        )

    @hookimpl
    def addon_manifests(self, cluster: Json, addon: Json, values: Mapping[str, Any]) -> Sequence[Json]:
        """The kinds, and the agent."""
        image = str(values.get(_IMAGE) or DEFAULT_IMAGE)
        agent = agent_manifests(
            NAME,
            values["install_namespace"],
            values["cluster_name"],
            spoke_rules=SPOKE_RULES,
            image=image,
            env={
                _POD_ENV: {"fieldRef": {"fieldPath": "metadata.name"}},
                _DIRECTORIES: str(values.get(_DIRECTORIES) or ""),
                _OWNER_ENV: (addon.get("metadata") or {}).get("uid", ""),
                _IP_ENV: {"fieldRef": {"fieldPath": "status.podIP"}},
            },
        )
        namespace = values["install_namespace"]
        roles = (
            _role(EXEC_ROLE, {"resources": ["pods/exec"], "verbs": ["get", "create"]}),
            _role(RENEW_ROLE, {"resources": ["pods"], "verbs": ["delete"]}),
        )
        kinds = [_staying(crd) for crd in data_crds()]
        return [*kinds, *agent, *roles, _webhook_service(namespace), _metrics_service(namespace)]

    @hookimpl
    def addon_hub_permissions(self, cluster_name: str) -> Sequence[Json]:
        """Its scores. Each Secret that it may read comes with a Role for exactly that Secret."""
        group = ["cluster.open-cluster-management.io"]
        verbs = ["get", "list", "watch", "create", "patch", "delete"]
        return [
            {"apiGroups": group, "resources": ["addonplacementscores"], "verbs": verbs},
            {"apiGroups": group, "resources": ["addonplacementscores/status"], "verbs": ["get", "patch"]},
        ]

    @hookimpl
    async def addon_agent(self, context: AgentContext) -> None:
        """In its pod on the spoke."""
        from addons.cache_runtime.admission.server import Address
        from addons.cache_runtime.agent.names import METRICS_PORT
        from addons.cache_runtime.agent.run import run_agent
        from runtimes.node_directories import NodeDirectories

        image, owner = os.environ.get(_IMAGE) or DEFAULT_IMAGE, os.environ.get(_OWNER_ENV, "")
        if name := os.environ.get(_POD_ENV):  # hubs before this agent say the image instead
            # Workers and loaders have the agent's image, from the registry that a mirror's table gave it.
            pod = await context.spoke.get(PODS, name, context.install_namespace)
            image = next(c["image"] for c in pod["spec"]["containers"] if c["name"] == CONTAINER)
        ip = os.environ[_IP_ENV]
        webhooks = Address.of_pod(ip, context.install_namespace)
        await run_agent(
            context,
            image=image,
            owner_uid=owner,
            webhooks=webhooks,
            metrics=(ip, METRICS_PORT),
            directories=NodeDirectories.of(os.environ.get(_DIRECTORIES, "")),
        )


def data_crds() -> list[Json]:
    """Datasets, runtimes, operations; the same on spokes and on a hub."""
    return [crd for crd in load_crds("spoke") if crd["spec"]["group"] in (GROUP, LOCAL_GROUP)]


def _staying(crd: Json) -> Json:
    """Kinds outlive the add-on: with them a cluster's own Datasets would go, and nobody would be left to take
    down what their finalizers stand for, so that neither would ever be gone."""
    metadata = crd["metadata"]
    annotations = {**(metadata.get("annotations") or {}), DELETION_ORPHAN_ANNOTATION: ""}
    return {**crd, "metadata": {**metadata, "annotations": annotations}}


def _role(name: str, rule: Json) -> Json:
    """Bound in namespaces only, and by the agent only."""
    return {
        "apiVersion": CLUSTERROLES.api_version,
        "kind": CLUSTERROLES.kind,
        "metadata": {"name": name, "labels": {"open-cluster-management.io/addon-name": NAME}},
        "rules": [{"apiGroups": [""], **rule}],
    }


def _webhook_service(namespace: str) -> Json:
    """Where the API server reaches the agent."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": namespace},
        "spec": {
            "selector": {"app": f"{NAME}-agent"},
            "ports": [{"name": "https", "port": 443, "targetPort": PORT, "protocol": "TCP"}],
        },
    }


def _metrics_service(namespace: str) -> Json:
    """Where a scrape finds the agent: by the annotations, or by a ServiceMonitor on the label."""
    # Imported here, because fleetadm --help loads this module.
    from addons.cache_runtime.agent.names import METRICS_PORT, METRICS_SERVICE

    port = str(METRICS_PORT)
    annotations = {"scrape": "true", "port": port, "path": "/metrics"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": METRICS_SERVICE,
            "namespace": namespace,
            "labels": {"app": f"{NAME}-agent"},
            "annotations": {f"prometheus.io/{name}": value for name, value in annotations.items()},
        },
        "spec": {
            "selector": {"app": f"{NAME}-agent"},
            "ports": [
                {"name": "metrics", "port": METRICS_PORT, "targetPort": METRICS_PORT, "protocol": "TCP"}
            ],
        },
    }
