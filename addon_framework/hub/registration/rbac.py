"""What a cluster's agents may do on the hub: OCM's roles and bindings, by its names. Pure."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.names import (
    ADDON_GROUP,
    CLUSTER_GROUP,
    CLUSTER_NAME_LABEL,
    CLUSTER_SUBJECT_PREFIX,
    MANAGED_CLUSTERS_GROUP,
    REGISTER_GROUP,
    WORK_FINALIZER,
    WORK_GROUP,
)

RBAC = "rbac.authorization.k8s.io"
REGISTRATION_ROLE = "open-cluster-management:managedcluster:registration"
WORK_ROLE = "open-cluster-management:managedcluster:work"
RESERVED_NAME = MANAGED_CLUSTERS_GROUP.removeprefix(CLUSTER_SUBJECT_PREFIX)  # its group is that of all


def cluster_group(cluster: str) -> str:
    """The group of a cluster's own agents."""
    return f"{CLUSTER_SUBJECT_PREFIX}{cluster}"


def cluster_role_name(cluster: str) -> str:
    """The ClusterRole and ClusterRoleBinding of one cluster."""
    return f"open-cluster-management:managedcluster:{cluster}"


def rule(groups: list[str], resources: list[str], verbs: list[str], names: list[str] | None = None) -> Json:
    """One RBAC policy rule."""
    result: Json = {"apiGroups": groups, "resources": resources, "verbs": verbs}
    if names:
        result["resourceNames"] = names
    return result


def common_roles() -> list[Json]:
    """The two ClusterRoles that every cluster's bindings refer to."""
    registration = [
        rule(["coordination.k8s.io"], ["leases"], ["get", "list", "watch", "update"]),
        rule([ADDON_GROUP], ["managedclusteraddons"], ["get", "list", "watch"]),
        rule([ADDON_GROUP], ["managedclusteraddons/status"], ["patch", "update"]),
        rule(["events.k8s.io"], ["events"], ["create"]),
    ]
    work = [
        rule(["", "events.k8s.io"], ["events"], ["create", "patch", "update"]),
        rule([WORK_GROUP], ["manifestworks"], ["get", "list", "watch", "update", "patch"]),
        rule([WORK_GROUP], ["manifestworks/status"], ["patch", "update"]),
    ]
    return [
        _object("ClusterRole", REGISTRATION_ROLE, "", rules=registration),
        _object("ClusterRole", WORK_ROLE, "", rules=work),
    ]


def namespace(cluster: str) -> Json:
    """The cluster namespace. It is kept when the cluster leaves."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": cluster, "labels": {CLUSTER_NAME_LABEL: cluster}},
    }


def cluster_role(cluster: str, accepted: bool) -> Json:
    """Cluster-wide rights: its own ManagedCluster, and its certificate; when denied, reading the former."""
    own = [cluster]
    if not accepted:
        rules = [rule([CLUSTER_GROUP], ["managedclusters"], ["get", "list", "watch"], own)]
    else:
        rules = [
            rule(
                ["certificates.k8s.io"],
                ["certificatesigningrequests"],
                ["create", "get", "list", "watch"],
            ),
            rule([REGISTER_GROUP], ["managedclusters/clientcertificates"], ["renew"]),
            rule([CLUSTER_GROUP], ["managedclusters"], ["get", "list", "update", "watch"], own),
            rule([CLUSTER_GROUP], ["managedclusters/status"], ["patch", "update"], own),
        ]
    return _object("ClusterRole", cluster_role_name(cluster), cluster, rules=rules)


def cluster_role_binding(cluster: str) -> Json:
    """Binds the cluster's own ClusterRole to its group."""
    return _object(
        "ClusterRoleBinding",
        cluster_role_name(cluster),
        cluster,
        roleRef=_role_ref(cluster_role_name(cluster)),
        subjects=[_group(cluster)],
    )


def role_bindings(cluster: str) -> list[Json]:
    """Bindings in the cluster namespace; by its finalizer the work binding outlasts the works."""
    registration = _object(
        "RoleBinding",
        f"{cluster_role_name(cluster)}:registration",
        cluster,
        namespace=cluster,
        roleRef=_role_ref(REGISTRATION_ROLE),
        subjects=[_group(cluster)],
    )
    work = _object(
        "RoleBinding",
        f"{cluster_role_name(cluster)}:work",
        cluster,
        namespace=cluster,
        roleRef=_role_ref(WORK_ROLE),
        subjects=[_group(cluster)],
    )
    work["metadata"]["finalizers"] = [WORK_FINALIZER]
    return [registration, work]


def _object(kind: str, name: str, cluster: str, namespace: str = "", **fields: Any) -> Json:
    metadata: Json = {"name": name, "labels": {CLUSTER_NAME_LABEL: cluster}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, **fields}


def _role_ref(name: str) -> Json:
    return {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}


def _group(cluster: str) -> Json:
    return {"apiGroup": RBAC, "kind": "Group", "name": cluster_group(cluster)}
