"""addon.open-cluster-management.io/v1beta1, beside v1alpha1: the schemas, and what each says in the other.

The code of this project speaks v1alpha1; servers and clients convert at their edges. What v1beta1 has no
field for is what OCM drops too: `addOnConfiguration` (deprecated), and `kubeClientDriver` of an add-on
without a KubeClient registration.

https://github.com/open-cluster-management-io/api/tree/main/addon/v1beta1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar

from addon_framework.api import addon as v1alpha1
from addon_framework.api.meta import (
    REQUIRED,
    Conditions,
    Definition,
    Json,
    ObjectMeta,
    RawList,
    Resource,
    Struct,
    schema,
)

GROUP = v1alpha1.GROUP
OLD, NEW = f"{GROUP}/v1alpha1", f"{GROUP}/v1beta1"
NO_DEFAULT = "__reserved_no_default__"  # OCM's name of a default configuration that there is none of
INSTALL_NAMESPACE_ANNOTATION = f"{GROUP}/v1alpha1-install-namespace"
_KUBE_SIGNER = "kubernetes.io/kube-apiserver-client"


class AddOnConfig(Struct, frozen=True):
    """A configuration object with its kind."""

    group: Annotated[str, schema(default="")] = ""
    resource: Annotated[str, v1alpha1.SOME] = ""
    namespace: str = ""
    name: Annotated[str, v1alpha1.SOME] = ""


class ClusterManagementAddOnSpec(Struct, frozen=True):
    """An add-on and where it goes."""

    add_on_meta: v1alpha1.AddOnMeta = v1alpha1.AddOnMeta()
    default_configs: Annotated[list[AddOnConfig], schema(list_map_keys=["group", "resource"])] = []
    install_strategy: Annotated[v1alpha1.InstallStrategy, schema(default={"type": "Manual"})] = (
        v1alpha1.InstallStrategy()
    )


class ClusterManagementAddOnStatus(Struct, frozen=True):
    """How far it is."""

    default_config_references: list[v1alpha1.DefaultConfigReference] = []
    install_progressions: list[v1alpha1.InstallProgression] = []


class ClusterManagementAddOn(Struct, frozen=True):
    """An add-on, known to the hub."""

    RESOURCE: ClassVar = Resource(
        GROUP, "v1beta1", "clustermanagementaddons", "ClusterManagementAddOn", namespaced=False
    )
    DEFINITION: ClassVar = Definition(columns=v1alpha1.ClusterManagementAddOn.DEFINITION.columns[:1])

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ClusterManagementAddOnSpec, REQUIRED] = ClusterManagementAddOnSpec()
    status: ClusterManagementAddOnStatus = ClusterManagementAddOnStatus()


class ManagedClusterAddOnSpec(Struct, frozen=True):
    """Configurations of this cluster's own."""

    configs: list[AddOnConfig] = []


class KubeClientSubject(Struct, frozen=True):
    """Who the agent is to the hub's API server."""

    user: str = ""
    groups: list[str] = []


class Subject(KubeClientSubject, frozen=True):
    """Who the agent is to others."""

    organization_units: list[str] = []


class KubeClientConfig(Struct, frozen=True):
    """An identity for the hub's API."""

    subject: KubeClientSubject = KubeClientSubject()
    driver: Annotated[str, schema(enum=["csr", "token"])] = ""


class CustomSignerConfig(Struct, frozen=True):
    """A certificate of another signer."""

    signer_name: Annotated[str, v1alpha1.SIGNER_NAME] = ""
    subject: Subject = Subject()


class RegistrationConfig(Struct, frozen=True):
    """An identity the agent needs."""

    type: Annotated[str, schema(required=True, enum=["kubeClient", "customSigner"])] = ""
    kube_client: KubeClientConfig | None = None
    custom_signer: CustomSignerConfig | None = None


class ConfigReference(Struct, frozen=True):
    """A configuration as it is wanted, and as it was last applied."""

    group: Annotated[str, schema(default="")] = ""
    resource: Annotated[str, v1alpha1.SOME] = ""
    desired_config: v1alpha1.ConfigSpecHash | None = None
    last_applied_config: v1alpha1.ConfigSpecHash | None = None
    last_observed_generation: Annotated[int, schema(format="int64")] = 0


class ManagedClusterAddOnStatus(Struct, frozen=True):
    """What hub and spoke say of the add-on on this cluster."""

    conditions: Conditions = []
    namespace: str = ""
    add_on_meta: v1alpha1.AddOnMeta = v1alpha1.AddOnMeta()
    related_objects: RawList = []
    supported_configs: Annotated[
        list[v1alpha1.GroupResource], schema(list_map_keys=["group", "resource"])
    ] = []
    config_references: list[ConfigReference] = []
    health_check: v1alpha1.HealthCheck = v1alpha1.HealthCheck()
    registrations: list[RegistrationConfig] = []


class ManagedClusterAddOn(Struct, frozen=True):
    """An add-on on one cluster; lives in the cluster's namespace."""

    RESOURCE: ClassVar = Resource(GROUP, "v1beta1", "managedclusteraddons", "ManagedClusterAddOn")
    DEFINITION: ClassVar = Definition(columns=v1alpha1.ManagedClusterAddOn.DEFINITION.columns)

    metadata: ObjectMeta = ObjectMeta()
    spec: ManagedClusterAddOnSpec = ManagedClusterAddOnSpec()
    status: ManagedClusterAddOnStatus = ManagedClusterAddOnStatus()


class AddOnDeploymentConfig(v1alpha1.AddOnDeploymentConfig, frozen=True):
    """How an add-on's agent is deployed."""

    RESOURCE: ClassVar = Resource(GROUP, "v1beta1", "addondeploymentconfigs", "AddOnDeploymentConfig")


class AddOnTemplate(v1alpha1.AddOnTemplate, frozen=True):
    """An add-on without code: manifests with variables, and what it may do on the hub."""

    RESOURCE: ClassVar = Resource(GROUP, "v1beta1", "addontemplates", "AddOnTemplate", namespaced=False)


KINDS = (ClusterManagementAddOn, ManagedClusterAddOn, AddOnDeploymentConfig, AddOnTemplate)
CONVERTED = ("ClusterManagementAddOn", "ManagedClusterAddOn")  # the others differ in their version only
CONVERSION: Json = {
    "strategy": "Webhook",
    "webhook": {
        "conversionReviewVersions": ["v1"],
        # OCM's. The embedded API server answers for it by itself, with `convert`.
        "clientConfig": {
            "service": {
                "namespace": "open-cluster-management-hub",
                "name": "cluster-manager-addon-webhook",
                "path": "/convert",
            }
        },
    },
}


def convert(obj: Json, api_version: str) -> Json:
    """The object in the other version; a new one that shares what is the same in both.

    `obj` may be a part of an object, such as a merge patch: only fields that are there are converted, null
    stays null. A patch of `registrations` or `kubeClientDriver` alone does not say enough to be converted.
    """
    if obj.get("apiVersion", "") == api_version:
        return obj
    parts = (_TO_NEW if api_version == NEW else _TO_OLD).get(obj.get("kind", ""))
    result = parts(dict(obj)) if parts else dict(obj)
    return {"apiVersion": api_version, **{k: v for k, v in result.items() if k != "apiVersion"}}


def _cma_to_new(obj: Json) -> Json:
    def default(config: Json) -> Json:
        return _kind_of(config) | (_some(config.get("defaultConfig")) or {"name": NO_DEFAULT})

    _rebuild(
        obj, "spec", {"supportedConfigs": ("defaultConfigs", _each(default)), "addOnConfiguration": None}
    )
    _rebuild(obj, "status", {"defaultconfigReferences": ("defaultConfigReferences", _same)})
    return obj


def _cma_to_old(obj: Json) -> Json:
    def supported(config: Json) -> Json:
        where = {name: config[name] for name in ("namespace", "name") if config.get(name)}
        known = where.get("name", NO_DEFAULT) != NO_DEFAULT
        return _kind_of(config) | ({"defaultConfig": where} if known else {})

    _rebuild(obj, "spec", {"defaultConfigs": ("supportedConfigs", _each(supported))})
    _rebuild(obj, "status", {"defaultConfigReferences": ("defaultconfigReferences", _same)})
    return obj


def _mca_to_new(obj: Json) -> Json:
    spec, status = obj.get("spec"), obj.get("status")
    if isinstance(spec, dict) and "installNamespace" in spec:
        obj["spec"] = {name: value for name, value in spec.items() if name != "installNamespace"}
        if spec["installNamespace"] != "":
            _annotate(obj, spec["installNamespace"])
    if isinstance(status, dict):
        driver = status.get("kubeClientDriver")

        def registration(old: Json) -> Json:
            subject = dict(old.get("subject") or {})
            units = subject.pop("organizationUnit", None)
            if old.get("signerName") == _KUBE_SIGNER:
                client = {"subject": subject} if subject else {}
                return {"type": "kubeClient", "kubeClient": client | ({"driver": driver} if driver else {})}
            signer = {"signerName": old.get("signerName", "")}
            if subject or units:
                signer["subject"] = subject | ({"organizationUnits": units} if units else {})
            return {"type": "customSigner", "customSigner": signer}

        def reference(old: Json) -> Json:
            return {name: value for name, value in old.items() if name not in ("namespace", "name")}

        changes: Changes = {
            "registrations": ("registrations", _each(registration)),
            "configReferences": ("configReferences", _each(reference)),
            "kubeClientDriver": None,
            "addOnConfiguration": None,
        }
        _rebuild(obj, "status", changes)
    return obj


def _mca_to_old(obj: Json) -> Json:
    annotations = (obj.get("metadata") or {}).get("annotations")
    if isinstance(annotations, dict) and INSTALL_NAMESPACE_ANNOTATION in annotations:
        kept = {name: value for name, value in annotations.items() if name != INSTALL_NAMESPACE_ANNOTATION}
        obj["metadata"] = {name: v for name, v in obj["metadata"].items() if name != "annotations"}
        if kept:
            obj["metadata"]["annotations"] = kept
        obj["spec"] = (obj.get("spec") or {}) | {
            "installNamespace": annotations[INSTALL_NAMESPACE_ANNOTATION]
        }
    status = obj.get("status")
    if not isinstance(status, dict):
        return obj

    def reference(new: Json) -> Json:
        desired = new.get("desiredConfig") or {}
        return {name: desired[name] for name in ("namespace", "name") if desired.get(name)} | new

    changes: Changes = {
        "registrations": ("registrations", _each(_old_registration)),
        "configReferences": ("configReferences", _each(reference)),
    }
    _rebuild(obj, "status", changes)
    clients = [r.get("kubeClient") or {} for r in status.get("registrations") or [] if _is_kube(r)]
    if clients and clients[0].get("driver"):
        obj["status"]["kubeClientDriver"] = clients[0]["driver"]
    return obj


def _old_registration(new: Json) -> Json:
    if _is_kube(new):
        subject = dict((new.get("kubeClient") or {}).get("subject") or {})
        return {"signerName": _KUBE_SIGNER} | ({"subject": subject} if subject else {})
    signer = new.get("customSigner") or {}
    subject = dict(signer.get("subject") or {})
    if units := subject.pop("organizationUnits", None):
        subject["organizationUnit"] = units
    return {"signerName": signer.get("signerName", "")} | ({"subject": subject} if subject else {})


def _is_kube(registration: Json) -> bool:
    return registration.get("type") == "kubeClient"


def _annotate(obj: Json, value: Any) -> None:
    metadata = dict(obj.get("metadata") or {})
    metadata["annotations"] = (metadata.get("annotations") or {}) | {INSTALL_NAMESPACE_ANNOTATION: value}
    obj["metadata"] = metadata


Change = Callable[[Any], Any]
Changes = dict[str, tuple[str, Change] | None]


def _rebuild(obj: Json, part: str, changes: Changes) -> None:
    """Rename and convert fields of a part, in their order; None drops one. What is null stays null."""
    if not isinstance(obj.get(part), dict):
        return
    result: Json = {}
    for name, value in obj[part].items():
        change = changes.get(name, (name, _same))
        if change is not None:
            result[change[0]] = None if value is None else change[1](value)
    obj[part] = result


def _same(value: Any) -> Any:
    return value


def _each(change: Callable[[Json], Json]) -> Change:
    def changed(values: Iterable[Json]) -> list[Json]:
        return [change(value) for value in values]

    return changed


def _kind_of(config: Json) -> Json:
    return {name: config[name] for name in ("group", "resource") if name in config}


def _some(where: Json | None) -> Json:
    """A reference, if it names something."""
    return dict(where) if where and where.get("name") else {}


_Parts = dict[str, Callable[[Json], Json]]
_TO_NEW: _Parts = {"ClusterManagementAddOn": _cma_to_new, "ManagedClusterAddOn": _mca_to_new}
_TO_OLD: _Parts = {"ClusterManagementAddOn": _cma_to_old, "ManagedClusterAddOn": _mca_to_old}
