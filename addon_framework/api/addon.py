"""addon.open-cluster-management.io: add-ons, where they are installed, and their configuration.

https://github.com/open-cluster-management-io/api/tree/main/addon
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from addon_framework.api.meta import (
    REQUIRED,
    Conditions,
    Definition,
    ObjectMeta,
    Raw,
    RawList,
    Resource,
    Struct,
    schema,
)

GROUP = "addon.open-cluster-management.io"
SOME = schema(required=True, minLength=1)
SIGNER_NAME = schema(
    required=True,
    minLength=5,
    maxLength=571,
    pattern=r"^([a-z0-9][a-z0-9-]*[a-z0-9]\.)+[a-z]+\/[a-z0-9-\.]+$",
)


class AddOnMeta(Struct, frozen=True):
    """For people."""

    display_name: str = ""
    description: str = ""


class ConfigReferent(Struct, frozen=True):
    """A configuration object."""

    namespace: str = ""
    name: Annotated[str, SOME] = ""


class ConfigSpecHash(Struct, frozen=True):
    """A configuration object and what it said."""

    namespace: str = ""
    name: Annotated[str, SOME] = ""
    spec_hash: str = ""


class ConfigMetaSpec(Struct, frozen=True):
    """A kind of configuration an add-on takes, and the default object."""

    group: Annotated[str, schema(default="")] = ""
    resource: Annotated[str, SOME] = ""
    default_config: ConfigReferent | None = None


class AddOnConfig(Struct, frozen=True):
    """A configuration object with its kind."""

    group: Annotated[str, schema(default="")] = ""
    resource: Annotated[str, SOME] = ""
    namespace: str = ""
    name: Annotated[str, SOME] = ""


class PlacementStrategy(Struct, frozen=True):
    """Install where a placement says, with these configurations."""

    namespace: Annotated[str, SOME] = ""
    name: Annotated[str, SOME] = ""
    configs: list[AddOnConfig] = []
    rollout_strategy: Annotated[Raw, schema(default={"type": "All"}, preserve=True)] = {}


class InstallStrategy(Struct, frozen=True):
    """By hand, or by placements."""

    type: Annotated[str, schema(default="Manual", enum=["Manual", "Placements"])] = "Manual"
    placements: Annotated[list[PlacementStrategy], schema(list_map_keys=["namespace", "name"])] = []


class ClusterManagementAddOnSpec(Struct, frozen=True):
    """An add-on and where it goes."""

    add_on_meta: AddOnMeta = AddOnMeta()
    supported_configs: Annotated[list[ConfigMetaSpec], schema(list_map_keys=["group", "resource"])] = []
    add_on_configuration: Raw = {}
    install_strategy: Annotated[InstallStrategy, schema(default={"type": "Manual"})] = InstallStrategy()


class DefaultConfigReference(Struct, frozen=True):
    """A default configuration as it is wanted now."""

    group: Annotated[str, schema(default="")] = ""
    resource: Annotated[str, SOME] = ""
    desired_config: ConfigSpecHash | None = None


class InstallConfigReference(Struct, frozen=True):
    """A configuration on its way over a placement."""

    group: Annotated[str, schema(default="")] = ""
    resource: Annotated[str, SOME] = ""
    desired_config: ConfigSpecHash | None = None
    last_known_good_config: ConfigSpecHash | None = None
    last_applied_config: ConfigSpecHash | None = None


class InstallProgression(Struct, frozen=True):
    """How far an installation by one placement is."""

    namespace: Annotated[str, SOME] = ""
    name: Annotated[str, SOME] = ""
    config_references: list[InstallConfigReference] = []
    conditions: Conditions = []


class ClusterManagementAddOnStatus(Struct, frozen=True):
    """`defaultconfigReferences` is spelled so on the wire."""

    defaultconfig_references: Annotated[list[DefaultConfigReference], schema()] = []
    install_progressions: list[InstallProgression] = []


class ClusterManagementAddOn(Struct, frozen=True):
    """An add-on, known to the hub."""

    RESOURCE: ClassVar = Resource(
        GROUP, "v1alpha1", "clustermanagementaddons", "ClusterManagementAddOn", namespaced=False
    )
    DEFINITION: ClassVar = Definition(
        short_names=("cma", "cmas"),
        columns=(
            ("DISPLAY NAME", "string", ".spec.addOnMeta.displayName"),
            ("CRD NAME", "string", ".spec.addOnConfiguration.crdName"),
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ClusterManagementAddOnSpec, REQUIRED] = ClusterManagementAddOnSpec()
    status: ClusterManagementAddOnStatus = ClusterManagementAddOnStatus()


class ManagedClusterAddOnSpec(Struct, frozen=True):
    """`install_namespace` is deprecated but still read."""

    install_namespace: Annotated[
        str,
        schema(
            default="open-cluster-management-agent-addon",
            maxLength=63,
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        ),
    ] = "open-cluster-management-agent-addon"
    configs: list[AddOnConfig] = []


class Subject(Struct, frozen=True):
    """Who the agent is to the hub. `organizationUnit` is singular on the wire."""

    user: str = ""
    groups: list[str] = []
    organization_unit: list[str] = []


class RegistrationConfig(Struct, frozen=True):
    """A certificate the agent needs."""

    signer_name: Annotated[str, SIGNER_NAME] = ""
    subject: Subject = Subject()


class GroupResource(Struct, frozen=True):
    """A kind by group and plural."""

    group: Annotated[str, schema(default="")] = ""
    resource: Annotated[str, SOME] = ""


class ConfigReference(Struct, frozen=True):
    """A configuration as it is wanted, and as it was last applied."""

    group: Annotated[str, schema(default="")] = ""
    resource: Annotated[str, SOME] = ""
    namespace: str = ""
    name: Annotated[str, SOME] = ""
    desired_config: ConfigSpecHash | None = None
    last_applied_config: ConfigSpecHash | None = None
    last_observed_generation: Annotated[int, schema(format="int64")] = 0


class HealthCheck(Struct, frozen=True):
    """Who says whether the add-on is available."""

    mode: Annotated[str, schema(default="Lease", enum=["Lease", "Customized"])] = "Lease"


class ManagedClusterAddOnStatus(Struct, frozen=True):
    """What hub and spoke say of the add-on on this cluster."""

    conditions: Conditions = []
    namespace: str = ""
    add_on_meta: AddOnMeta = AddOnMeta()
    add_on_configuration: Raw = {}
    related_objects: RawList = []
    supported_configs: Annotated[list[GroupResource], schema(list_map_keys=["group", "resource"])] = []
    config_references: list[ConfigReference] = []
    health_check: HealthCheck = HealthCheck()
    registrations: list[RegistrationConfig] = []
    kube_client_driver: Annotated[str, schema(enum=["csr", "token"])] = ""


class ManagedClusterAddOn(Struct, frozen=True):
    """An add-on on one cluster; lives in the cluster's namespace."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "managedclusteraddons", "ManagedClusterAddOn")
    DEFINITION: ClassVar = Definition(
        short_names=("mca", "mcas"),
        columns=(
            ("Available", "string", '.status.conditions[?(@.type=="Available")].status'),
            ("Degraded", "string", '.status.conditions[?(@.type=="Degraded")].status'),
            ("Progressing", "string", '.status.conditions[?(@.type=="Progressing")].status'),
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: ManagedClusterAddOnSpec = ManagedClusterAddOnSpec()
    status: ManagedClusterAddOnStatus = ManagedClusterAddOnStatus()


class CustomizedVariable(Struct, frozen=True):
    """A variable for the add-on's manifests."""

    name: Annotated[str, schema(required=True, maxLength=255, pattern=r"^[a-zA-Z_][_a-zA-Z0-9]*$")] = ""
    value: Annotated[str, schema(maxLength=1024)] = ""


class NodePlacement(Struct, frozen=True):
    """Where the agent's pods may run."""

    node_selector: dict[str, str] = {}
    tolerations: RawList = []


class ImageMirror(Struct, frozen=True):
    """A prefix of image names and what it becomes."""

    source: str = ""
    mirror: Annotated[str, REQUIRED] = ""


class ProxyConfig(Struct, frozen=True):
    """How the agent gets out."""

    http_proxy: str = ""
    https_proxy: str = ""
    ca_bundle: Annotated[str, schema(format="byte")] = ""
    no_proxy: str = ""


class ContainerResources(Struct, frozen=True):
    """What containers need; `containerID` is WORKLOADS:NAME:CONTAINER, each of which may be `*`."""

    container_id: Annotated[
        str,
        schema(
            required=True,
            pattern=r"^(deployments|daemonsets|statefulsets|replicasets|jobs|cronjobs|pods|\*):.+:.+$",
        ),
    ] = msgspec.field(default="", name="containerID")
    resources: Annotated[Raw, schema(required=True, preserve=True)] = {}


class AddOnDeploymentConfigSpec(Struct, frozen=True):
    """How an add-on's agent is deployed."""

    customized_variables: Annotated[list[CustomizedVariable], schema(list_map_keys=["name"])] = []
    node_placement: NodePlacement | None = None
    registries: list[ImageMirror] = []
    proxy_config: ProxyConfig | None = None
    agent_install_namespace: Annotated[
        str | None,
        schema(
            default="open-cluster-management-agent-addon",
            maxLength=63,
            pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$",
        ),
    ] = "open-cluster-management-agent-addon"
    resource_requirements: Annotated[list[ContainerResources], schema(list_map_keys=["containerID"])] = []


class AddOnDeploymentConfig(Struct, frozen=True):
    """How an add-on's agent is deployed."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "addondeploymentconfigs", "AddOnDeploymentConfig")
    DEFINITION: ClassVar = Definition(status=False)

    metadata: ObjectMeta = ObjectMeta()
    spec: AddOnDeploymentConfigSpec = AddOnDeploymentConfigSpec()


class CurrentClusterBinding(Struct, frozen=True):
    """A ClusterRole in the cluster's namespace."""

    cluster_role_name: Annotated[str, REQUIRED] = ""


class RoleRef(Struct, frozen=True):
    """A Role or ClusterRole."""

    api_group: Annotated[str, REQUIRED] = ""
    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""


class SingleNamespaceBinding(Struct, frozen=True):
    """A role in a namespace that the agents of all clusters share."""

    namespace: Annotated[str, REQUIRED] = ""
    role_ref: Annotated[RoleRef, REQUIRED] = RoleRef()


class HubPermission(Struct, frozen=True):
    """What an agent may do on the hub."""

    type: Annotated[str, schema(required=True, enum=["CurrentCluster", "SingleNamespace"])] = ""
    current_cluster: CurrentClusterBinding | None = None
    single_namespace: SingleNamespaceBinding | None = None


class KubeClientRegistration(Struct, frozen=True):
    """An identity for the hub's API, by OCM's names."""

    hub_permissions: list[HubPermission] = []


class SigningCARef(Struct, frozen=True):
    """A Secret with a certificate authority; by default it lies beside the add-on manager."""

    name: Annotated[str, REQUIRED] = ""
    namespace: str = ""


class CustomSignerRegistration(Struct, frozen=True):
    """A certificate that the add-on manager signs."""

    signer_name: Annotated[str, SIGNER_NAME] = ""
    subject: Subject | None = None
    signing_ca: Annotated[SigningCARef, REQUIRED] = msgspec.field(default=SigningCARef(), name="signingCA")


class TemplateRegistration(Struct, frozen=True):
    """An identity the agent needs."""

    type: Annotated[str, schema(required=True, enum=["KubeClient", "CustomSigner"])] = ""
    kube_client: KubeClientRegistration | None = None
    custom_signer: CustomSignerRegistration | None = None


class AddOnTemplateSpec(Struct, frozen=True):
    """An add-on without code."""

    addon_name: Annotated[str, REQUIRED] = ""
    agent_spec: Annotated[Raw, schema(required=True, preserve=True)] = {}
    registration: list[TemplateRegistration] = []


class AddOnTemplate(Struct, frozen=True):
    """An add-on without code: manifests with variables, and what it may do on the hub."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "addontemplates", "AddOnTemplate", namespaced=False)
    DEFINITION: ClassVar = Definition(status=False, columns=(("ADDON NAME", "string", ".spec.addonName"),))

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[AddOnTemplateSpec, REQUIRED] = AddOnTemplateSpec()


KINDS = (ClusterManagementAddOn, ManagedClusterAddOn, AddOnDeploymentConfig, AddOnTemplate)
