"""The hub's own objects: namespaces, and the account with which a cluster may ask to join. Pure."""

from __future__ import annotations

from addon_framework.api.meta import Json
from addon_framework.api.names import CLUSTER_GROUP
from addon_framework.hub.registration.rbac import RBAC, rule

BOOTSTRAP_NAMESPACE = "open-cluster-management"
HUB_NAMESPACE = "open-cluster-management-hub"
BOOTSTRAP_ACCOUNT = "cluster-bootstrap"
BOOTSTRAP_GROUP = "system:bootstrappers:managedcluster"  # of bootstrap tokens, as clusteradm makes them
BOOTSTRAP_ROLE = "system:open-cluster-management:bootstrap"


def hub_objects() -> list[Json]:
    """Everything but CRDs and the roles of registration, in the order to apply it."""
    return [
        _namespace(BOOTSTRAP_NAMESPACE),
        _namespace(HUB_NAMESPACE),
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": BOOTSTRAP_ACCOUNT, "namespace": BOOTSTRAP_NAMESPACE},
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": BOOTSTRAP_ROLE},
            "rules": [
                rule(
                    ["certificates.k8s.io"],
                    ["certificatesigningrequests"],
                    ["create", "get", "list", "watch"],
                ),
                rule([CLUSTER_GROUP], ["managedclusters"], ["create", "get", "list", "watch"]),
                rule([CLUSTER_GROUP], ["managedclustersets/join"], ["create"]),
                rule([""], ["configmaps"], ["get"]),
            ],
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "cluster-bootstrap-sa"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": BOOTSTRAP_ROLE},
            "subjects": [
                {"kind": "ServiceAccount", "name": BOOTSTRAP_ACCOUNT, "namespace": BOOTSTRAP_NAMESPACE},
                {"apiGroup": RBAC, "kind": "Group", "name": BOOTSTRAP_GROUP},
            ],
        },
    ]


def _namespace(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
