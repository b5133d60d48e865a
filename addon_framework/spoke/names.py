"""Names of what the agents keep on a spoke, as OCM has them."""

from __future__ import annotations

AGENT_NAMESPACE = "open-cluster-management-agent"
HUB_SECRET = "hub-kubeconfig-secret"
APPLIED_WORK_FINALIZER = "cluster.open-cluster-management.io/applied-manifest-work-cleanup"
SPOKE_ONLY_LABEL = "open-cluster-management.io/spoke-only"
OBJECT_HASH_ANNOTATION = "open-cluster-management.io/object-hash"
