"""An AddOnTemplate as a plug-in: an add-on without code, by the same hooks as one with code. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from addon_framework.api.addon import AddOnTemplate
from addon_framework.api.meta import Json, copy_json
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.plugins import (
    ADDON_DEPLOYMENT_CONFIG,
    DEFAULT_INSTALL_NAMESPACE,
    AddonDescription,
    ConfigKind,
    CurrentCluster,
    CustomSigner,
    KubeClient,
    Plugin,
    Registration,
    SigningCA,
    SingleNamespace,
    Workload,
    hookimpl,
)
from addon_framework.plugins.loader import ADDONS
from addon_framework.plugins.manifests import KUBECONFIG_DIR

ADDON_TEMPLATE = ConfigKind(AddOnTemplate.RESOURCE.group, AddOnTemplate.RESOURCE.plural)
_VARIABLE = re.compile(r"\{\{(.*?)\}\}")
_DECORATED = ("Deployment", "DaemonSet")


class BadTemplate(ValueError):
    """An AddOnTemplate says what cannot be done; the message names the field."""


class TemplateAddon:
    """The hooks, answered from one AddOnTemplate."""

    def __init__(self, name: str, template: Json) -> None:
        self._name, self._template = name, template
        self._registrations: list[Json] = template["spec"].get("registration") or []

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        """OCM's choices for templates: health by workload, manifests that follow the install namespace."""
        spec: Json = self._template["spec"].get("agentSpec") or {}
        return AddonDescription(
            name=self._name,
            install_namespace=self._namespace(),
            health=Workload(),
            supported_configs=(ADDON_DEPLOYMENT_CONFIG, ADDON_TEMPLATE),
            manifest_configs=spec.get("manifestConfigs") or (),
            relocatable=True,
        )

    @hookimpl
    def addon_manifests(self, values: Mapping[str, Any]) -> list[Json]:
        """The manifests with their variables, and with what OCM puts into every agent's pod."""
        variables = self.variables(values)
        objects: list[Json] = [_fill(manifest, variables) for manifest in self._manifests()]
        given = [
            name for name in ("HUB_KUBECONFIG", "CLUSTER_NAME", "INSTALL_NAMESPACE") if name in variables
        ]
        env = [{"name": name, "value": variables[name]} for name in given]
        volumes = self._volumes()
        for obj in objects:
            if obj.get("kind") in _DECORATED:
                _inject(obj, env, volumes)
        return objects

    @hookimpl
    def addon_registrations(self) -> list[Registration]:
        """spec.registration."""
        result: list[Registration] = []
        for index, entry in enumerate(self._registrations):
            if entry.get("type") == "KubeClient":
                result.append(KubeClient())
            elif entry.get("type") == "CustomSigner":
                result.append(_custom_signer(entry.get("customSigner") or {}, self._where(index)))
            else:
                raise BadTemplate(
                    f"{self._where(index)}.type is {entry.get('type')!r}, not KubeClient or CustomSigner"
                )
        return result

    @hookimpl
    def addon_hub_permissions(self) -> list[Json | CurrentCluster | SingleNamespace]:
        """The hubPermissions of every KubeClient."""
        result: list[Json | CurrentCluster | SingleNamespace] = []
        for index, entry in enumerate(self._registrations):
            for number, permission in enumerate((entry.get("kubeClient") or {}).get("hubPermissions") or []):
                where = f"{self._where(index)}.kubeClient.hubPermissions[{number}]"
                result.append(_permission(permission, where))
        return result

    def variables(self, values: Mapping[str, Any]) -> dict[str, str]:
        """What `{{NAME}}` stands for: users' variables may replace HUB_KUBECONFIG, and no other built-in."""
        result: dict[str, Any] = {}
        if self._registrations:
            result["HUB_KUBECONFIG"] = f"{KUBECONFIG_DIR}/kubeconfig"
        result |= values
        result |= {"CLUSTER_NAME": values["cluster_name"], "INSTALL_NAMESPACE": values["install_namespace"]}
        for name, value in result.items():
            if not isinstance(value, str):
                raise BadTemplate(
                    f"variable {name} is a {type(value).__name__}; a template takes strings only"
                )
        return result

    def unset(self, values: Mapping[str, Any]) -> list[str]:
        """Variables in the manifests that have no value: as with OCM, nothing is put in their place."""
        return sorted(self._used - self.variables(values).keys())

    @functools.cached_property
    def _used(self) -> set[str]:
        return {name.strip() for name in _VARIABLE.findall(str(self._manifests()))}

    def _namespace(self) -> str:
        """Where the agent is: with its first Deployment, or else its first DaemonSet."""
        found = {
            kind: [m["metadata"]["namespace"] for m in self._manifests() if _is_in_namespace(m, kind)]
            for kind in _DECORATED
        }
        return str(next((names[0] for names in found.values() if names), DEFAULT_INSTALL_NAMESPACE))

    def _manifests(self) -> list[Json]:
        spec: Json = self._template["spec"].get("agentSpec") or {}
        return list((spec.get("workload") or {}).get("manifests") or [])

    def _where(self, index: int) -> str:
        return f"AddOnTemplate {self._template['metadata']['name']}: spec.registration[{index}]"

    def _volumes(self) -> list[tuple[Json, Json]]:
        """Volume and mount of every registration's Secret, by OCM's names."""
        result = []
        for registration in self.addon_registrations():
            if isinstance(registration, CustomSigner):
                plain = registration.signer_name.replace("/", "-")
                name, path = f"cert-{plain.replace('.', '-')}", f"/managed/{plain}"
                secret = f"{self._name}-{plain}-client-cert"
            else:
                name, path, secret = "hub-kubeconfig", KUBECONFIG_DIR, f"{self._name}-hub-kubeconfig"
            volume = {"name": name, "secret": {"secretName": secret}}
            result.append((volume, {"name": name, "mountPath": path}))
        return result


def template_name(addon: Json) -> str:
    """The AddOnTemplate that an add-on is configured with, "" for none."""
    for entry in (addon.get("status") or {}).get("configReferences") or []:
        if (entry.get("group"), entry.get("resource")) == (ADDON_TEMPLATE.group, ADDON_TEMPLATE.resource):
            return str((entry.get("desiredConfig") or {}).get("name", ""))
    return ""


def template_plugin(name: str, template: Json) -> Plugin:
    """The plug-in that an AddOnTemplate is, for the add-on `name`."""
    origin = f"AddOnTemplate {template['metadata']['name']}"
    meant = template["spec"].get("addonName")
    if meant != name:
        reason = f'{origin}: spec.addonName is "{meant}"; the add-on that uses it is "{name}"'
        return Plugin(name=name, group=ADDONS, origin=origin, reason=reason, ours=True)
    return Plugin(name=name, group=ADDONS, origin=origin, target=TemplateAddon(name, template), ours=True)


def _is_in_namespace(manifest: Json, kind: str) -> bool:
    return manifest.get("kind") == kind and bool((manifest.get("metadata") or {}).get("namespace"))


def _fill(value: Any, variables: Mapping[str, str]) -> Any:
    """Variables in all strings of an object, keys too. By strings: a value cannot change the structure."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: variables.get(match[1].strip(), ""), value)
    if isinstance(value, dict):
        return {_fill(key, variables): _fill(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables) for item in value]
    return value


def _inject(obj: Json, env: list[Json], volumes: list[tuple[Json, Json]]) -> None:
    pod = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
    for container in pod.get("containers") or []:
        container["env"] = [*(container.get("env") or []), *copy_json(env)]
        if volumes:
            mounts = [dict(mount) for _, mount in volumes]
            container["volumeMounts"] = [*(container.get("volumeMounts") or []), *mounts]
    if volumes and pod:
        pod["volumes"] = [*(pod.get("volumes") or []), *(copy_json(volume) for volume, _ in volumes)]


def _custom_signer(config: Json, where: str) -> CustomSigner:
    authority = config.get("signingCA") or {}
    if not config.get("signerName") or not authority.get("name"):
        raise BadTemplate(f"{where}.customSigner needs signerName and signingCA.name")
    subject = config.get("subject") or {}
    return CustomSigner(
        signer_name=config["signerName"],
        user=subject.get("user", ""),
        groups=subject.get("groups") or (),
        organization_units=subject.get("organizationUnit") or (),
        signing_ca=SigningCA(authority["name"], authority.get("namespace") or HUB_NAMESPACE),
    )


def _permission(entry: Json, where: str) -> CurrentCluster | SingleNamespace:
    if entry.get("type") == "CurrentCluster":
        role = (entry.get("currentCluster") or {}).get("clusterRoleName")
        if not role:
            raise BadTemplate(f"{where}.currentCluster.clusterRoleName is missing")
        return CurrentCluster(role)
    if entry.get("type") == "SingleNamespace":
        single = entry.get("singleNamespace") or {}
        reference = single.get("roleRef") or {}
        if not single.get("namespace") or not reference.get("name"):
            raise BadTemplate(f"{where}.singleNamespace needs namespace and roleRef")
        return SingleNamespace(single["namespace"], reference["name"], reference.get("kind") or "Role")
    raise BadTemplate(f"{where}.type is {entry.get('type')!r}, not CurrentCluster or SingleNamespace")
