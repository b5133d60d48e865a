"""The kinds a server has: the built-in ones and those that CustomResourceDefinitions add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import SchemaNode

if TYPE_CHECKING:
    from addon_framework.local.apiserver.conversion import BuiltIn, Conversion

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Version:
    """One served version of a kind; `schema` is None until it is looked up for built-in kinds."""

    name: str
    served: bool = True
    schema: SchemaNode | None = None
    openapi: Json | None = None
    columns: tuple[Json, ...] | None = None
    selectable: tuple[str, ...] = ()
    scale: Json | None = None
    status: bool = True


@dataclass(frozen=True)
class Kind:
    """A resource as discovery and storage know it.

    `storage` is the version objects are kept in; `stored_as` is another group's kind that they are kept as.
    """

    group: str
    plural: str
    kind: str
    versions: tuple[Version, ...]
    storage: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    custom: bool = False
    list_kind: str = ""
    has_generation: bool = True  # whether spec changes count in metadata.generation
    crd_uid: str = ""
    stored_as: str = ""
    unconditional: bool = True  # whether an update without resourceVersion is taken
    conversion: Conversion | BuiltIn | None = None  # by webhook, of a custom kind

    @property
    def key(self) -> str:
        """How storage names the resource."""
        return self.stored_as or (f"{self.plural}.{self.group}" if self.group else self.plural)

    @property
    def storage_api_version(self) -> str:
        """What stored objects say of themselves."""
        return self.storage if self.stored_as else self.api_version(self.storage)

    @property
    def storage_version(self) -> Version:
        """The version objects are kept in."""
        return next(version for version in self.versions if version.name == self.storage)

    def version(self, name: str) -> Version | None:
        """A served version."""
        return next((v for v in self.versions if v.name == name and v.served), None)

    def api_version(self, version: str) -> str:
        """As objects spell it."""
        return f"{self.group}/{version}" if self.group else version

    def subresources_of(self, version: Version) -> list[str]:
        """What a version offers; of a custom kind each says for itself."""
        if not self.custom:
            return list(self.subresources)
        offered = {"status": version.status, "scale": version.scale is not None}
        return [name for name in self.subresources if offered[name]]

    @property
    def has_status(self) -> bool:
        """Whether /status is a subresource, so that the main endpoint ignores status."""
        return "status" in self.subresources


def _kind(
    group: str,
    version: str,
    plural: str,
    kind: str,
    *,
    namespaced: bool = True,
    short: str = "",
    sub: str = "",
    categories: str = "",
    verbs: Iterable[str] = ALL_VERBS,
    generation: bool = False,
    unconditional: bool = True,
    stored_as: str = "",
) -> Kind:
    return Kind(
        group=group,
        plural=plural,
        kind=kind,
        versions=(Version(version),),
        storage=version,
        namespaced=namespaced,
        singular=kind.lower(),
        short_names=tuple(short.split()),
        categories=tuple(categories.split()),
        subresources=tuple(sub.split()),
        verbs=tuple(verbs),
        list_kind=f"{kind}List",
        has_generation=generation,
        unconditional=unconditional,
        stored_as=stored_as,
    )


def _builtin() -> list[Kind]:
    """The resources that controllers, kubectl, OCM and Fluid use."""
    rbac, apps, batch = "rbac.authorization.k8s.io", "apps", "batch"
    storage, net, adm = "storage.k8s.io", "networking.k8s.io", "admissionregistration.k8s.io"
    authz = "authorization.k8s.io"
    cluster: dict[str, Any] = {"namespaced": False}
    return [
        _kind("", "v1", "namespaces", "Namespace", short="ns", sub="status finalize", **cluster),
        _kind("", "v1", "nodes", "Node", short="no", sub="status", **cluster),
        _kind("", "v1", "persistentvolumes", "PersistentVolume", short="pv", sub="status", **cluster),
        _kind(
            "", "v1", "pods", "Pod", short="po", categories="all", generation=True,
            sub="status log exec portforward attach eviction binding ephemeralcontainers",
        ),
        _kind("", "v1", "secrets", "Secret"),
        _kind("", "v1", "configmaps", "ConfigMap", short="cm"),
        _kind("", "v1", "services", "Service", short="svc", sub="status", categories="all"),
        _kind("", "v1", "endpoints", "Endpoints", short="ep"),
        _kind("", "v1", "serviceaccounts", "ServiceAccount", short="sa", sub="token"),
        _kind("", "v1", "events", "Event", short="ev"),
        _kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", short="pvc", sub="status"),
        _kind("", "v1", "limitranges", "LimitRange", short="limits"),
        _kind("", "v1", "resourcequotas", "ResourceQuota", short="quota", sub="status"),
        _kind("", "v1", "replicationcontrollers", "ReplicationController", short="rc", sub="status scale",
              categories="all", generation=True),
        _kind("", "v1", "podtemplates", "PodTemplate", generation=True),
        _kind(apps, "v1", "deployments", "Deployment", short="deploy", sub="status scale", categories="all",
              generation=True),
        _kind(apps, "v1", "replicasets", "ReplicaSet", short="rs", sub="status scale", categories="all",
              generation=True),
        _kind(apps, "v1", "daemonsets", "DaemonSet", short="ds", sub="status", categories="all",
              generation=True),
        _kind(apps, "v1", "statefulsets", "StatefulSet", short="sts", sub="status scale", categories="all",
              generation=True),
        _kind(apps, "v1", "controllerrevisions", "ControllerRevision"),
        _kind(batch, "v1", "jobs", "Job", sub="status", categories="all", generation=True),
        _kind(batch, "v1", "cronjobs", "CronJob", short="cj", sub="status", categories="all",
              generation=True),
        _kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", short="hpa",
              sub="status", categories="all"),
        _kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", short="pdb", sub="status",
              generation=True, unconditional=False),
        _kind("coordination.k8s.io", "v1", "leases", "Lease", unconditional=False),
        _kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", generation=True),
        _kind("events.k8s.io", "v1", "events", "Event", short="ev", stored_as="events"),
        _kind(rbac, "v1", "roles", "Role"),
        _kind(rbac, "v1", "rolebindings", "RoleBinding"),
        _kind(rbac, "v1", "clusterroles", "ClusterRole", **cluster),
        _kind(rbac, "v1", "clusterrolebindings", "ClusterRoleBinding", **cluster),
        _kind(storage, "v1", "storageclasses", "StorageClass", short="sc", **cluster),
        _kind(storage, "v1", "csidrivers", "CSIDriver", **cluster),
        _kind(storage, "v1", "csinodes", "CSINode", **cluster),
        _kind(storage, "v1", "volumeattachments", "VolumeAttachment", sub="status", **cluster),
        _kind(net, "v1", "networkpolicies", "NetworkPolicy", short="netpol", generation=True),
        _kind(net, "v1", "ingresses", "Ingress", short="ing", sub="status", generation=True),
        _kind(net, "v1", "ingressclasses", "IngressClass", generation=True, **cluster),
        _kind("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", short="pc", generation=True,
              **cluster),
        _kind("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", **cluster),
        _kind("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest",
              short="csr", sub="status approval", **cluster),
        _kind(adm, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", generation=True,
              **cluster),
        _kind(adm, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration",
              generation=True, **cluster),
        _kind(adm, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", sub="status",
              generation=True, **cluster),
        _kind(adm, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding",
              generation=True, **cluster),
        _kind("apiregistration.k8s.io", "v1", "apiservices", "APIService", sub="status", **cluster),
        _kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
              short="crd crds", sub="status", categories="api-extensions", generation=True,
              unconditional=False, **cluster),
        _kind(authz, "v1", "subjectaccessreviews", "SubjectAccessReview", verbs=("create",), **cluster),
        _kind(authz, "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", verbs=("create",),
              **cluster),
        _kind(authz, "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", verbs=("create",), **cluster),
        _kind(authz, "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=("create",)),
        _kind("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", verbs=("create",), **cluster),
        _kind("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", verbs=("create",),
              **cluster),
    ]  # fmt: skip


@dataclass
class Registry:
    """Kinds by group and plural; CRDs come and go."""

    kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)

    @classmethod
    def builtin(cls) -> Registry:
        """What a server has before any CRD."""
        return cls({(kind.group, kind.plural): kind for kind in _builtin()})

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self.kinds.values()))

    def find(self, group: str, version: str, plural: str) -> tuple[Kind, Version] | None:
        """A kind that serves `version`."""
        kind = self.kinds.get((group, plural))
        found = kind.version(version) if kind else None
        return (kind, found) if kind and found else None

    def by_kind(self, group: str, name: str) -> Kind | None:
        """A kind by its name in objects."""
        return next((k for k in self.kinds.values() if k.group == group and k.kind == name), None)

    def groups(self) -> dict[str, list[str]]:
        """Groups and their versions, preferred first."""
        found: dict[str, list[str]] = {}
        for kind in self.kinds.values():
            versions = found.setdefault(kind.group, [])
            versions += [v.name for v in kind.versions if v.served and v.name not in versions]
        return {group: sorted(versions, key=version_rank) for group, versions in found.items()}


def version_rank(name: str) -> tuple[int, int, int, str]:
    """Sorts v2, v1, v1beta2, v1beta1, v1alpha1 in that order, then anything else.

    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority
    """
    import re

    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", name)
    if match is None:
        return (3, 0, 0, name)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), name)
