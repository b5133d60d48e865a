"""Limits of fields that the OpenAPI documents do not tell, by type: kube-apiserver keeps them in Go.

A line says of a type's field, word by word: `ok` (may be absent although the documents require it), `req`
(not empty), `in=A|B` (one of), `is=A|B` (the same, worded as invalid), `min=`, `max=`, a format, `uniq` or
`uniq=key` (of a list's items). A word with a `*` judges the zero value of an absent field too, one with `[]`
the items of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import cause
from addon_framework.local.apiserver.schemas.cause import Cause
from addon_framework.local.apiserver.schemas.typechecks import CHECKS, Limit
from addon_framework.local.apiserver.schemas.words import FORMATS, OPERATORS, bound, one_of

_ID = "min=0 max=2147483647"
_MODE = "min=0 max=511"
_TABLE = f"""
core.v1.PodDNSConfig nameservers []ip
core.v1.HostAlias ip *ip
core.v1.HostAlias hostnames []dns
core.v1.PodReadinessGate conditionType *qualified
core.v1.PodSecurityContext runAsUser {_ID}
core.v1.PodSecurityContext runAsGroup {_ID}
core.v1.PodSecurityContext fsGroup {_ID}
core.v1.PodSecurityContext supplementalGroups []min=0 []max=2147483647
core.v1.PodSecurityContext sysctls uniq=name
core.v1.PodSecurityContext fsGroupChangePolicy in=Always|OnRootMismatch
core.v1.SecurityContext runAsUser {_ID}
core.v1.SecurityContext runAsGroup {_ID}
core.v1.SecurityContext procMount in=Default|Unmasked
core.v1.SeccompProfile type req in=Localhost|RuntimeDefault|Unconfined
core.v1.Sysctl value ok
core.v1.Sysctl name req sysctl
core.v1.TopologySpreadConstraint maxSkew *min=1
core.v1.TopologySpreadConstraint topologyKey req
core.v1.TopologySpreadConstraint whenUnsatisfiable *in=DoNotSchedule|ScheduleAnyway
core.v1.PreferredSchedulingTerm weight *min=1 max=100
core.v1.WeightedPodAffinityTerm weight *min=1 max=100
core.v1.PodAffinityTerm topologyKey req *qualified
core.v1.SecretKeySelector name *dns
core.v1.SecretKeySelector key req config_key
core.v1.ConfigMapKeySelector name *dns
core.v1.ConfigMapKeySelector key req config_key
core.v1.ConfigMapEnvSource name *req dns
core.v1.SecretEnvSource name *req dns
core.v1.ConfigMapProjection name *req
core.v1.SecretProjection name *req
core.v1.HTTPGetAction scheme in=HTTP|HTTPS
core.v1.HTTPGetAction port *port
core.v1.TCPSocketAction port *port
core.v1.ExecAction command *req
core.v1.HTTPHeader value ok
core.v1.HTTPHeader name ok
core.v1.Probe terminationGracePeriodSeconds min=1
core.v1.Container terminationMessagePolicy in=FallbackToLogsOnError|File|
core.v1.Container restartPolicy in=Always|Never|OnFailure
core.v1.KeyToPath mode {_MODE}
core.v1.ServiceAccountTokenProjection path ok
core.v1.DownwardAPIVolumeFile path req
core.v1.NFSVolumeSource path req *absolute
core.v1.CSIVolumeSource driver req driver
core.v1.CSIPersistentVolumeSource driver req driver
core.v1.CSIPersistentVolumeSource volumeHandle req
core.v1.PersistentVolumeSpec storageClassName name
core.v1.PersistentVolumeSpec volumeMode in=Block|Filesystem
core.v1.PersistentVolumeClaimSpec storageClassName name
core.v1.PersistentVolumeClaimSpec volumeMode in=Block|Filesystem
core.v1.ServicePort port *port
core.v1.ServicePort appProtocol qualified
core.v1.ServiceSpec internalTrafficPolicy in=Cluster|Local
core.v1.ServiceSpec externalTrafficPolicy in=Cluster|Local|
core.v1.ServiceSpec ipFamilyPolicy in=PreferDualStack|RequireDualStack|SingleStack
core.v1.ServiceSpec ipFamilies []in=IPv4|IPv6 uniq
core.v1.ServiceSpec externalName dns
core.v1.ServiceSpec loadBalancerClass qualified
core.v1.ClientIPConfig timeoutSeconds min=1 max=86400
meta.v1.LabelSelectorRequirement key *qualified
meta.v1.LabelSelectorRequirement values []value
meta.v1.LabelSelectorRequirement operator *is={OPERATORS}
meta.v1.OwnerReference apiVersion ok
meta.v1.OwnerReference kind ok
meta.v1.OwnerReference name ok
meta.v1.OwnerReference uid ok
apps.v1.DaemonSetSpec selector ok
apps.v1.StatefulSetSpec serviceName name
apps.v1.StatefulSetOrdinals start min=0
apps.v1.RollingUpdateStatefulSetStrategy partition min=0
apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy whenDeleted in=Delete|Retain|
apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy whenScaled in=Delete|Retain|
batch.v1.JobSpec completionMode in=Indexed|NonIndexed
batch.v1.JobSpec podReplacementPolicy in=Failed|TerminatingOrFailed
batch.v1.JobSpec backoffLimitPerIndex min=0
batch.v1.JobSpec maxFailedIndexes min=0
batch.v1.PodFailurePolicy rules ok
batch.v1.PodFailurePolicyRule action req in=Count|FailIndex|FailJob|Ignore
batch.v1.PodFailurePolicyOnExitCodesRequirement operator req in=In|NotIn
batch.v1.PodFailurePolicyOnExitCodesRequirement values ok uniq
batch.v1.PodFailurePolicyOnPodConditionsPattern type *qualified
batch.v1.CronJobSpec timeZone zone
rbac.v1.Subject kind ok
rbac.v1.RoleRef kind ok
core.v1.Taint key ok
core.v1.Taint effect ok
core.v1.SecretReference name *req dns
core.v1.SecretReference namespace *req dns
core.v1.TopologySelectorTerm matchLabelExpressions uniq=key
core.v1.TopologySelectorLabelRequirement key *qualified
core.v1.TopologySelectorLabelRequirement values uniq
storage.v1.StorageClass provisioner req qualified
storage.v1.StorageClass volumeBindingMode in=Immediate|WaitForFirstConsumer
storage.v1.CSIDriverSpec fsGroupPolicy in=File|None|ReadWriteOnceWithFSType
storage.v1.CSIDriverSpec tokenRequests uniq=audience
storage.v1.TokenRequest audience ok
storage.v1.TokenRequest expirationSeconds min=600
scheduling.v1.PriorityClass preemptionPolicy req in=Never|PreemptLowerPriority
node.v1.RuntimeClass handler req label
policy.v1.PodDisruptionBudgetSpec minAvailable amount
policy.v1.PodDisruptionBudgetSpec maxUnavailable amount
policy.v1.PodDisruptionBudgetSpec unhealthyPodEvictionPolicy in=AlwaysAllow|IfHealthyBudget
discovery.v1.EndpointSlice ports uniq=name
discovery.v1.Endpoint hostname label
discovery.v1.Endpoint nodeName dns
discovery.v1.EndpointPort protocol in=SCTP|TCP|UDP
discovery.v1.EndpointPort appProtocol qualified
networking.v1.NetworkPolicySpec policyTypes []in=Egress|Ingress
networking.v1.NetworkPolicyPort protocol in=SCTP|TCP|UDP
networking.v1.NetworkPolicyPort port port
networking.v1.IPBlock cidr *cidr
networking.v1.IPBlock except []cidr
networking.v1.IngressSpec ingressClassName dns
networking.v1.IngressTLS hosts []dns
networking.v1.IngressTLS secretName name
networking.v1.IngressRule host name
networking.v1.IngressClassSpec controller *req domain
networking.v1.IngressServiceBackend name req label
events.v1.Event eventTime *req
events.v1.Event reason *req
events.v1.Event action *req
events.v1.Event reportingController *req *qualified
events.v1.Event reportingInstance *req
events.v1.Event type *is=Normal|Warning
certificates.v1.CertificateSigningRequestSpec request ok
autoscaling.v2.HorizontalPodAutoscalerSpec minReplicas min=1
autoscaling.v2.HPAScalingRules stabilizationWindowSeconds min=0 max=3600
autoscaling.v2.HPAScalingPolicy type *in=Percent|Pods
autoscaling.v2.HPAScalingPolicy value *min=1
autoscaling.v2.HPAScalingPolicy periodSeconds *min=1
admissionregistration.v1.ServiceReference name ok
admissionregistration.v1.ServiceReference namespace ok
admissionregistration.v1.ServiceReference port min=1 max=65535
admissionregistration.v1.ValidatingWebhook name ok
admissionregistration.v1.ValidatingWebhook clientConfig ok
admissionregistration.v1.ValidatingWebhook sideEffects ok
admissionregistration.v1.ValidatingWebhook admissionReviewVersions ok
admissionregistration.v1.ValidatingWebhook matchConditions uniq=name
admissionregistration.v1.MutatingWebhook name ok
admissionregistration.v1.MutatingWebhook clientConfig ok
admissionregistration.v1.MutatingWebhook sideEffects ok
admissionregistration.v1.MutatingWebhook admissionReviewVersions ok
admissionregistration.v1.MutatingWebhook matchConditions uniq=name
admissionregistration.v1.MatchCondition name req qualified
admissionregistration.v1.RuleWithOperations apiVersions []req
admissionregistration.v1.RuleWithOperations resources []req
apiextensions.v1.CustomResourceDefinitionVersion name ok
apiextensions.v1.CustomResourceColumnDefinition name ok
apiextensions.v1.CustomResourceColumnDefinition type ok
apiextensions.v1.CustomResourceColumnDefinition jsonPath ok
apiextensions.v1.CustomResourceSubresourceScale specReplicasPath ok
apiextensions.v1.CustomResourceSubresourceScale statusReplicasPath ok
apiextensions.v1.CustomResourceDefinitionSpec versions ok
apiextensions.v1.SelectableField jsonPath ok
"""


_JUDGED_HERE = {
    "core.v1.NodeSelectorRequirement": ("key", "operator"),
    "core.v1.ObjectFieldSelector": ("fieldPath",),
    "core.v1.ResourceFieldSelector": ("resource",),
}


def _judge_of(word: str) -> Callable[[Any, str], list[Cause]]:
    name, _, argument = word.partition("=")
    match name:
        case "in":
            return one_of(argument)
        case "is":
            return one_of(argument, "not a valid selector operator")
        case "min":
            return bound(int(argument), None)
        case "max":
            return bound(None, int(argument))
    return FORMATS[name]


def _unique(key: str, field: str) -> Limit:
    def judge(value: Json, path: str) -> Iterator[Cause]:
        seen: list[Any] = []
        for index, item in enumerate(value.get(field) or ()):
            mark = item.get(key) if key else item
            if mark in seen:
                yield cause.duplicate(f"{path}{field}[{index}]" + (f".{key}" if key else ""), mark)
            seen.append(mark)

    return judge


def _field(field: str, word: str, demanded: bool) -> Limit:
    """The limit that one word sets to one field; what is `demanded` and empty needs no second word."""
    if word.startswith("uniq"):
        return _unique(word.partition("=")[2], field)
    items, absent = word.startswith("[]"), word.startswith("*") or word == "req"
    judge = _judge_of(word.lstrip("[]*"))

    def limit(value: Json, path: str) -> Iterator[Cause]:
        found = value.get(field)
        if items:
            for index, item in enumerate(found or ()):
                yield from judge(item, f"{path}{field}[{index}]")
        elif found is not None and (absent or not demanded or found != ""):
            yield from judge(found, path + field)
        elif absent:
            yield from judge(0 if "min" in word else "", path + field)

    return limit


def limits() -> tuple[dict[str, list[Limit]], dict[str, set[str]]]:
    """By type: what to judge, and the required fields that are judged so and not by the documents alone."""
    found: dict[str, list[Limit]] = {name: [check] for name, check in CHECKS.items()}
    judged = {name: set(fields) for name, fields in _JUDGED_HERE.items()}
    for line in filter(None, _TABLE.splitlines()):
        name, *rest = line.split()
        if not rest:
            continue
        field, *words = rest
        if any(word == "ok" or word.startswith("*") or word.endswith("req") for word in words):
            judged.setdefault(name, set()).add(field)
        demanded = any(word.endswith("req") for word in words)
        found.setdefault(name, []).extend(_field(field, word, demanded) for word in words if word != "ok")
    return found, judged
