"""Defaults and validation of the built-in kinds: what their schemas cannot say."""

from __future__ import annotations

from collections.abc import Callable

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, builtin_schema, names
from addon_framework.local.apiserver.validation import (
    cluster,
    config,
    definitions,
    pods,
    policies,
    rbac,
    services,
    storage,
    webhooks,
    workloads,
)
from addon_framework.local.apiserver.validation.defaults import default_builtin
from addon_framework.local.apiserver.validation.metadata import NameCheck, validate_metadata

__all__ = ["default_builtin", "validate_builtin", "validate_metadata"]

_ADMISSION = "admissionregistration.k8s.io"
_RBAC = "rbac.authorization.k8s.io"
_CHECKS: dict[tuple[str, str], Callable[[Json, Json | None], list[Cause]]] = {
    ("", "Pod"): pods.validate_pod,
    ("", "Service"): services.validate_service,
    ("", "Secret"): config.validate_secret,
    ("", "ConfigMap"): config.validate_config_map,
    ("", "PersistentVolume"): storage.validate_persistent_volume,
    ("", "PersistentVolumeClaim"): storage.validate_claim,
    ("", "Event"): cluster.validate_event,
    ("", "Namespace"): cluster.validate_namespace,
    ("", "Node"): cluster.validate_node,
    ("apps", "Deployment"): workloads.validate_deployment,
    ("apps", "ReplicaSet"): workloads.validate_replica_set,
    ("apps", "DaemonSet"): workloads.validate_daemon_set,
    ("apps", "StatefulSet"): workloads.validate_stateful_set,
    ("batch", "Job"): workloads.validate_job,
    ("batch", "CronJob"): workloads.validate_cron_job,
    (_RBAC, "Role"): rbac.validate_role,
    (_RBAC, "ClusterRole"): rbac.validate_cluster_role,
    (_RBAC, "RoleBinding"): rbac.validate_role_binding,
    (_RBAC, "ClusterRoleBinding"): rbac.validate_cluster_role_binding,
    ("coordination.k8s.io", "Lease"): cluster.validate_lease,
    ("certificates.k8s.io", "CertificateSigningRequest"): cluster.validate_certificate_request,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definitions.validate_definition,
    ("discovery.k8s.io", "EndpointSlice"): services.validate_endpoint_slice,
    (_ADMISSION, "MutatingWebhookConfiguration"): webhooks.validate_webhooks,
    (_ADMISSION, "ValidatingWebhookConfiguration"): webhooks.validate_webhooks,
    (_ADMISSION, "ValidatingAdmissionPolicy"): policies.validate_policy,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): policies.validate_policy_binding,
    ("storage.k8s.io", "StorageClass"): storage.validate_storage_class,
}
_NAMES: dict[tuple[str, str], NameCheck] = {
    ("", "Namespace"): names.label,
    ("", "Service"): names.label,
    ("", "Event"): names.path_segment,
    ("policy", "PodDisruptionBudget"): names.path_segment,
    ("certificates.k8s.io", "CertificateSigningRequest"): names.path_segment,
    (_RBAC, "Role"): names.path_segment,
    (_RBAC, "ClusterRole"): names.path_segment,
    (_RBAC, "RoleBinding"): names.path_segment,
    (_RBAC, "ClusterRoleBinding"): names.path_segment,
}


def validate_builtin(obj: Json, old: Json | None) -> list[Cause]:
    """Why the server would refuse this object, metadata included; required fields come from its schema.

    Of a custom resource it judges metadata only.
    """
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    key = (group, str(obj.get("kind", "")))
    builtin = builtin_schema(group, version, key[1]) is not None
    causes = validate_metadata(obj, old, name_check=_NAMES.get(key, names.subdomain), builtin=builtin)
    check = _CHECKS.get(key)
    return causes + check(obj, old) if check is not None else causes
