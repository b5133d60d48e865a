"""Names that OCM gives to labels, annotations, finalizers and taints. They are the wire: one place."""

from __future__ import annotations

CLUSTER_GROUP = "cluster.open-cluster-management.io"
ADDON_GROUP = "addon.open-cluster-management.io"
WORK_GROUP = "work.open-cluster-management.io"
REGISTER_GROUP = "register.open-cluster-management.io"

CLUSTER_NAME_LABEL = "open-cluster-management.io/cluster-name"
CLUSTER_SET_LABEL = f"{CLUSTER_GROUP}/clusterset"
PLACEMENT_LABEL = f"{CLUSTER_GROUP}/placement"
DECISION_GROUP_INDEX_LABEL = f"{CLUSTER_GROUP}/decision-group-index"
DECISION_GROUP_NAME_LABEL = f"{CLUSTER_GROUP}/decision-group-name"
ADDON_NAME_LABEL = "open-cluster-management.io/addon-name"
ADDON_NAMESPACE_LABEL = "open-cluster-management.io/addon-namespace"
FEATURE_LABEL_PREFIX = "feature.open-cluster-management.io/addon-"

AUTO_ACCEPTED_ANNOTATION = "open-cluster-management.io/automatically-accepted-on"
SCHEDULING_DISABLED_ANNOTATION = f"{CLUSTER_GROUP}/experimental-scheduling-disable"
SET_AUTOUPDATE_ANNOTATION = f"{CLUSTER_GROUP}/autoupdate"
LIFECYCLE_ANNOTATION = f"{ADDON_GROUP}/lifecycle"
VALUES_ANNOTATION = f"{ADDON_GROUP}/values"
HOSTING_CLUSTER_ANNOTATION = f"{ADDON_GROUP}/hosting-cluster-name"
DELETION_ORPHAN_ANNOTATION = f"{ADDON_GROUP}/deletion-orphan"
CONFIG_SPEC_HASH_ANNOTATION = "open-cluster-management.io/config-spec-hash"
PRE_DELETE_DEADLINE_ANNOTATION = "addon.boundaryless.io/pre-delete-deadline"  # ours: 90s, 10m, never
CLEANUP_PRIORITY_ANNOTATION = "open-cluster-management.io/cleanup-priority"

CLUSTER_CLEANUP_FINALIZER = f"{CLUSTER_GROUP}/api-resource-cleanup"
WORK_FINALIZER = f"{CLUSTER_GROUP}/manifest-work-cleanup"

UNAVAILABLE_TAINT = f"{CLUSTER_GROUP}/unavailable"
UNREACHABLE_TAINT = f"{CLUSTER_GROUP}/unreachable"

CONDITION_AVAILABLE = "ManagedClusterConditionAvailable"
CONDITION_ACCEPTED = "HubAcceptedManagedCluster"
CONDITION_JOINED = "ManagedClusterJoined"
CONDITION_TOKENS = "TokenInfrastructureReady"  # of an add-on
CONDITION_CLOCK = "ManagedClusterConditionClockSynced"

CLUSTER_LEASE = "managed-cluster-lease"
CLUSTER_SUBJECT_PREFIX = "system:open-cluster-management:"
MANAGED_CLUSTERS_GROUP = "system:open-cluster-management:managed-clusters"
