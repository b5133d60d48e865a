"""Which object a manifest is, in which order manifests go, and what is special about each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from addon_framework.api.meta import Json, Resource
from addon_framework.api.work import matches
from addon_framework.spoke.informers import Scope

UPDATE, CREATE_ONLY, SERVER_SIDE_APPLY, READ_ONLY = "Update", "CreateOnly", "ServerSideApply", "ReadOnly"

_ORDER: tuple[tuple[str, ...], ...] = (
    ("PriorityClass", "Namespace", "CustomResourceDefinition", "StorageClass", "PersistentVolume"),
    ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    ("NetworkPolicy", "ResourceQuota", "LimitRange", "PodDisruptionBudget", "ServiceAccount"),
    ("Secret", "ConfigMap", "PersistentVolumeClaim"),
    ("Service",),
    (
        "Pod",
        "ReplicationController",
        "ReplicaSet",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "Job",
        "CronJob",
        "HorizontalPodAutoscaler",
    ),
    (
        "APIService",
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ),
)
_RANKS = {kind: rank for rank, kinds in enumerate(_ORDER) for kind in kinds}
_LAST = len(_ORDER)


class Target(NamedTuple):
    """One object on the cluster; `namespace` is "" for cluster-scoped ones."""

    resource: Resource
    namespace: str
    name: str

    @property
    def scope(self) -> Scope:
        """What must be watched to see it."""
        return Scope(self.resource, self.namespace)

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.resource.kind or self.resource.plural} {where}"


@dataclass(frozen=True)
class Options:
    """What the work's manifestConfigs say of one object."""

    strategy: str = UPDATE
    server_side: Mapping[str, Any] = field(default_factory=dict)
    feedback_rules: Sequence[Json] = ()
    condition_rules: Sequence[Json] = ()


def rank(manifest: Json) -> int:
    """OCM's place in the order; lower ones must be there first. Custom resources come last."""
    return _RANKS.get(manifest.get("kind", ""), _LAST)


def options_for(configs: Iterable[Json], target: Target) -> Options:
    """For each option the first matching entry that has it wins."""
    resource = target.resource
    meant = {"group": resource.group, "resource": resource.plural}
    meant |= {"namespace": target.namespace, "name": target.name}
    matching = [config for config in configs if matches(config.get("resourceIdentifier") or {}, meant)]
    strategy: Json = next((c["updateStrategy"] for c in matching if c.get("updateStrategy")), {})
    return Options(
        strategy=strategy.get("type") or UPDATE,
        server_side=strategy.get("serverSideApply") or {},
        feedback_rules=next((c["feedbackRules"] for c in matching if c.get("feedbackRules")), ()),
        condition_rules=next((c["conditionRules"] for c in matching if c.get("conditionRules")), ()),
    )


def is_orphaned(delete_option: Json | None, target: Target) -> bool:
    """Whether the object stays when the work goes, so that the work must not own it."""
    option = delete_option or {}
    policy = option.get("propagationPolicy")
    if policy == "Orphan":
        return True
    if policy != "SelectivelyOrphan":
        return False
    wanted = (target.resource.group, target.resource.plural, target.namespace, target.name)
    rules = (option.get("selectivelyOrphans") or {}).get("orphaningRules") or []
    return any(
        (r.get("group", ""), r.get("resource", ""), r.get("namespace", ""), r.get("name", "")) == wanted
        for r in rules
    )


def is_left(work: Json, target: Target) -> bool:
    """Whether a work leaves an object as it is when it goes: it only reads it, or it orphans it."""
    spec = work["spec"]
    reads = options_for(spec.get("manifestConfigs") or [], target).strategy == READ_ONLY
    return reads or is_orphaned(spec.get("deleteOption"), target)


def defined_kinds(manifests: Iterable[Json]) -> dict[tuple[str, str], tuple[Resource, str]]:
    """The kinds that CRDs among the manifests define, by apiVersion and kind, with the CRD's name."""
    found = {}
    for manifest in manifests:
        if manifest.get("kind") != "CustomResourceDefinition":
            continue
        spec = manifest.get("spec") or {}
        names, group = spec.get("names") or {}, spec.get("group", "")
        for version in spec.get("versions") or []:
            resource = Resource(
                group,
                version.get("name", ""),
                names.get("plural", ""),
                names.get("kind", ""),
                spec.get("scope") != "Cluster",
            )
            found[(resource.api_version, resource.kind)] = resource, manifest["metadata"]["name"]
    return found
