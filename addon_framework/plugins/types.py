"""What a plug-in says about itself: description, how its health is told, which hub identities it wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import structlog

    from addon_framework.kube import Client

DEFAULT_INSTALL_NAMESPACE = "open-cluster-management-agent-addon"
KUBE_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
ADDON_GROUP = "addon.open-cluster-management.io"


@dataclass(frozen=True)
class ConfigKind:
    """A kind of configuration object an add-on reads, by API group and plural resource name."""

    group: str
    resource: str


ADDON_DEPLOYMENT_CONFIG = ConfigKind(ADDON_GROUP, "addondeploymentconfigs")


@dataclass(frozen=True)
class Lease:
    """The agent renews the Lease named like the add-on; the registration agent reports it (OCM's default)."""


@dataclass(frozen=True)
class Workload:
    """Every Deployment and DaemonSet that the add-on ships is available, or every one of the given kinds."""

    kinds: Sequence[str] = ("Deployment", "DaemonSet")


@dataclass(frozen=True)
class NoProbe:
    """Nothing is probed: the add-on counts as available once its manifests are applied."""


@dataclass(frozen=True)
class Probe:
    """One object whose feedback values tell health: `paths` maps a value's name to its JSONPath."""

    resource: str
    name: str
    namespace: str = ""
    group: str = ""
    paths: Mapping[str, str] = field(default_factory=dict)  # empty: the kind's well-known status


@dataclass(frozen=True)
class Work:
    """Health from the work's feedback: `check(values)` returns "" when healthy and the reason when not.

    `values` maps "<resource>/<namespace>/<name>" to the feedback values of that object. Without a check, an
    add-on is healthy when its works are applied and available and every probed value has been reported.
    """

    probes: Sequence[Probe] = ()
    check: Callable[[Mapping[str, Mapping[str, Any]]], str] | None = None


Health = Lease | Workload | Work | NoProbe


@dataclass(frozen=True)
class AddonDescription:
    """Who an add-on is. `name` is the name of its ClusterManagementAddOn and of its entry point."""

    name: str
    display_name: str = ""
    description: str = ""
    install_namespace: str = DEFAULT_INSTALL_NAMESPACE
    health: Health | type[Lease] | type[Workload] | type[NoProbe] = field(default_factory=Lease)
    supported_configs: Sequence[ConfigKind] = (ADDON_DEPLOYMENT_CONFIG,)
    manifest_configs: Sequence[Mapping[str, Any]] = ()  # OCM ManifestConfigOption, added to the works
    relocatable: bool = False  # namespaced manifests move to the namespace an AddOnDeploymentConfig names
    pre_delete_deadline: float = 600.0  # seconds after which a deletion no longer waits for pre-delete work
    hosted: bool = False  # manifests annotated so may go to the cluster that hosts the agent
    hook_timeout: float = 30.0  # seconds a hook of this plug-in may take

    @property
    def prober(self) -> Health:
        """The health as an instance, however the author wrote it."""
        return self.health() if isinstance(self.health, type) else self.health


@dataclass(frozen=True)
class KubeClient:
    """A client certificate for the hub's API. Empty user and groups stand for OCM's defaults."""

    user: str = ""
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class SigningCA:
    """A Secret on the hub with tls.crt and tls.key of an authority."""

    name: str
    namespace: str


@dataclass(frozen=True)
class CustomSigner:
    """A certificate of another signer, for example "example.com/agents".

    The add-on manager signs with `signing_ca`; without one, the hook `addon_csr_sign` does. Empty user and
    groups stand for OCM's defaults.
    """

    signer_name: str
    user: str = ""
    groups: Sequence[str] = ()
    organization_units: Sequence[str] = ()
    signing_ca: SigningCA | None = None


Registration = KubeClient | CustomSigner


@dataclass(frozen=True)
class CurrentCluster:
    """Hub permission: a ClusterRole that exists, in the cluster's own namespace."""

    cluster_role: str


@dataclass(frozen=True)
class SingleNamespace:
    """Hub permission: a Role (or ClusterRole) that exists, in one namespace that all clusters share."""

    namespace: str
    role: str
    kind: str = "Role"


HubPermission = Mapping[str, Any] | CurrentCluster | SingleNamespace  # the first is an RBAC rule


@dataclass
class AgentContext:
    """What an agent coroutine gets: who it is, where it runs, and clients for its own cluster and the hub."""

    addon_name: str
    cluster_name: str
    install_namespace: str
    hub: Client | None
    spoke: Client
    log: structlog.stdlib.BoundLogger


def default_user(cluster: str, addon: str, agent: str) -> str:
    """OCM's user name for an add-on agent."""
    return f"system:open-cluster-management:cluster:{cluster}:addon:{addon}:agent:{agent}"


def default_groups(cluster: str, addon: str) -> list[str]:
    """OCM's groups of an add-on agent; the first one is the agent of this cluster only."""
    return [
        f"system:open-cluster-management:cluster:{cluster}:addon:{addon}",
        f"system:open-cluster-management:addon:{addon}",
    ]
