"""Defaults of built-in kinds, which Kubernetes keeps in Go and not in its schemas."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.validation.poddefaults import default_pod_spec, default_template
from addon_framework.local.apiserver.validation.policies import default_policy, default_policy_binding
from addon_framework.local.apiserver.validation.webhooks import default_webhooks

_RBAC = "rbac.authorization.k8s.io"


def default_builtin(obj: Json) -> None:
    """Fill in, in place, what the server fills in for this kind; anything unknown stays as it is."""
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    fill = _DEFAULTS.get((group, str(obj.get("kind", ""))))
    if fill is not None:
        fill(obj)


def _spec(obj: Json) -> Json:
    spec: Json = obj.setdefault("spec", {}) if isinstance(obj.get("spec", {}), dict) else {}
    return spec


def fill(target: Json, **values: Any) -> None:
    """Set what is absent or null."""
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _pod(obj: Json) -> None:
    spec = _spec(obj)
    default_pod_spec(spec)
    fill(spec, enableServiceLinks=True)
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container["resources"]
        for name, amount in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, amount)
    status = obj.setdefault("status", {})
    fill(status, phase="Pending")


def _labels_from_template(obj: Json) -> None:
    meta = obj.setdefault("metadata", {})
    labels = ((_spec(obj).get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not meta.get("labels"):
        meta["labels"] = dict(labels)


def _deployment(obj: Json) -> None:
    spec = _spec(obj)
    default_template(spec.get("template"))
    fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    strategy = spec["strategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        fill(strategy, rollingUpdate={})
        fill(strategy["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")


def _replica_set(obj: Json) -> None:
    spec = _spec(obj)
    default_template(spec.setdefault("template", {}))
    _labels_from_template(obj)
    fill(spec, replicas=1)


def _daemon_set(obj: Json) -> None:
    spec = _spec(obj)
    default_template(spec.get("template"))
    fill(spec, revisionHistoryLimit=10, updateStrategy={})
    strategy = spec["updateStrategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        fill(strategy, rollingUpdate={})
        fill(strategy["rollingUpdate"], maxUnavailable=1, maxSurge=0)


def _stateful_set(obj: Json) -> None:
    spec = _spec(obj)
    default_template(spec.get("template"))
    fill(spec, replicas=1, revisionHistoryLimit=10, updateStrategy={}, serviceName="")
    fill(spec, persistentVolumeClaimRetentionPolicy={})
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    fill(spec["persistentVolumeClaimRetentionPolicy"], whenDeleted="Retain", whenScaled="Retain")
    strategy = spec["updateStrategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        fill(strategy, rollingUpdate={})
        fill(strategy["rollingUpdate"], partition=0)
    for claim in spec.get("volumeClaimTemplates") or ():
        fill(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        _claim(claim)


def _job(obj: Json) -> None:
    spec = _spec(obj)
    default_template(spec.get("template"))
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    replacement = "Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed"
    fill(
        spec,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy=replacement,
        manualSelector=False,
    )
    _job_selector(obj, spec)
    _labels_from_template(obj)


def _job_selector(obj: Json, spec: Json) -> None:
    """A Job finds its pods by its own uid, so that no two Jobs ever share pods."""
    uid, name = obj.get("metadata", {}).get("uid"), obj.get("metadata", {}).get("name", "")
    template = spec.get("template")
    if spec["manualSelector"] or spec.get("selector") or not uid or not isinstance(template, dict):
        return
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    for prefix in ("batch.kubernetes.io/", ""):
        labels[f"{prefix}controller-uid"] = uid
        labels[f"{prefix}job-name"] = name
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def _cron_job(obj: Json) -> None:
    spec = _spec(obj)
    default_template(spec.setdefault("jobTemplate", {}).setdefault("spec", {}).setdefault("template", {}))
    fill(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )


def _service(obj: Json) -> None:
    spec = _spec(obj)
    kind = spec.get("type") or "ClusterIP"
    spec["type"] = kind
    fill(spec, sessionAffinity="None")
    if spec["sessionAffinity"] == "ClientIP":
        fill(spec, sessionAffinityConfig={"clientIP": {"timeoutSeconds": 10800}})
    for port in spec.get("ports") or ():
        fill(port, protocol="TCP")
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port.get("port", 0)
    if kind in ("NodePort", "LoadBalancer"):
        fill(spec, externalTrafficPolicy="Cluster")
    if kind == "LoadBalancer":
        fill(spec, allocateLoadBalancerNodePorts=True)
    if kind != "ExternalName":
        fill(spec, internalTrafficPolicy="Cluster")
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _secret(obj: Json) -> None:
    if not obj.get("type"):
        obj["type"] = "Opaque"
    plain = obj.pop("stringData", None)
    if isinstance(plain, dict):
        data = obj.get("data")
        obj["data"] = data = data if isinstance(data, dict) else {}
        for key, value in plain.items():
            data[key] = base64.b64encode(str(value).encode()).decode()


def _persistent_volume(obj: Json) -> None:
    spec = _spec(obj)
    fill(spec, persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")
    if isinstance(spec.get("hostPath"), dict):
        fill(spec["hostPath"], type="")
    fill(obj.setdefault("status", {}), phase="Pending")


def _claim(obj: Json) -> None:
    fill(_spec(obj), volumeMode="Filesystem")
    fill(obj.setdefault("status", {}), phase="Pending")


def _namespace(obj: Json) -> None:
    meta, spec = obj.setdefault("metadata", {}), _spec(obj)
    if not meta.get("labels"):
        meta["labels"] = {}
    if meta.get("name"):
        meta["labels"]["kubernetes.io/metadata.name"] = meta["name"]
    if not meta.get("deletionTimestamp"):
        if not spec.get("finalizers"):
            spec["finalizers"] = ["kubernetes"]
        fill(obj.setdefault("status", {}), phase="Active")


def _binding(obj: Json) -> None:
    if isinstance(obj.get("roleRef"), dict) and not obj["roleRef"].get("apiGroup"):
        obj["roleRef"]["apiGroup"] = _RBAC
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = _RBAC


def _definition(obj: Json) -> None:
    spec = _spec(obj)
    names = spec.get("names")
    if isinstance(names, dict):
        kind = str(names.get("kind", ""))
        if not names.get("singular"):
            names["singular"] = kind.lower()
        if not names.get("listKind") and kind:
            names["listKind"] = f"{kind}List"
    fill(spec, conversion={"strategy": "None"})


def _storage_class(obj: Json) -> None:
    fill(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _endpoint_slice(obj: Json) -> None:
    for port in obj.get("ports") or ():
        fill(port, name="", protocol="TCP")


def _certificate_request(obj: Json) -> None:
    _spec(obj)
    obj.setdefault("status", {})


def _priority_class(obj: Json) -> None:
    fill(obj, preemptionPolicy="PreemptLowerPriority")


_DEFAULTS: dict[tuple[str, str], Callable[[Json], None]] = {
    ("", "Pod"): _pod,
    ("", "PodTemplate"): lambda obj: default_template(obj.get("template")),
    ("", "Service"): _service,
    ("", "Secret"): _secret,
    ("", "PersistentVolume"): _persistent_volume,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Namespace"): _namespace,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    (_RBAC, "RoleBinding"): _binding,
    (_RBAC, "ClusterRoleBinding"): _binding,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): default_webhooks,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): default_webhooks,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): default_policy,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): default_policy_binding,
    ("storage.k8s.io", "StorageClass"): _storage_class,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("certificates.k8s.io", "CertificateSigningRequest"): _certificate_request,
    ("scheduling.k8s.io", "PriorityClass"): _priority_class,
}
